"""The cell that is kept ready for the next start."""

from __future__ import annotations

import binascii
import gc
import os
import select

from nspawn.container import cell as cells
from nspawn.errors import NspawnError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from nspawn.container.cell import Cell
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner
else:
    import _signal

_QUIET = 0.01  # seconds without a start or a mount before the next cell is made
_COLLECT_EVERY = 64  # starts: what they leave in cycles is about 250 bytes each


class Pool:
    """prefix: of the names of this layout's cgroups, for others may make theirs in the same place."""

    __slots__ = (
        "_count",
        "_kind",
        "_mounts",
        "_mounts_poll",
        "_preparing",
        "_spare",
        "_spawner",
        "_watching",
        "prefix",
    )

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._spare: Cell | None = None
        self._count = 0
        self._kind = "host"  # the network mode of the last start: the next is probably like it
        self._preparing: Timer | None = None
        self.prefix = f"{binascii.crc32(os.fsencode(spawner.layout.root)):08x}."
        self._watching = False
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts_poll = select.poll()
        self._mounts_poll.register(self._mounts, select.POLLPRI)

    def expect(self) -> None:
        """A start may come: have a cell ready, until rest() lets it go for want of starts.

        None when the crash guard says no.
        """
        self._spawner.rest.stir()
        if self._spare is None and not self._spawner.probation.guard.blocked:
            self._prepare_soon()

    def take(self, network: str) -> Cell:
        """A cell for this network: the one that is ready if it fits, else one made now.

        The taker sets in the spawner's `children` what happens at its end.
        """
        self._spawner.rest.stir()
        self._spawner.probation.admit()
        self._prepare_soon()
        if self._mounts_poll.poll(0):
            self.drop()
        cell, self._spare = self._spare, None
        if cell is not None and not cell.waits():
            self._spare = cell
            self.drop()
            cell = None
        self._kind = network
        if cell is None or not cell.suits(network):
            self._spare = cell
            cell = self._make(network)
        return cell

    def rest(self) -> bool:
        """Keep no cell, and be woken by no mount, until a start may come; whether there was a cell."""
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None
        if self._watching:
            self._watching = False
            self._spawner.loop.remove(self._mounts)
        had = self._spare is not None
        self.drop()
        return had

    def drop(self) -> None:
        """End the cell that is ready."""
        cell, self._spare = self._spare, None
        if cell is None:
            return
        self._spawner.children.pop(cell.pid, None)
        os.kill(cell.pid, _signal.SIGKILL)
        os.waitpid(cell.pid, 0)
        cell.channel.close()
        self._spawner.end_group(cell.group)

    def _mounts_changed(self, _events: int) -> None:
        """A cell's mount namespace is a copy: what was mounted on the host since is missing in it."""
        if self._spare is not None:
            self.drop()
            self._prepare_soon()

    def _prepare_soon(self) -> None:
        """Once it is quiet: a clone while another container starts would take its processor time."""
        if self._preparing is not None:
            self._preparing.cancel()
        self._preparing = self._spawner.loop.after(_QUIET, self._prepare)

    def _prepare(self) -> None:
        self._preparing = None
        if self._spawner.ending:
            return
        if self._spare is not None:
            if self._spare.suits(self._kind):
                return
            self.drop()
        if self._count % _COLLECT_EVERY == 0:
            gc.collect()
        if not self._watching:
            self._watching = True
            self._mounts_poll.poll(0)  # what was mounted until now, the cell will have
            self._spawner.loop.add(self._mounts, self._mounts_changed, select.EPOLLPRI)
        try:
            self._spawner.probation.admit()
            cell = self._make(self._kind)
        except (OSError, NspawnError) as error:
            self._spawner.log(f"no cell could be prepared: {error}")
            return
        self._spare = cell
        self._spawner.children[cell.pid] = lambda _status: self._died(cell)

    def _died(self, cell: Cell) -> None:
        """Killed by somebody: the next start makes its own."""
        cell.channel.close()
        self._spawner.end_group(cell.group)
        if self._spare is cell:
            self._spare = None

    def _make(self, network: str) -> Cell:
        self._count += 1
        name = f"{self.prefix}{os.getpid()}.{self._count}"
        return cells.make(self._spawner.host, network, name=name, memory=True)
