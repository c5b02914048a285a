"""One run of the network's agent: a short-lived process that makes the network as it is to be.

It knows the settings, the phone and the rules; we know when to run it, and read its outcome, a record.
"""

from __future__ import annotations

import os

from nspawn.container import activated
from nspawn.errors import Damaged, NspawnError
from nspawn.model.record import Record, raise_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.activated import Owner
    from nspawn.container.loop import Timer
    from nspawn.layout import Layout

_CHUNK = 1 << 16
_PATIENCE = 60.0  # seconds


def start(layout: Layout, *words: str) -> tuple[int, int]:
    """Start it; (its PID, where its outcome can be read)."""
    ours, theirs = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, theirs, 1)]
        return activated.start("network", activated.environment(layout), actions, *words), ours
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)


def outcome(data: bytes) -> Record:
    """What it said, or the NspawnError that it ended with."""
    try:
        record = Record.decode(data)
    except Damaged:
        record = Record()
    raise_error(record)
    if not record.fields:
        raise NspawnError(
            "the network could not be made",
            "what makes it ended without a word",
            "Look at its log: nspawn doctor names it.",
        )
    return record


def run(layout: Layout, *words: str) -> Record:
    """Run it to its end, and wait for that."""
    try:
        pid, end = start(layout, *words)
    except OSError as error:
        raise _cannot_start(error) from error
    data = bytearray()
    try:
        while piece := os.read(end, _CHUNK):
            data += piece
    finally:
        os.close(end)
        os.waitpid(pid, 0)
    return outcome(bytes(data))


def _cannot_start(error: OSError) -> NspawnError:
    return NspawnError("the network could not be made", f"its program cannot be started: {error}")


class AgentRun:
    """One that the loop waits for.  verb: what it does; done: told of its outcome, or why there is none."""

    __slots__ = ("_data", "_done", "_end", "_owner", "_timer", "pid", "verb")

    def __init__(
        self, owner: Owner, words: list[str], done: Callable[[Record | None, NspawnError | None], None]
    ) -> None:
        """Start it; done is called later in any case."""
        self._owner = owner
        self._done = done
        self._data = bytearray()
        self.verb = words[0]
        self.pid = 0
        try:
            self.pid, self._end = start(owner.layout, *words)
        except OSError as error:
            failure = _cannot_start(error)
            owner.loop.after(0, lambda: done(None, failure))
            return
        os.set_blocking(self._end, False)
        owner.loop.add(self._end, self._ready)
        owner.children[self.pid] = lambda _status: None
        self._timer: Timer | None = owner.loop.after(_PATIENCE, self._too_long)

    def _too_long(self) -> None:
        self._timer = None
        self._owner.log(f"the network's agent is ended: it did not in {_PATIENCE:.0f} seconds")
        self._owner.signal(self.pid, 9)

    def _ready(self, _events: int) -> None:
        """More of what it says; all of it has come when its end is closed."""
        try:
            piece = os.read(self._end, _CHUNK)
        except BlockingIOError:
            return
        self._data += piece
        if piece:
            return
        self._owner.loop.remove(self._end)
        os.close(self._end)
        if self._timer is not None:
            self._timer.cancel()
        try:
            record = outcome(bytes(self._data))
        except NspawnError as error:
            self._done(None, error)
        else:
            self._done(record, None)
