"""What is kept of images, and what can be had: the use cases behind `nspawn image` and the page."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nspawn.errors import Busy, NotFound, NspawnError, UsageError
from nspawn.images.blobs import Blobs
from nspawn.model import imageref, machines, releases
from nspawn.model.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.images.blobs import Kept, Pruned
    from nspawn.layout import Layout
    from nspawn.model.catalog import Catalog, Product
    from nspawn.model.imageref import ImageRef
    from nspawn.model.progress import Asked, Report

#: Seconds that a list of the server is taken for the present one within one process.
_FRESH = 600.0
#: Seconds that a thread waits for another one that asks the server.
_PATIENCE = 2.0
_WHAT = "the image server cannot be asked"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A kept image.  missing: digests that are not in the store any more."""

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
            "documents": list(self.kept.documents),
            "missing": list(self.missing),
        }


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An image of the server.  reference: the shortest name for it; os: what its distribution calls itself;
    also: other words for its release.

    current: the one that the bare name of its distribution stands for.  size: bytes to fetch.
    """

    reference: str
    distribution: str
    os: str
    release: str
    variant: str
    arch: str
    title: str
    also: tuple[str, ...]
    size: int
    date: str
    current: bool

    @classmethod
    def of(cls, product: Product, current: bool) -> Offer:  # noqa: FBT001  (as `releases.listing` has it)
        """The one that a list of the server tells."""
        variant = "" if product.variant == "default" else product.variant
        name = imageref.Distribution(name=product.distribution, release=product.release, variant=variant)
        return cls(
            reference=str(name),
            distribution=product.distribution,
            os=product.os or product.distribution,
            release=product.release,
            variant=product.variant,
            arch=product.arch,
            title=" ".join(dict.fromkeys((product.os or product.distribution, product.title))).strip(),
            also=product.aliases,
            size=product.item.size,
            date=product.date,
            current=current,
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the server has.  notes: such as that it could not be asked, and the list is an old one."""

    products: tuple[Offer, ...]
    arch: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        products = [{**asdict(each), "also": list(each.also)} for each in self.products]
        return {"arch": self.arch, "products": products, "notes": list(self.notes)}


class Images:
    """All images of one layout.  clock: seconds."""

    def __init__(self, layout: Layout, clock: Callable[[], float] = time.monotonic) -> None:
        self.layout = layout
        self._clock = clock
        self._blobs = Blobs(layout.images)
        self._lock = threading.Lock()
        self._known: tuple[float, Catalog, tuple[str, ...]] | None = None
        self._failed: tuple[float, NspawnError] | None = None

    def kept(self) -> list[Stored]:
        """The newest first."""
        records, _damaged = self._blobs.records()
        return [self._stored(record) for record in records]

    def problems(self) -> list[str]:
        """What is wrong with records that cannot be read."""
        return [str(error) for error in self._blobs.records()[1]]

    def get(self, name: str) -> Stored:
        """By its id, the beginning of that, or its reference; NotFound, UsageError when several match."""
        found = [each for each in self.kept() if name in (each.kept.id, each.kept.reference)]
        if not found and len(name) >= 4:
            found = [each for each in self.kept() if each.kept.id.startswith(name)]
        if not found:
            raise NotFound(f"there is no stored image {name[:80]!r}", hint="See: nspawn image list")
        if len(found) > 1:
            ids = ", ".join(each.kept.id for each in found)
            raise UsageError(f"{name[:80]!r} names several images", ids, "Name one by its id.")
        return found[0]

    def remove(self, name: str) -> Pruned:
        """Forget an image, and remove the blobs that no other one needs; containers stay as they are.

        Busy while another image is being stored.
        """
        self.get(name)
        with self._blobs.clearing():
            self._blobs.forget(self.get(name).kept.id)
            return self._blobs.prune()

    def prune(self, report: Report, cancelled: Asked, *, everything: bool = False) -> Pruned:
        """Remove what no image needs, and what broken downloads left; everything: all images too.

        Busy while an image is being stored.
        """
        with self._blobs.clearing(cancelled):
            if everything:
                for stored in self.kept():
                    self._blobs.forget(stored.kept.id)
            return self._blobs.prune(report, cancelled)

    def verify(self, report: Report, cancelled: Asked) -> list[str]:
        """Hash everything that is stored; the digests of what is damaged, which stays for a person to see."""
        return self._blobs.verify(report, cancelled)

    def search(
        self, text: str, report: Report, cancelled: Asked, *, arch: str = "", cloud: bool = False
    ) -> Found:
        """What the image server has for an architecture ("" for ours) by a part of a distribution's name.

        cloud: also the variants for clouds.
        """
        machine = machines.parse_machine(arch or os.uname().machine)
        catalog, notes = self._catalog(report, cancelled)
        rows = releases.listing(catalog, machine, text, hidden=cloud)
        return Found(products=tuple(Offer.of(*row) for row in rows), arch=machine, notes=notes)

    def resolve(
        self, reference: ImageRef, report: Report, cancelled: Asked, *, arch: str = ""
    ) -> dict[str, Any]:
        """What a reference stands for now, in the JSON form; nothing of it is fetched."""
        from nspawn.service import images

        image = images.choose(self.layout, reference, report, cancelled, arch=arch).image
        run = image.config
        return {
            "reference": image.reference,
            "title": image.title,
            "arch": image.arch,
            "serial": image.serial,
            "size": image.size,
            "digests": [layer.blob.digest for layer in image.layers if layer.blob is not None],
            "command": None if run is None else [*run.entrypoint, *run.command],
            "env": None if run is None else dict(run.env),
            "user": None if run is None else run.user,
            "workdir": None if run is None else run.workdir,
            "ports": None if run is None else list(run.ports),
            "volumes": None if run is None else list(run.volumes),
            "stop_signal": None if run is None else run.stop_signal,
            "notes": list(image.notes),
        }

    def _catalog(self, report: Report, cancelled: Asked) -> tuple[Catalog, tuple[str, ...]]:
        """The server's list; asked for once in a while, and by one thread at a time.

        Who comes meanwhile waits a moment only, so that a server that is slow does not keep all threads:
        then an old list is taken, or Busy raised.  What failed while one waited is not tried once more.
        A list from before, because the server was not reached, is for those who waited only: who comes
        later, or tries again, asks the server.
        """
        begun = self._clock()
        if not self._lock.acquire(timeout=_PATIENCE):
            if self._known is None:
                raise Busy(_WHAT, "its list is being fetched already", "Try again in a moment.")
            return self._old()
        try:
            if self._known is not None:
                told, _catalog, notes = self._known
                if begun <= told or (not notes and self._clock() - told <= _FRESH):
                    return self._known[1:]
            if self._failed is not None and begun <= self._failed[0]:
                raise self._failed[1].with_traceback(None)
            try:
                self._known = self._ask(report, cancelled)
            except NspawnError as error:
                self._failed = (self._clock(), error)
                raise
            return self._known[1:]
        except Cancelled:
            if self._known is None:
                raise
            return self._old()
        finally:
            self._lock.release()

    def _ask(self, report: Report, cancelled: Asked) -> tuple[float, Catalog, tuple[str, ...]]:
        from nspawn.service import images, imagesources

        server = imagesources.server(images.network(self.layout, cancelled))
        catalog = server.catalog(report, cancelled)
        return self._clock(), catalog, tuple(server.notes)

    def _old(self) -> tuple[Catalog, tuple[str, ...]]:
        """What is known of the server from before."""
        assert self._known is not None
        return self._known[1], (*self._known[2], "the image server did not answer yet; an old list is used")

    def _stored(self, record: Kept) -> Stored:
        missing = tuple(digest for digest in record.parts if not self._blobs.has(digest))
        return Stored(kept=record, missing=missing)
