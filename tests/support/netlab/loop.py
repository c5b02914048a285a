"""One thread that answers and pumps for a whole lab: no process per service, and nothing is left."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    def fileno(self) -> int: ...


class Loop:
    """Calls `ready` of each handle when it can be read; both ends of the work hold the lock."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.RLock()
        self._wake, self._woken = socket.socketpair()
        self._ended = False
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: None)
        self._thread = threading.Thread(target=self._run, name="netlab", daemon=True)
        self._thread.start()

    def add(self, handle: Handle, ready: Callable[[], None]) -> None:
        with self._lock:
            self._selector.register(handle, selectors.EVENT_READ, ready)

    def remove(self, handle: Handle) -> None:
        """Before the handle is closed."""
        with self._lock:
            self._selector.unregister(handle)

    def end(self) -> None:
        self._ended = True
        self._wake.send(b"x")
        self._thread.join(10)
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                with self._lock:
                    if self._selector.get_map().get(key.fd) is key:
                        key.data()
