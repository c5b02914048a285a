"""A run by a command line that came over the control socket, with a network of its own."""

from __future__ import annotations

import os

from nspawn.container import netslot
from nspawn.container.attachment import Attachment
from nspawn.errors import NspawnError
from nspawn.kernel import unix
from nspawn.kernel.slotfiles import run_owner
from nspawn.model.names import host_name
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.cell import Cell
    from nspawn.container.peer import Peer
    from nspawn.model.runspec import RunSpec
    from nspawn.model.slot import Slot

_LOCKED = 0.003  # seconds until the slots' files are tried again


class NetRun:
    """From the request until its cell is told what to run; then the peer has it, as any other run."""

    def __init__(self, peer: Peer, record: Record, descriptors: list[int], spec: RunSpec) -> None:
        assert spec.wish is not None
        self._peer = peer
        self._spawner = peer.spawner
        self._network = peer.spawner.networking()
        self._record = record
        self._descriptors = [os.dup(descriptor) for descriptor in descriptors]
        self._wish = spec.wish
        folder = os.path.normpath(os.path.join(record.text("cwd", "/"), spec.rootfs))
        self._host = spec.hostname or host_name(os.path.basename(folder))
        self._over = False

    def begin(self) -> None:
        if self._network.need(self, self._came):
            self._came(None)

    def end(self) -> None:
        """It needs nothing more of us, or nobody waits for it."""
        if not self._over:
            self._over = True
            self._peer.waiting = None
            self._network.leave(self)
            unix.close_all(self._descriptors)

    def _fail(self, error: NspawnError) -> None:
        self._peer.reply(error_record(error))
        self._peer.end_run()
        self.end()

    def _came(self, error: NspawnError | None) -> None:
        """The network is up."""
        if self._over:
            return
        if error is not None:
            self._fail(error)
            return
        layout, owner = self._spawner.layout, run_owner(os.getpid())
        try:
            slot = netslot.take(layout, owner, self._wish, self._host, self._network.outcome, wait=False)
        except BlockingIOError:
            self._spawner.loop.after(_LOCKED, lambda: self._came(None))
            return
        except NspawnError as failure:
            self._fail(failure)
            return
        self._start(slot, owner)

    def _start(self, slot: Slot, owner: str) -> None:
        layout = self._spawner.layout
        attachment = Attachment(self._network, slot, lambda: netslot.release(layout, owner, slot.number))
        self._peer.attachment = attachment
        try:
            for note in self._wish.notes:
                self._peer.reply(Record((("warning", note),)))
            if not attachment.wait(lambda error: self._held(attachment, error)):
                return
            self._take_cell(attachment)
        except (OSError, NspawnError) as error:
            self._give_up(attachment, error)

    def _held(self, attachment: Attachment, error: NspawnError | None) -> None:
        """It was just taken down by hand, and is up again."""
        if self._over:
            return
        try:
            if error is not None:
                raise error
            self._take_cell(attachment)
        except (OSError, NspawnError) as failure:
            self._give_up(attachment, failure)

    def _take_cell(self, attachment: Attachment) -> None:
        self._spawner.host.check("nat", boot=False)
        cell = self._peer.take_cell("nat")
        if attachment.connect(cell.pid, lambda error: self._connected(cell, attachment, error)):
            self._tell(cell, attachment)

    def _connected(self, cell: Cell, attachment: Attachment, error: NspawnError | None) -> None:
        if self._over or self._peer.run is not cell:
            return
        try:
            if error is not None:
                raise error
            self._tell(cell, attachment)
        except (OSError, NspawnError) as failure:
            self._give_up(attachment, failure)

    def _tell(self, cell: Cell, attachment: Attachment) -> None:
        self._peer.tell_cell(cell, self._record, self._descriptors, attachment.fields())
        self.end()

    def _give_up(self, attachment: Attachment, error: Exception) -> None:
        if self._peer.run is None:
            self._peer.attachment = None
            attachment.end()
        if not isinstance(error, NspawnError):
            error = NspawnError("the container could not be started", str(error))
        self._fail(error)
