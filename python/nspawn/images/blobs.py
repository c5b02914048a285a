"""Stored blobs by their hash, and records of the images that they make up.

images/blobs/sha256/<64 digits>         whole and checked
images/blobs/sha256/<64 digits>.part    being fetched, or what an ended process left; locked by its writer
images/index/<id>.json                  an image that is kept
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nspawn.errors import NspawnError
    from nspawn.images.fetch import Stream
    from nspawn.model.progress import Asked, Report


@dataclass(frozen=True, kw_only=True)
class Held:
    """A stored blob.  used: the ids of the records that name it."""

    digest: str
    size: int
    used: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept image.  id: made from reference and arch.  date: seconds since 1970.  size: of its blobs."""

    reference: str
    title: str
    digests: tuple[str, ...]
    arch: str = ""
    serial: str = ""
    date: int = 0
    size: int = 0

    @property
    def id(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed."""

    count: int
    bytes: int


class Blobs:
    """The store below `root` (layout.images), which need not be there yet."""

    def __init__(self, root: str) -> None:
        self.root = root

    def has(self, digest: str) -> bool:
        raise NotImplementedError

    def open(self, digest: str, cancelled: Asked = lambda: False) -> Stream:
        """Checked while it is read; NotFound."""
        raise NotImplementedError

    def held(self) -> list[Held]:
        raise NotImplementedError

    def remove(self, digest: str) -> None:
        """NotFound; who reads it now goes on."""
        raise NotImplementedError

    def prune(self, report: Report = lambda _: None, cancelled: Asked = lambda: False) -> Pruned:
        """Remove what no record names, and parts that nobody writes."""
        raise NotImplementedError

    def verify(self, report: Report, cancelled: Asked) -> list[str]:
        """Hash everything; the digests of blobs that are not what they should be (they stay)."""
        raise NotImplementedError

    def note(self, record: Kept) -> None:
        """Write the record, in the place of the one with its id."""
        raise NotImplementedError

    def records(self) -> tuple[list[Kept], list[NspawnError]]:
        """The newest first, and what was wrong with those that cannot be read."""
        raise NotImplementedError

    def forget(self, id_: str) -> Kept:
        """Remove a record (its blobs are for `prune`); NotFound."""
        raise NotImplementedError
