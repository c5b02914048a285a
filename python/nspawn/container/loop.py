"""The spawner's event loop: descriptors and timers.

Nothing polls: without a timer the loop sleeps until a descriptor wakes it.
"""

from __future__ import annotations

import select
import time
from _heapq import heappop, heappush  # the part of `heapq` in C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT


class Timer:
    """A pending call; cancel() forgets it."""

    __slots__ = ("call", "deadline")

    def __init__(self, deadline: float, call: Callable[[], None]) -> None:
        self.deadline = deadline
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        return self.deadline < other.deadline

    def cancel(self) -> None:
        self.call = None


class Loop:
    """One thread's events."""

    __slots__ = ("_epoll", "_failed", "_handlers", "_last", "_late", "_stopped", "_timers")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """failed: told of an exception that a handler or timer let through; the loop goes on."""
        self._failed = failed
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._late: set[int] = set()
        self._timers: list[Timer] = []
        self._last: Callable[[], None] | None = None
        self._stopped = False

    def add(
        self, descriptor: int, handler: Callable[[int], None], events: int = IN, *, late: bool = False
    ) -> None:
        """Call handler(events) whenever the descriptor has these events.

        late: after all others that are ready, because nobody waits for it.
        """
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler
        if late:
            self._late.add(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor, which must still be open.  Unknown ones are ignored."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._late.discard(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, call)
        heappush(self._timers, timer)
        return timer

    def before_sleep(self, call: Callable[[], None]) -> None:
        """Call it once, as the last thing before the loop waits."""
        self._last = call

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until stop()."""
        while not self._stopped:
            timeout = self._timeout()
            if self._last is not None:
                last, self._last = self._last, None
                self._call(last)
            events = self._epoll.poll(timeout)
            if self._late and len(events) > 1:
                events.sort(key=lambda event: event[0] in self._late)
            for descriptor, mask in events:
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    self._call(handler, mask)
            self._fire()

    def _call(self, call: Callable[..., None], *arguments: int) -> None:
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0].call is None:
            heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0].deadline - time.monotonic())

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].deadline <= now:
            call = heappop(self._timers).call
            if call is not None:
                self._call(call)
