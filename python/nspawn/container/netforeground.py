"""The network of a run that is not the spawner's: on a terminal, or where there is no spawner.

The run has its own cell and makes its own veth; that the network is there, and stays right, is asked of the
spawner, or of a caretaker of our own where there is none.
"""

from __future__ import annotations

import fcntl
import os

from nspawn.container import attachment, caretaker, netlock, netslot
from nspawn.container.netwires import connect
from nspawn.errors import NspawnError
from nspawn.kernel import unix
from nspawn.kernel.slotfiles import run_owner
from nspawn.kernel.wire import Wire
from nspawn.model.record import Record, raise_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from nspawn.layout import Layout
    from nspawn.model.runspec import RunSpec
    from nspawn.model.slot import Slot

_F_SETOWN = 8
_PEEK, _DONTWAIT = 0x2, 0x40  # of recv(2)


class Gone(NspawnError):
    """Who looked after the network is not there any more."""


class Joined:
    """The network for one run, while a `with` block lasts.  NspawnError when it cannot be had."""

    def __init__(self, spec: RunSpec, layout: Layout, warn: Callable[[str], None]) -> None:
        assert spec.wish is not None
        self._spec = spec
        self._wish = spec.wish
        self._layout = layout
        self._warn = warn
        self._owner = run_owner(os.getpid())
        self._lock = -1
        self._caretaker = 0
        self._end: unix.Socket | None = None
        self._outcome = Record()
        self._slot: Slot | None = None
        self._wire: Wire | None = None

    def __enter__(self) -> Self:
        try:
            self._share()
            self._outcome = self._hold()
            self._slot = netslot.take(
                self._layout, self._owner, self._wish, self._spec.hostname, self._outcome
            )
            for note in self._wish.notes:
                self._warn(note)
            self._wire = Wire()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of it; a caretaker of ours that is the last one takes it down before it ends."""
        if self._wire is not None:
            self._wire.close()
        if self._slot is not None and not self._caretaker:
            netslot.release(self._layout, self._owner, self._slot.number)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._end is not None:
            self._end.close()
        if self._caretaker:
            os.waitpid(self._caretaker, 0)
            self._caretaker = 0

    def connect(self, pid: int) -> list[tuple[str, bytes]]:
        """Make the veth into a cell's network namespace, and all that must be there before its command runs;
        what the cell is to be told.
        """
        assert self._slot is not None
        assert self._wire is not None
        aside = connect(self._wire, self._outcome, self._slot.number, pid)
        if aside:
            self._wire.delete([aside])
        if self._slot.careful or self._outcome.text("mode", "bridge") == "ptp":
            self._outcome = self._ask("refresh")
        return attachment.cell_fields(self._slot, self._outcome)

    def watch(self) -> None:
        """From now on SIGIO, which must be blocked, says that whoever looks after the network may be gone."""
        assert self._end is not None
        fcntl.fcntl(self._end, _F_SETOWN, os.getpid())
        fcntl.fcntl(self._end, fcntl.F_SETFL, fcntl.fcntl(self._end, fcntl.F_GETFL) | os.O_ASYNC)

    def look(self) -> None:
        """After SIGIO: find another to look after the network, when the one before is gone."""
        assert self._end is not None
        try:
            if self._end.recv(1, _PEEK | _DONTWAIT):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end.close()
        if self._caretaker:
            os.waitpid(self._caretaker, 0)
            self._caretaker = 0
        try:
            self._hold()
            self.watch()
        except (OSError, NspawnError) as error:
            self._warn(f"the network is not looked after any more: {error}")

    def _share(self) -> None:
        """Tell every other process that the network is needed: who has it to itself takes it down."""
        self._lock = netlock.opened(self._layout)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _hold(self) -> Record:
        """Have the network up, by the spawner or, without one, by a caretaker."""
        try:
            self._end = unix.connect(self._layout.control_socket)
        except OSError:
            pass  # there is none
        else:
            try:
                answer = self._ask("hold")
            except (OSError, Gone):
                self._end.close()
            else:
                if not answer.flag("elsewhere"):  # else it is in another network, or sees other files
                    return answer
                self._end.close()
        self._caretaker, self._end = caretaker.fork(self._layout, self._owner)
        return self._ask("hold")

    def _ask(self, verb: str) -> Record:
        assert self._end is not None
        unix.send(self._end, Record((("op", "net"), ("verb", verb))).encode())
        data, descriptors = unix.receive(self._end)
        unix.close_all(descriptors)
        if not data:
            raise Gone("the network is not looked after any more", "who did it went away")
        answer = Record.decode(data)
        raise_error(answer)
        return answer
