"""Which source an image's name leads to, and the two sources that are only one archive."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, assert_never
from urllib.parse import unquote, urlsplit

from nspawn.errors import NotFound, NspawnError, UsageError
from nspawn.images import fetch
from nspawn.model import imageref
from nspawn.model.blob import Blob
from nspawn.model.image import Image, Layer
from nspawn.model.machines import parse_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.images.blobs import Blobs
    from nspawn.images.fetch import Fetcher
    from nspawn.images.http import Client
    from nspawn.images.simplestreams import ImageServer
    from nspawn.images.spool import Peeked
    from nspawn.layout import Layout
    from nspawn.model.fetching import Fetching
    from nspawn.model.image import LayerStream, Source
    from nspawn.model.progress import Asked, Report

#: Of the server's list.
_QUICK_RETRIES = 2
#: Endings of archives, for the estimate of their content only.
_ENDINGS = {
    ".xz": "xz",
    ".txz": "xz",
    ".gz": "gz",
    ".tgz": "gz",
    ".zst": "zst",
    ".bz2": "bz2",
    ".tar": "tar",
}


@dataclass(frozen=True, kw_only=True)
class Network:
    """What fetching needs, made once for one piece of work.

    store: what is kept of images, which is never fetched again.  keep: the same, when new blobs are stored
    there, else None.
    """

    layout: Layout
    environ: Mapping[str, str]
    fetching: Fetching
    client: Client
    fetcher: Fetcher
    cancelled: Asked
    store: Blobs
    keep: Blobs | None


class UrlSource:
    """A tar at an address, whose sha256 the user gave."""

    def __init__(self, network: Network, ref: imageref.Url) -> None:
        self._network = network
        self._ref = ref

    def resolve(self, report: Report, cancelled: Asked) -> Image:  # noqa: ARG002  (as all sources)
        """What the reference says itself."""
        name = unquote(os.path.basename(urlsplit(self._ref.url).path)) or "archive"
        blob = Blob(digest=f"sha256:{self._ref.sha256}", urls=(self._ref.url,))
        layer = Layer(blob=blob, name=name, compression=compression_of(name))
        return Image(reference=str(self._ref), title=printable(name), layers=(layer,))

    def open(self, layer: Layer) -> LayerStream:
        """Begin to fetch it."""
        assert layer.blob is not None
        return self._network.fetcher.open(layer.blob, keep=self._network.keep)


class FileSource:
    """A plain archive of the user's.  file: a path or what is open already; size: of that, when known."""

    def __init__(self, file: str | Peeked, size: int | None = None) -> None:
        self._file = file
        self._size = size

    def resolve(self, report: Report, cancelled: Asked) -> Image:  # noqa: ARG002  (as all sources)
        """Its name and size; NotFound, UsageError for what is no file."""
        name, size = "archive", self._size
        if isinstance(self._file, str):
            name, size = os.path.basename(self._file), file_size(self._file)
        layer = Layer(name=name, size=size, compression=compression_of(name))
        return Image(reference=printable(name), title=printable(name), layers=(layer,))

    def open(self, layer: Layer) -> LayerStream:
        """Begin to read it."""
        return fetch.open_file(self._file, size=layer.size)


def source_of(
    network: Network,
    ref: imageref.ImageRef,
    *,
    arch: str = "",
    file: BinaryIO | None = None,
    size: int | None = None,
) -> Source:
    """The source for one reference.  arch: "" for this machine's.  file: instead of the path of a `File`;
    size: of it, when known.
    """
    match ref:
        case imageref.Distribution():
            return _distribution(network, ref, arch)
        case imageref.Registry():
            return _registry(network, ref, arch)
        case imageref.Url():
            return UrlSource(network, ref)
        case imageref.File():
            return _file(network, file or ref.path, size, arch)
        case imageref.Builtin():
            raise UsageError("'builtin' is not fetched: it comes along")
    assert_never(ref)


def _distribution(network: Network, ref: imageref.Distribution, arch: str) -> Source:
    from nspawn.images.simplestreams import ServerSource

    machine = parse_machine(arch or ref.arch or os.uname().machine)
    return ServerSource(server(network), network.fetcher, ref, arch=machine, keep=network.keep)


def server(network: Network) -> ImageServer:
    """The image server of config.toml, or of NSPAWN_IMAGE_SERVER."""
    from nspawn.images.http import Client
    from nspawn.images.simplestreams import ImageServer

    # Its last list is used when it cannot be reached: on a phone without a network that shall not take long.
    fetching = network.fetching._replace(retries=min(network.fetching.retries, _QUICK_RETRIES))
    client = Client(fetching, cancelled=network.cancelled, environ=network.environ)
    return ImageServer(network.layout.images, fetching, client, network.environ)


def _registry(network: Network, ref: imageref.Registry, arch: str) -> Source:
    from nspawn.images.registry import RegistrySource
    from nspawn.service import registries

    return RegistrySource(
        ref,
        network.fetching,
        network.cancelled,
        machine=arch,
        credential=registries.find(network.layout, ref.host),
        keep=network.keep,
        store=network.store,
        environ=network.environ,
    )


def _file(network: Network, file: str | BinaryIO, size: int | None, arch: str) -> Source:
    """What is an image in a file, and what is a root file system, is told by the first names in it."""
    from nspawn.images import ocilayout
    from nspawn.images.spool import Peeked

    given = file if isinstance(file, str) else Peeked(file)
    os.makedirs(network.layout.images, 0o700, exist_ok=True)
    found = ocilayout.open_source(
        given, network.layout.images, title="" if isinstance(given, str) else "archive", machine=arch
    )
    return found or FileSource(given, size)


def file_size(path: str) -> int:
    """Bytes of a regular file; NotFound, or UsageError for anything else."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise NspawnError(f"{path} cannot be read", error.strerror or str(error)) from None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path} is a folder, no archive", hint=f"If it holds a system: --rootfs {path}.")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not an archive", "it is not a file")
    return status.st_size


def compression_of(name: str) -> str:
    """By its ending; "" when that tells nothing."""
    return _ENDINGS.get(os.path.splitext(name)[1].lower(), "")


def printable(text: str) -> str:
    """Text that fits the settings and a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
