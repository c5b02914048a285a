"""What a source gives: an image's layers, its settings, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.blob import Blob
    from nspawn.model.progress import Asked, Report

#: Layer.kind: a whole root file system, or one that changes what is there (whiteouts count).
ROOTFS, LAYER = "rootfs", "layer"
#: How much bigger the content is, by the compression: measured at distributions' images.  A guess for the
#: check of the free space only; what is unpacked is counted.
_GROWTH = {"xz": 4.0, "gz": 3.0, "zst": 3.2, "bz2": 3.5, "tar": 1.0}


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What an OCI image says about its run; all of it may be absent.

    env: by name.  ports: `80/tcp`, which it listens at; hints, nothing is opened by them.  volumes: folders
    whose content is worth keeping; they are part of the rootfs here.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    ports: tuple[str, ...] = ()
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One archive of an image.  kind: ROOTFS or LAYER.

    blob: what it must be, None when nobody says (a file of the user's).  name: what its source knows it by.
    size: of the archive in bytes, None when unknown.  compression: "xz", "gz", "zst", "bz2", "tar", or ""
    when unknown; for the estimate only, the archive's first bytes decide.
    """

    kind: str = ROOTFS
    blob: Blob | None = None
    name: str = ""
    size: int | None = None
    compression: str = ""

    @property
    def estimate(self) -> int:
        """About the bytes of its content; 0 when nothing is known."""
        return int((self.size or 0) * _GROWTH.get(self.compression, 3.0))


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that is resolved, down to the digests.

    reference: as a person may write it again; title: for a person (`Debian 13 (trixie)`).
    layers: in the order in which they are applied.  config: None for a distribution.
    serial: which build of it (a version of the image server, a manifest's digest).  notes: what a person
    should know of how it was chosen.  documents: what describes it, which is kept with its layers.  since:
    when it was kept, in seconds since 1970, if nobody could be asked whether that is still so; else 0.
    """

    reference: str
    title: str
    layers: tuple[Layer, ...]
    config: ImageConfig | None = None
    serial: str = ""
    arch: str = ""
    notes: tuple[str, ...] = ()
    documents: tuple[bytes, ...] = ()
    since: int = 0

    @property
    def size(self) -> int | None:
        """Bytes of all archives; None when one is unknown."""
        sizes = [layer.size for layer in self.layers]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def estimate(self) -> int:
        """About the bytes of its content."""
        return sum(layer.estimate for layer in self.layers)


class LayerStream(Protocol):
    """A layer's bytes, checked: the empty read at its end comes only after size and digest were right."""

    @property
    def size(self) -> int | None: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Source(Protocol):
    """Where images come from; made for one reference."""

    def resolve(self, report: Report, cancelled: Asked) -> Image:
        """Ask for what the reference stands for now; NotFound, Damaged, or a failure of the network."""
        ...

    def open(self, layer: Layer) -> LayerStream:
        """Begin to read a layer of that image; several may be open, and then arrive together."""
        ...
