"""Images of distributions: what an image server lists, from its own index (facts/web.md).

The index, and with it all hashes, comes from the server itself, by TLS; the archives come from its mirrors
first.  What the server said last is used, with a note, while it cannot be reached.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nspawn.errors import NotFound, NspawnError, Unreachable
from nspawn.images.streamcache import Said, StreamCache
from nspawn.model import age, imageref, releases
from nspawn.model.blob import Blob
from nspawn.model.catalog import LARGEST_INDEX, LARGEST_PRODUCTS, parse_index, parse_products
from nspawn.model.fetching import parse_server
from nspawn.model.image import ROOTFS, Image, Layer
from nspawn.model.progress import Asked, Cancelled, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.images.blobs import Blobs
    from nspawn.images.fetch import Fetcher, Stream
    from nspawn.images.http import Client
    from nspawn.model.catalog import Catalog, Item, Product
    from nspawn.model.fetching import Fetching

#: Of the environment: instead of the server of config.toml.
SERVER_VARIABLE = "NSPAWN_IMAGE_SERVER"
_INDEX = "streams/v1/index.json"


class ImageServer:
    """folder: of all images (layout.images).  notes: after `catalog`, what a person should know of it."""

    def __init__(
        self, folder: str, fetching: Fetching, client: Client, environ: Mapping[str, str] = os.environ
    ) -> None:
        chosen = environ.get(SERVER_VARIABLE, "")
        self.address = parse_server(chosen, SERVER_VARIABLE) if chosen else fetching.server
        self.notes: list[str] = []
        self._mirrors = fetching.mirrors
        self._client = client
        self._cache = StreamCache(f"{folder}/streams")

    def catalog(self, report: Report, cancelled: Asked) -> Catalog:
        """What it offers now, or, with a note, what it offered when it was last reached.

        Raises NotFound when it is no image server, Damaged when its answer cannot be used, Unreachable.
        """
        report(Progress(phase="asking the image server"))
        self.notes.clear()
        index = self._ask(_INDEX, LARGEST_INDEX)
        lists = []
        for path in parse_index(index.body):
            if cancelled():
                raise Cancelled
            lists.append(self._ask(path, LARGEST_PRODUCTS))
        found = parse_products(said.body for said in lists)
        for said in (index, *lists):
            if not said.time:  # it is new, and it can be used
                self._cache.put(said)
        return found

    def blob(self, item: Item) -> Blob:
        """Where the archive is: mirrors, then the server."""
        places = [place for place in self._mirrors if place != self.address]
        urls = tuple(f"{place}/{item.path}" for place in (*places, self.address))
        return Blob(digest=f"sha256:{item.sha256}", size=item.size, urls=urls)

    def _ask(self, path: str, limit: int) -> Said:
        """The document; time is 0 when it is new."""
        url = f"{self.address}/{path}"
        kept = self._cache.get(url, limit)
        headers = {"If-None-Match": kept.tag} if kept and kept.tag else {}
        try:
            answer = self._client.get(url, headers, limit=limit)
        except Unreachable:
            if kept is None:
                raise
            return self._old(kept)
        if answer.status == 200:
            return Said(url=url, body=answer.body, tag=answer.headers.get("etag", ""))
        if answer.status == 304 and kept is not None:
            self._cache.confirm(kept)
            return kept
        if answer.status == 429 or answer.status >= 500:
            if kept is not None:
                return self._old(kept)
            raise Unreachable(
                f"{self.address} does not answer", f"its status is {answer.status}", "Try again later."
            )
        if answer.status in (404, 410):
            raise NotFound(
                f"{self.address} is no image server",
                f"it has no {path}",
                f"Correct server in the table images of config.toml, or {SERVER_VARIABLE}.",
            )
        raise NspawnError(f"{self.address} refuses its list of images", f"its status is {answer.status}")

    def _old(self, kept: Said) -> Said:
        note = f"{self.address} was not reached; its list of {age.ago(time.time() - kept.time)} ago is used"
        if not self.notes:
            self.notes.append(note)
        return kept


class ServerSource:
    """One image of the server (`model.image.Source`).  arch: as the server names it."""

    def __init__(
        self,
        server: ImageServer,
        fetcher: Fetcher,
        ref: imageref.Distribution,
        *,
        arch: str,
        keep: Blobs | None = None,
    ) -> None:
        self._server = server
        self._fetcher = fetcher
        self._ref = ref
        self._arch = arch
        self._keep = keep

    def resolve(self, report: Report, cancelled: Asked, /) -> Image:
        """What the name stands for in the server's list; NotFound with what there is instead."""
        listed = self._server.catalog(report, cancelled)
        ref = self._ref
        chosen = releases.choose(listed, ref.name, ref.release, arch=self._arch, variant=ref.variant)
        product = chosen.product
        blob = self._server.blob(product.item)
        layer = Layer(
            kind=ROOTFS, blob=blob, name=product.item.path, size=product.item.size, compression="xz"
        )
        return Image(
            reference=reference(product),
            title=title(product),
            layers=(layer,),
            serial=product.serial,
            arch=product.arch,
            notes=(*self._server.notes, *chosen.notes),
        )

    def open(self, layer: Layer) -> Stream:
        """Begin to fetch it."""
        assert layer.blob is not None
        return self._fetcher.open(layer.blob, keep=self._keep)


def reference(product: Product) -> str:
    """How a person names it: `debian:trixie`, `archlinux`, `voidlinux/current/musl`."""
    return str(
        imageref.Distribution(
            name=product.distribution,
            release="" if product.release == "current" else product.release,
            variant="" if product.variant == "default" else product.variant,
        )
    )


def title(product: Product) -> str:
    """`Debian 13 (trixie)`, `Alpine 3.22`, `Gentoo current, openrc`."""
    name = product.os or product.distribution.capitalize()
    number = next((word for word in product.aliases if word[:1].isdigit()), "")
    spelt = (
        f"{number} ({product.release})" if number and not product.release[:1].isdigit() else product.release
    )
    variant = "" if product.variant == "default" else f", {product.variant}"
    return f"{name} {spelt}{variant}"
