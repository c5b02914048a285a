"""One download: a thread that fetches, and a reader that gets what is right.

A hash is known at the end only, so whoever reads has got wrong bytes by then: nothing of what is made from a
stream counts before its empty last read.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nspawn.errors import Damaged, NotFound, NspawnError, Unreachable
from nspawn.images import buffers, pace
from nspawn.images.calls import Call
from nspawn.images.http import Stalled
from nspawn.images.origins import HEAD, Again, Origins, host_of
from nspawn.kernel import files
from nspawn.model.blob import ALGORITHM
from nspawn.model.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.images.blobs import Blobs, Part
    from nspawn.images.filestream import FileStream
    from nspawn.images.http import Client, Response
    from nspawn.model.blob import Blob
    from nspawn.model.fetching import Fetching
    from nspawn.model.progress import Asked

#: Bytes between two failures after which they are not counted as in a row.
_PROGRESS = 16 << 10
#: Seconds between two looks at whether it is still wanted; the longest wait for another process.
_STEP, _LONGEST_WAIT = 0.1, 1.0
_PIECE = 1 << 20


class _Closed(Exception):
    """The reader is gone."""


class _Late(NspawnError):
    """The time for all of it is over, wherever it comes from."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the downloads of one Fetcher share.  distrust: told the hosts of a blob that was wrong."""

    client: Client
    fetching: Fetching
    cancelled: Asked
    slots: buffers.Slots
    bandwidth: pace.Bandwidth
    distrust: Callable[[tuple[str, ...]], None]


class Download:
    """A Stream.  urls: in the order in which they are tried.  store: where it is also kept, or None."""

    def __init__(self, shared: Shared, blob: Blob, urls: tuple[str, ...], store: Blobs | None) -> None:
        self.done = 0
        self._shared = shared
        self._blob = blob
        self._origins = Origins(blob, urls)
        self._store = store
        share = buffers.ALL // shared.fetching.parallel
        self._buffer: buffers.Buffer = buffers.Memory(min(buffers.LARGEST, max(1 << 20, share)))
        self._hash = hashlib.sha256()
        self._resumed = False
        self._at = 0
        self._deadline = float("inf")
        self._changed = threading.Condition()
        self._call: Call | None = None
        self._error: NspawnError | None = None
        self._whole = self._closed = False
        self._stored: FileStream | None = None
        #: Held while the part is used by the thread; the reader may close it in between.
        self._part_lock = threading.Lock()
        self._part: Part | None = None
        shared.slots.queue(self)
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._thread.start()

    # The reader's side

    @property
    def size(self) -> int | None:
        """Bytes of all of it; None as long as that is unknown."""
        return self._origins.size

    def read(self, size: int = -1, /) -> bytes:
        """As Stream.read."""
        if not size:
            return b""
        self._shared.slots.urge(self)
        while True:
            if self._shared.cancelled():
                raise Cancelled
            with self._changed:
                if self._closed:
                    raise ValueError("the stream is closed")
                if self._stored is not None:
                    break
                data = self._buffer.take(size if size > 0 else _PIECE)
                if data:
                    self.done += len(data)
                    self._changed.notify_all()
                    return data
                if self._error is not None:
                    raise self._error
                if self._whole:
                    return b""
                self._changed.wait(_STEP)
        data = self._stored.read(size)
        self.done += len(data)
        return data

    def close(self) -> None:
        """The download ends, unless it is whole.  What was kept of it is removed, unless the
        network failed: then the next one goes on there.
        """
        with self._changed:
            self._closed = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.stop()
        self._shared.slots.release(self)
        with self._part_lock:
            if self._part is not None:
                if not self._whole and not isinstance(self._error, Unreachable):
                    self._part.remove()
                self._part.close()
        if self._stored is not None:
            self._stored.close()
        self._thread.join(_STEP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # The thread's side

    def _run(self) -> None:
        try:
            if self._shared.slots.acquire(self) and not self._prepare():
                self._fetch()
                self._check()
        except _Closed:
            return
        except NspawnError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  (the reader must not wait for ever)
            self._fail(NspawnError("a download failed", f"{type(error).__name__}: {error}"))
        finally:
            if self._store is not None:
                self._shared.slots.release(self)

    def _fail(self, error: NspawnError) -> None:
        if not isinstance(error, Unreachable):
            with self._part_lock:
                if self._part is not None and not self._closed:
                    self._part.remove()
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _prepare(self) -> bool:
        """Where it is kept: True when it is there already, else a part, which may have a beginning."""
        timeout = self._shared.fetching.timeout
        if timeout:
            self._deadline = time.monotonic() + timeout
        if self._store is None:
            return False
        part, wait = None, _STEP
        while part is None:
            part = self._store.begin(self._blob.digest)
            if part is None:
                # Another process fetches it; the kernel tells nobody when a lock can be had without waiting.
                self._pause(wait)
                wait = min(_LONGEST_WAIT, wait * 1.5)
        with self._part_lock:
            if self._closed:
                part.remove()
                part.close()
                raise _Closed
            self._part = part
        try:
            stored = self._store.open(self._blob.digest, self._shared.cancelled, size=self.size, heal=True)
        except NotFound:
            self._resume(part)
            return False
        self._using(part.remove)
        with self._changed:
            self._stored, self._origins.size = stored, stored.size
            self._changed.notify_all()
        return True

    def _resume(self, part: Part) -> None:
        """Hash again what an ended process left, and give it to the reader."""
        if self.size is not None and part.size > self.size:
            self._using(part.clear)
        with self._changed:
            self._buffer = buffers.Stored(part)
        while True:
            data = self._using(lambda: part.read(_PIECE, self._at))
            if not data:
                return
            self._resumed = True
            self._hash.update(data)
            self._give(data)

    def _using(self, work: Callable[[], bytes | None]) -> bytes | None:
        """Work on the part, unless the reader has closed it; what the disk refuses is a readable error."""
        with self._part_lock:
            if self._closed:
                raise _Closed
            try:
                return work()
            except OSError as error:
                raise files.system_error("what is fetched cannot be stored", error) from None

    def _fetch(self) -> None:
        failures = 0
        while self.size is None or self._at < self.size:
            before = self._at
            self._look_late()
            try:
                self._attempt()
            except Unreachable as error:
                moved = self._at - before
                failures = failures + 1 if moved < _PROGRESS or isinstance(error, Stalled) else 1
                asked = error.asked if isinstance(error, Again) else None
                # Others may do better at once; the last one gets all the tries.
                tries = self._shared.fetching.retries
                tries = tries if self._origins.is_last else min(tries, 1)
                if failures > tries or not pace.is_bearable(asked):
                    failures = 0
                    self._origins.drop(error)
                elif failures > 1 or not moved:
                    self._pause(pace.delay(failures, random.random, asked))
            except (_Late, Cancelled):
                raise
            except NspawnError as error:
                failures = 0
                self._origins.drop(error)

    def _attempt(self) -> None:
        """Fetch from where we are to the end, or to a failure."""
        call = Call()
        with self._changed:
            self._call = call
        headers = self._origins.headers(self._at)
        try:
            self._look_closed()
            with self._shared.client.open(self._origins.url, headers, call=call) as response:
                skip = self._origins.place(response, self._at, asked="Range" in headers)
                if self._at == self.size:
                    return
                for data in self._pieces(response, skip):
                    self._origins.look(response, data, self._at)
                    self._accept(data)
                self._origins.end(response, self._at)
        except Unreachable:
            self._look_closed()
            raise
        finally:
            with self._changed:
                self._call = None

    def _accept(self, data: bytes) -> None:
        self._hash.update(data)
        part = self._part
        if part is not None:
            self._using(lambda: part.write(data, self._at))
        self._give(data)

    def _pieces(self, response: Response, skip: int) -> Iterator[bytes]:
        """What comes, without what is skipped; the first has the length of a head, unless there is less."""
        shared = self._shared
        stall = pace.Stall(shared.fetching.stall_timeout)
        head = b""
        while True:
            begin = time.monotonic()
            data = response.read(shared.bandwidth.piece)
            now = time.monotonic()
            self._look_closed()
            self._look_late()
            if not data:
                break
            if stall.feed(len(data), now - begin):
                raise Stalled(f"{response.address.netloc} is too slow", f"{self._at} bytes came")
            self._pause(shared.bandwidth.take(len(data)))
            skipped = min(skip, len(data))
            skip -= skipped
            if self._at or skipped:
                data = data[skipped:]
            else:
                data = head = head + data
                if len(head) < HEAD and (self.size is None or len(head) < self.size):
                    continue
            head = b""
            if data:
                yield data
        if head:
            yield head

    def _give(self, data: bytes) -> None:
        """To the reader; waits while too much is there."""
        with self._changed:
            self._buffer.put(data)
            self._at += len(data)
            self._changed.notify_all()
            begin = time.monotonic()
            while self._buffer.is_full and not self._closed:
                self._changed.wait()
            self._deadline += time.monotonic() - begin
            if self._closed:
                raise _Closed

    def _check(self) -> None:
        found = f"{ALGORITHM}:{self._hash.hexdigest()}"
        if self._blob.digest and found != self._blob.digest:
            if self._resumed:  # a power cut leaves zeros where data was not yet on the disk
                raise Damaged(
                    "what was fetched is not what it should be",
                    f"its hash is {found}, not {self._blob.digest}, and an earlier download had begun it",
                    "Try again: what that one left is removed.",
                )
            self._shared.distrust(self._origins.hosts)
            raise Damaged(
                f"what {self._origins.story()} sent is not what it should be",
                f"its hash is {found}, not {self._blob.digest}",
                "Try again; if it stays so, choose another mirror in config.toml, or none.",
            )
        if self._part is not None:
            self._using(self._part.finish)
        with self._changed:
            self._whole = True
            self._changed.notify_all()

    def _look_late(self) -> None:
        if time.monotonic() > self._deadline:
            raise _Late(
                f"{host_of(self._origins.url)}: it was not fetched in time",
                f"it took more than {self._shared.fetching.timeout:g} seconds",
                "Try again, or change timeout in the table images of config.toml.",
            )

    def _look_closed(self) -> None:
        if self._closed:
            raise _Closed

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, seconds):
                raise _Closed
