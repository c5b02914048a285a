"""The veths of containers, as the process that starts them makes them and sees them go."""

from __future__ import annotations

import _socket

from nspawn.container import child
from nspawn.errors import NspawnError
from nspawn.kernel.wire import Wire, is_there
from nspawn.model.slot import veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nspawn.container.activated import Owner
    from nspawn.model.record import Record

_LEFT = 0.2  # seconds in which the kernel removes the veth of an ended container
_BRIDGE = "nspawn_br1"


class Wires:
    """used: tells the slots that have a container."""

    __slots__ = ("_leaving", "_owner", "_used", "_wire")

    def __init__(self, owner: Owner, used: Callable[[], Collection[int]]) -> None:
        self._owner = owner
        self._used = used
        self._leaving: set[int] = set()
        self._wire: Wire | None = None

    @property
    def port(self) -> int:
        """Of netlink, by which what we do is known."""
        if self._wire is None:
            self._wire = Wire()
        return self._wire.port

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def connect(self, outcome: Record, number: int, pid: int) -> None:
        """Make the veth of a slot into a process's network namespace; NspawnError when that fails."""
        if self._wire is None:
            self._wire = Wire()
        aside = connect(self._wire, outcome, number, pid)
        if aside:
            self._delete([aside], lambda: None)

    def disconnected(self, number: int) -> None:
        """Its container has ended: the kernel removes the veth, unless something still has the namespace."""
        self._leaving.add(number)
        self._owner.loop.after(_LEFT, self._tidy)

    def _tidy(self) -> None:
        self.remove(lambda: None)

    def remove(self, done: Callable[[], None]) -> bool:
        """Delete what is left of ended containers, and call done then; False when nothing is left."""
        left = [veth(each) for each in self._leaving.difference(self._used()) if is_there(veth(each))]
        self._leaving.clear()
        return bool(left) and self._delete(left, done)

    def _delete(self, names: list[str], done: Callable[[], None]) -> bool:
        """In a child, as it takes the kernel long; by number, as a start may take the name meanwhile."""
        indexes = [index for index in map(_index, names) if index]
        try:
            pid = child.fork(lambda: _delete(indexes), "what ended containers left is not removed")
        except OSError as error:
            self._owner.log(f"what ended containers left is not removed: {error}")
            return False
        self._owner.children[pid] = lambda _status: done()
        return True


def connect(wire: Wire, outcome: Record, number: int, pid: int) -> str:
    """The veth of a slot, in the bridge that the outcome names; NspawnError when it cannot be made.

    Returns what was in its way and is to be deleted, or "".
    """
    try:
        master = 0
        if outcome.text("mode", "bridge") != "ptp":
            master = _socket.if_nametoindex(outcome.text("bridge", _BRIDGE))
        return wire.make(number, pid, master)
    except OSError as error:
        raise NspawnError(
            "the container cannot be connected to the network",
            f"{error.filename}: {error.strerror}" if error.filename else str(error),
            "See what the network lacks: nspawn net status.",
        ) from error


def _index(name: str) -> int:
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0


def _delete(indexes: list[int]) -> None:
    wire = Wire()
    wire.delete_these(indexes)
