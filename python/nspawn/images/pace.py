"""How fast: a shared limit of bandwidth, what counts as a stall, and how long to wait before the next try."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

#: Bytes per second below which a connection is as good as dead.
SLOWEST = 1024
#: Seconds: the first wait, the longest of ours, the longest that a server may ask for.
_FIRST, _LONGEST, _PATIENCE = 0.5, 30.0, 120.0
#: Seconds of bandwidth that may be used at once.
_BURST = 0.25
_SMALLEST, _LARGEST = 1 << 12, 1 << 18


class Bandwidth:
    """A bucket for several threads.  rate: bytes per second, 0 for no limit.  clock: seconds."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._paid = clock()

    @property
    def piece(self) -> int:
        """Bytes to read at once."""
        return _LARGEST if not self._rate else max(_SMALLEST, min(_LARGEST, self._rate // 10))

    def take(self, count: int) -> float:
        """Count bytes that came; the seconds to wait before more are asked for."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            self._paid = max(self._paid, now - _BURST) + count / self._rate
            return max(0.0, self._paid - now)


class Stall:
    """Tells a dead connection from a slow one.  patience: seconds, of waiting for the network only."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waited = 0.0
        self._came = 0

    def feed(self, count: int, seconds: float) -> bool:
        """Count what came, and how long it was waited for; True when that is too little for too long."""
        self._waited += seconds
        self._came += count
        if self._waited < self._patience:
            return False
        stalled = self._came < self._waited * SLOWEST
        self._waited, self._came = 0.0, 0
        return stalled


def delay(failures: int, random: Callable[[], float], asked: float | None = None) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, spread by up to half.

    random: from 0 to 1.  asked: what the server asked for, None when it did not; up to two minutes count.
    """
    own = min(_LONGEST, _FIRST * (1 << min(max(0, failures - 1), 16))) * (0.5 + 0.5 * random())
    return own if asked is None else max(own, min(asked, _PATIENCE))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a server asks to wait, by Retry-After: a number or a date (RFC 9110, 10.2.3).

    now: seconds since 1970.
    """
    text = headers.get("retry-after", "").strip()
    if not text or len(text) > 60:
        return None
    if text.isascii() and text.isdigit():
        return float(min(int(text), 1 << 30))
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def is_bearable(asked: float | None) -> bool:
    """Whether what a server asks to wait is short enough to wait for."""
    return asked is None or asked <= _PATIENCE
