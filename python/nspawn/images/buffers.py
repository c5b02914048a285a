"""What lies between the network and the reader of a download, and how many downloads there are at once."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from nspawn.images.blobs import Part

#: Bytes in memory: of one download, and about of all that are under way.
LARGEST, ALL = 8 << 20, 16 << 20
#: Bytes up to which small pieces become one: each costs 50 bytes more than it has.
_GATHERED = 1 << 16


class Buffer(Protocol):
    """One writer, one reader; not for both at once.  is_full: whether the writer has to wait."""

    @property
    def is_full(self) -> bool: ...
    def put(self, data: bytes) -> None: ...
    def take(self, size: int) -> bytes: ...


class Memory:
    """Bytes that wait in memory.  limit: from where on it is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: deque[bytes | bytearray] = deque()
        self._size = 0

    @property
    def is_full(self) -> bool:
        return self._size >= self._limit

    def put(self, data: bytes) -> None:
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray) and len(last) + len(data) <= _GATHERED:
            last += data
        else:
            self._pieces.append(bytearray(data) if len(data) < _GATHERED else data)
        self._size += len(data)

    def take(self, size: int) -> bytes:
        parts: list[bytes | bytearray] = []
        while size > 0 and self._pieces:
            data = self._pieces.popleft()
            if len(data) > size:
                self._pieces.appendleft(data)
                data = data[:size]
                if isinstance(self._pieces[0], bytearray):
                    del self._pieces[0][:size]
                else:
                    self._pieces[0] = self._pieces[0][size:]
            parts.append(data)
            size -= len(data)
            self._size -= len(data)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


class Stored:
    """Bytes that are in a file: it is never full, and the reader may come much later."""

    is_full = False

    def __init__(self, part: Part) -> None:
        self._part = part
        self._written = self._taken = 0

    def put(self, data: bytes) -> None:
        """They have been written."""
        self._written += len(data)

    def take(self, size: int) -> bytes:
        left = self._written - self._taken
        data = self._part.read(min(size, left), self._taken) if left else b""
        self._taken += len(data)
        return data


class Slots:
    """Who may download now: `most` at once, in the order of their queue; and whoever is waited for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._busy: set[object] = set()
        self._urgent: set[object] = set()

    def queue(self, who: object) -> None:
        with self._changed:
            self._queue.append(who)

    def urge(self, who: object) -> None:
        """Somebody reads it: it must not wait for others, which may be read after it."""
        with self._changed:
            if who in self._queue:
                self._urgent.add(who)
                self._changed.notify_all()

    def acquire(self, who: object) -> bool:
        """Wait for the turn; False when it was given up meanwhile."""
        with self._changed:
            while who in self._queue:
                first = self._queue[0] is who and len(self._busy) < self._most
                if first or who in self._urgent:
                    self._queue.remove(who)
                    self._busy.add(who)
                    self._changed.notify_all()
                    return True
                self._changed.wait()
            return False

    def release(self, who: object) -> None:
        """Also of one that still waits; any number of times."""
        with self._changed:
            if who in self._queue:
                self._queue.remove(who)
            self._busy.discard(who)
            self._urgent.discard(who)
            self._changed.notify_all()
