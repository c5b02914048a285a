"""The spawner at rest: what it keeps ready for the next start is let go when none has come for a while."""

from __future__ import annotations

import gc
import os
import time

from nspawn.kernel import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner

#: Seconds without a request, a start or an end.
AFTER = 30.0
_SETTLE = 1.0  # seconds in which the cell's end has gone by


class Rest:
    """One timer per time of activity, and none at rest: an idle phone is not woken."""

    __slots__ = ("_after", "_last", "_pending", "_spawner")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._after = _seconds(os.environ.get("NSPAWN_REST", ""))
        self._last = 0.0
        self._pending = False

    def stir(self) -> None:
        """Something happened: the next rest is that much later."""
        self._last = time.monotonic()
        if not self._pending:
            self._pending = True
            self._spawner.loop.after(self._after, self._due)

    def _due(self) -> None:
        left = self._last + self._after - time.monotonic()
        if left > 0:  # one timer that looks again is cheaper than one for each start
            self._spawner.loop.after(left, self._due)
        elif self._spawner.pool.rest():
            self._spawner.loop.after(_SETTLE, self._due)
        else:
            self._pending = False
            gc.collect()
            self._spawner.rest_keeper()
            self._spawner.loop.before_sleep(memory.release)


def _seconds(text: str) -> float:
    """For tests, which do not wait so long."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return AFTER
