"""Waiting for descriptors: an epoll, and whom to tell."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT
#: A quarter of an hour; longer waits are made of several.
_LONGEST = 900.0


class Poller:
    """failed: told of an exception that a handler let through; the others go on."""

    __slots__ = ("_epoll", "_failed", "_handlers")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._epoll = select.epoll()
        self._failed = failed
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, handler: Callable[[], None], events: int = IN) -> None:
        """Call the handler whenever the descriptor has one of these events, or an error."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """events: 0 for nothing but errors."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Before it is closed.  Unknown ones are ignored."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> bool:
        """Tell who has an event, after at most that time; whether there was one."""
        events = self._epoll.poll(min(max(0.0, seconds), _LONGEST))
        for descriptor, _mask in events:
            # Gone, or another of the same number: then it reads nothing and waits on.
            handler = self._handlers.get(descriptor)
            if handler is not None:
                try:
                    handler()
                except Exception as error:  # noqa: BLE001
                    self._failed(error)
        return bool(events)
