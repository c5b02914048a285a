"""Blobs as streams: fetched, resumed, and checked while they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

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

    size: int | None
    done: int

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
    """Opens blobs; the bandwidth, and the count of downloads at once, are shared by all of one Fetcher."""

    def __init__(self, client: Client, fetching: Fetching, cancelled: Asked = lambda: False) -> None:
        raise NotImplementedError

    def open(self, blob: Blob, *, keep: Blobs | None = None) -> Stream:
        """The blob from the first of its urls that has it, which begins now, in the background.

        keep: taken from there when it is there; else stored there too, once it is whole.
        """
        raise NotImplementedError


def open_file(
    source: str | BinaryIO, *, digest: str = "", size: int | None = None, cancelled: Asked = lambda: False
) -> Stream:
    """A file by its path, or what is open already (standard input, an upload; it is not closed then)."""
    raise NotImplementedError
