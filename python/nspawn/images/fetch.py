"""Blobs as streams: fetched, resumed, and checked while they are read."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

from nspawn.errors import NotFound, UsageError
from nspawn.images import buffers, pace
from nspawn.images.download import Download, Shared
from nspawn.images.filestream import FileStream, Readable
from nspawn.images.origins import host_of
from nspawn.kernel import files

if TYPE_CHECKING:
    from nspawn.images.blobs import Blobs
    from nspawn.images.http import Client
    from nspawn.model.blob import Blob
    from nspawn.model.fetching import Fetching
    from nspawn.model.progress import Asked


class Stream(Protocol):
    """Bytes that are what they must be.  size: all of them, None when unknown.  done: read so far.

    A context manager.
    """

    done: int

    @property
    def size(self) -> int | None: ...
    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes as soon as there are some (fewer is no end); b"" at the end, and only when
        size and sha256 were right.

        Damaged when they were not, Unreachable after the last try, Cancelled.
        """
        ...

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


class Fetcher:
    """Opens blobs; the bandwidth, and the count of downloads at once, are shared by all of one Fetcher.

    store: what is there is read from there; nothing is put there without `keep`.
    """

    def __init__(
        self,
        client: Client,
        fetching: Fetching,
        cancelled: Asked = lambda: False,
        *,
        store: Blobs | None = None,
    ) -> None:
        self._cancelled = cancelled
        self._store = store
        self._lock = threading.Lock()
        self._distrusted: set[str] = set()
        self._shared = Shared(
            client=client,
            fetching=fetching,
            cancelled=cancelled,
            slots=buffers.Slots(fetching.parallel),
            bandwidth=pace.Bandwidth(fetching.bandwidth, time.monotonic),
            distrust=self._distrust,
        )

    def open(self, blob: Blob, *, keep: Blobs | None = None) -> Stream:
        """The blob from the first of its urls that has it, which begins now, in the background.

        keep: taken from there when it is there; else stored there too, once it is whole.  Close it.
        """
        if keep is not None and not blob.digest:
            raise UsageError("it cannot be kept", "its hash is not known", "Give its sha256.")
        stored = keep or self._store
        if stored is not None and blob.digest:
            try:
                return stored.open(blob.digest, self._cancelled, size=blob.size, heal=True)
            except NotFound:
                pass
        return Download(self._shared, blob, self._ordered(blob.urls), keep)

    def _distrust(self, hosts: tuple[str, ...]) -> None:
        with self._lock:
            self._distrusted.update(hosts)

    def _ordered(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        """Those whose hosts have sent something wrong come last."""
        with self._lock:
            return tuple(sorted(urls, key=lambda url: host_of(url) in self._distrusted))


def open_file(
    source: str | Readable, *, digest: str = "", size: int | None = None, cancelled: Asked = lambda: False
) -> Stream:
    """A file by its path, or what is open already (standard input, an upload; it is not closed then)."""
    if not isinstance(source, str):
        return FileStream(source, "what is read", digest=digest, size=size, cancelled=cancelled, own=False)
    try:
        file = open(source, "rb")  # noqa: SIM115  (the stream closes it)
    except FileNotFoundError:
        raise NotFound(f"there is no file {source}") from None
    except OSError as error:
        raise files.system_error(f"{source} cannot be read", error) from None
    try:
        return FileStream(file, source, digest=digest, size=size, cancelled=cancelled)
    except BaseException:
        file.close()
        raise
