"""What a container wrote to its console: the ring on disk, and what comes."""

from __future__ import annotations

import os
import select
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, NotFound, NotRunning, NspawnError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from nspawn.container.client import Attachment, Client, Watch
    from nspawn.model.record import Record
    from nspawn.service.store import Store

#: Bytes of history that a follower gets first.
HISTORY = 256 * 1024
_CHUNK = 64 * 1024
_NAMES = ("console.log.1", "console.log")


#: A place in the ring: the inode of the file, and the bytes of it before the place.
Place = tuple[int, int]


def history(store: Store, name: str, limit: int) -> bytes:
    """The last `limit` bytes of the ring; NotFound when there is no such container."""
    return _history(store, name, limit)[0]


def _history(store: Store, name: str, limit: int) -> tuple[bytes, Place]:
    with ExitStack() as undo:
        at = undo.enter_context(store.open(name))
        logs = []
        for file in _NAMES:
            try:
                log = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
            except OSError:
                continue
            undo.callback(os.close, log)
            logs.append((log, os.fstat(log).st_size))
        return _tail(logs, limit), _end(logs)


def _end(logs: list[tuple[int, int]]) -> Place:
    return (os.fstat(logs[-1][0]).st_ino, logs[-1][1]) if logs else (0, 0)


def _tail(logs: list[tuple[int, int]], limit: int) -> bytes:
    parts: list[bytes] = []
    for log, size in reversed(logs):
        wanted = min(limit, size)
        parts.append(os.pread(log, wanted, size - wanted))
        limit -= wanted
    return b"".join(reversed(parts))


class Follow:
    """The console's history and then its output, through restarts, until `stop` or the container's removal.

    `with follow as chunks: for chunk in chunks: ...`.  limit: bytes of history.
    Without a spawner nothing can come: it ends after the history.
    """

    def __init__(self, store: Store, client: Client, name: str, limit: int = HISTORY) -> None:
        self._store = store
        self._client = client
        self._name = name
        self._limit = limit
        self._lock = threading.Lock()  # a closed descriptor may be somebody else's by now
        self._wake = -1
        self._stopped = False
        self._undo = ExitStack()
        self._seen: Place | None = None  # what was given out

    def __enter__(self) -> Iterator[bytes]:
        with self._lock:
            self._wake = os.eventfd(1 if self._stopped else 0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._undo.callback(self._close_wake)
        return self._chunks()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def stop(self) -> None:
        """End it, from any thread."""
        with self._lock:
            self._stopped = True
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _close_wake(self) -> None:
        with self._lock:
            wake, self._wake = self._wake, -1
            os.close(wake)

    def _chunks(self) -> Iterator[bytes]:
        try:
            watch = self._client.watch()
        except NotRunning:
            yield from self._given(history(self._store, self._name, self._limit))
            return
        with watch:
            while not self._stopped:
                try:
                    attachment = self._client.attach(self._name)
                except (Conflict, NotFound):
                    if self._seen is None:
                        data, self._seen = _history(self._store, self._name, self._limit)
                        yield from self._given(data)
                else:
                    with attachment:
                        yield from self._attached(attachment)
                if not self._wait_for_start(watch):
                    return

    @staticmethod
    def _given(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _CHUNK):
            yield data[start : start + _CHUNK]

    def _attached(self, attachment: Attachment) -> Iterator[bytes]:
        logs = attachment.logs
        yield from self._given(self._missed(logs))
        inode, position = self._seen = _end(logs)
        while self._readable(attachment.fileno()):
            kind, what = attachment.recv()
            if not isinstance(what, bytes):
                return
            if kind == "output":
                position += len(what)
                self._seen = (inode, position)
                yield what

    def _missed(self, logs: list[tuple[int, int]]) -> bytes:
        """What the ring holds that was not given out yet."""
        if self._seen is None:
            return _tail(logs, self._limit)
        inode, position = self._seen
        left = 0
        for log, size in reversed(logs):
            if os.fstat(log).st_ino == inode:
                return _tail(logs, max(0, left + size - position))
            left += size
        return _tail(logs, self._limit)

    def _wait_for_start(self, watch: Watch) -> bool:
        """Whether the container runs again; False when it is gone, or asked to stop."""
        while self._readable(watch.fileno()):
            try:
                event = watch.recv()
            except NspawnError:
                return False
            if event is None:
                return False
            if event.text("name") == self._name and self._means_start(event):
                return True
            if event.text("name") == self._name and event.text("event") == "removed":
                return False
        return False

    @staticmethod
    def _means_start(event: Record) -> bool:
        return event.text("event") == "state" and event.text("state") in ("running", "starting")

    def _readable(self, descriptor: int) -> bool:
        """Wait for it; False when asked to stop."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        ready = [number for number, _mask in poll.poll()]
        return self._wake not in ready
