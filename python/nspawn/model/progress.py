"""How far long work is, and its end on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nspawn.errors import NspawnError


class Cancelled(NspawnError):
    """The work was ended on request; nothing of it is left."""

    code = "cancelled"
    status = 130

    def __init__(self) -> None:
        super().__init__("cancelled")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """phase: what is being done, for a person.  done, total: bytes, or items; total None when unknown."""

    phase: str
    done: int = 0
    total: int | None = None


#: What long work calls with each step, and what it asks whether to end.
Report = Callable[[Progress], None]
Asked = Callable[[], bool]

#: Seconds before a rate means something.
_SETTLED = 0.2


class Meter:
    """Rate and time left, from the progress within one phase.  clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._phase = ""
        self._begin = clock()
        self._first = 0

    def measure(self, progress: Progress) -> tuple[float, float | None]:
        """(per second, seconds left or None)."""
        now = self._clock()
        if progress.phase != self._phase:
            self._phase, self._begin, self._first = progress.phase, now, progress.done
        seconds = now - self._begin
        rate = (progress.done - self._first) / seconds if seconds > _SETTLED else 0.0
        if progress.total is None or rate <= 0:
            return rate, None
        return rate, max(0, progress.total - progress.done) / rate
