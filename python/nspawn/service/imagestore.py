"""What is kept of images, and what can be had: the use cases behind `nspawn image` and the page."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.errors import NotFound, UsageError
from nspawn.images.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nspawn.images.blobs import Kept, Pruned
    from nspawn.layout import Layout
    from nspawn.model.catalog import Product
    from nspawn.model.progress import Asked, Report

#: Seconds that a list of the server is taken for the present one within one process.
_FRESH = 600.0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A kept image.  missing: digests that are not in the store any more; container: names that use it."""

    kept: Kept
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.kept.id,
            "reference": self.kept.reference,
            "title": self.kept.title,
            "arch": self.kept.arch,
            "serial": self.kept.serial,
            "date": self.kept.date,
            "size": self.kept.size,
            "digests": list(self.kept.digests),
            "missing": list(self.missing),
        }


class Images:
    """All images of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._blobs = Blobs(layout.images)
        self._lock = threading.Lock()
        self._listing: tuple[float, tuple[Product, ...], tuple[str, ...]] | None = None

    def list(self) -> list[Stored]:
        """The newest first."""
        records, _damaged = self._blobs.records()
        return [self._stored(record) for record in records]

    def problems(self) -> list[str]:
        """What is wrong with records that cannot be read."""
        return [str(error) for error in self._blobs.records()[1]]

    def get(self, name: str) -> Stored:
        """By its id, the beginning of that, or its reference; NotFound, UsageError when several match."""
        found = [each for each in self.list() if name in (each.kept.id, each.kept.reference)]
        if not found and len(name) >= 4:
            found = [each for each in self.list() if each.kept.id.startswith(name)]
        if not found:
            raise NotFound(f"there is no stored image {name[:80]!r}", hint="See: nspawn image list")
        if len(found) > 1:
            ids = ", ".join(each.kept.id for each in found)
            raise UsageError(f"{name[:80]!r} names several images", ids, "Name one by its id.")
        return found[0]

    def remove(self, name: str) -> Pruned:
        """Forget an image, and remove the blobs that no other one needs; containers stay as they are."""
        stored = self.get(name)
        self._blobs.forget(stored.kept.id)
        return self._blobs.prune(keep_parts=True)

    def prune(self, report: Report, cancelled: Asked, *, everything: bool = False) -> Pruned:
        """Remove what no image needs, and what broken downloads left; everything: all images too."""
        if everything:
            for stored in self.list():
                self._blobs.forget(stored.kept.id)
        return self._blobs.prune(report, cancelled)

    def verify(self, report: Report, cancelled: Asked) -> list[str]:
        """Hash everything that is stored; the digests of what is damaged, which stays for a person to see."""
        return self._blobs.verify(report, cancelled)

    def search(
        self,
        text: str,
        report: Report,
        cancelled: Asked,
        *,
        arch: str = "",
        cloud: bool = False,
        fresh: bool = False,
    ) -> tuple[Sequence[Product], tuple[str, ...]]:
        """What the image server has for an architecture ("" for ours) by a part of a distribution's name, and
        notes, such as that the list is an old one.
        """
        raise NotImplementedError

    def _stored(self, record: Kept) -> Stored:
        missing = tuple(digest for digest in record.digests if not self._blobs.has(digest))
        return Stored(kept=record, missing=missing)


def _now() -> float:
    return time.monotonic()
