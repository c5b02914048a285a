"""Indexes and manifests of images, of the OCI and of Docker: read as what may have been made to do harm.

Everything is named by the digest of its bytes; who reads bytes compares the digest first (`check`), and
then asks here what they say.  All limits are here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NotFound, Unsupported
from nspawn.model import jsontext
from nspawn.model.ociplatform import Platform, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."
INDEXES = (f"{_OCI}index.v1+json", f"{_DOCKER}distribution.manifest.list.v2+json")
MANIFESTS = (f"{_OCI}manifest.v1+json", f"{_DOCKER}distribution.manifest.v2+json")
_CONFIGS = (f"{_OCI}config.v1+json", f"{_DOCKER}container.image.v1+json")
_LAYERS = {
    f"{_OCI}layer.v1.tar": "tar",
    f"{_OCI}layer.v1.tar+gzip": "gz",
    f"{_OCI}layer.v1.tar+zstd": "zst",
    f"{_DOCKER}image.rootfs.diff.tar": "tar",
    f"{_DOCKER}image.rootfs.diff.tar.gzip": "gz",
    f"{_DOCKER}image.rootfs.diff.tar.zstd": "zst",
}
#: What a registry is asked to answer with.
ACCEPT = ", ".join((*MANIFESTS, *INDEXES))

#: Registries refuse manifests above 4 MiB (distribution specification); configurations are as small.
LARGEST_DOCUMENT = 4 << 20
#: An index of a thousand images has some 20,000.
MOST_VALUES = 200_000
#: Docker makes no image of more than 127 layers.
MOST_LAYERS = 512
MOST_IMAGES = 1024
#: An index may hold indexes.  Digests make circles impossible, not depth.
DEEPEST = 4
LARGEST_LAYER = 1 << 40
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ATTESTATION = "vnd.docker.reference.type"
_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What one document says of another, or of a layer.

    platform: None when it is not told.  name: the tag, in the index of a layout.  attestation: it describes
    another image, and is none.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    name: str = ""
    attestation: bool = False


@dataclass(frozen=True, kw_only=True)
class Index:
    """Several images."""

    images: tuple[Descriptor, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One image.  layers: in the order in which they are applied."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def digest_of(data: bytes) -> str:
    """The name of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check(data: bytes, digest: str, what: str) -> None:
    """Damaged unless these are the bytes of that digest."""
    found = digest_of(data)
    if found != digest:
        raise Damaged(f"{what} is not what it should be", f"its digest is {found} and not {digest}")


def is_digest(text: str) -> bool:
    """Whether it is `sha256:` and 64 digits."""
    return _DIGEST.fullmatch(text) is not None


def read(data: bytes, what: str) -> Mapping[str, object]:
    """The JSON object in the bytes, or Damaged.  what: for the errors, such as "the manifest"."""
    return _object(read_any(data, what), what)


def read_any(data: bytes, what: str) -> object:
    """The same of any JSON."""
    try:
        return jsontext.parse(data, largest=LARGEST_DOCUMENT, most=MOST_VALUES)
    except jsontext.JsonError as error:
        raise Damaged(f"{what} cannot be read", str(error)) from None


def parse(data: bytes, media_type: str = "", what: str = "the manifest") -> Index | Manifest:
    """An index or a manifest.  media_type: what was said about the bytes, for those that do not tell.

    Raises Damaged, or Unsupported for kinds of images that cannot be used here.
    """
    document = read(data, what)
    media_type = (
        _text(document.get("mediaType", ""), f"{what}: mediaType") or media_type.partition(";")[0].strip()
    )
    if document.get("schemaVersion") == 1 or media_type.startswith(f"{_DOCKER}distribution.manifest.v1"):
        raise Unsupported(
            f"{what} is of Docker's first kind",
            "that has been out of use since 2017",
            "Somebody has to push the image again with a newer program.",
        )
    # A document that could be taken for either could be two images for two readers.
    if "manifests" in document and ("layers" in document or "config" in document):
        raise Damaged(f"{what} cannot be read", "it is an index and a manifest at once")
    if "manifests" in document:
        _expect(media_type, INDEXES, what)
        return Index(images=tuple(_images(document["manifests"], what)))
    _expect(media_type, MANIFESTS, what)
    config = _descriptor(document.get("config"), f"{what}: config")
    _check_config(config, document, what)
    layers = _list(document.get("layers"), f"{what}: layers", MOST_LAYERS)
    if not layers:
        raise Unsupported(f"{what} has no layers", "there is no root file system in it")
    found = tuple(_descriptor(layer, f"{what}: layer {number}") for number, layer in enumerate(layers, 1))
    for layer in found:
        compression(layer.media_type)
    if sum(layer.size for layer in found) > LARGEST_LAYER:
        raise Damaged(f"{what} cannot be read", "its layers are larger than any disk")
    return Manifest(config=config, layers=found)


def compression(media_type: str) -> str:
    """How a layer is packed, by its media type: "tar", "gz" or "zst"; else Unsupported, with the reason."""
    known = _LAYERS.get(media_type)
    if known is not None:
        return known
    what = "a layer of the image cannot be used"
    if "nondistributable" in media_type or ".foreign." in media_type:
        why = "it may only be fetched from its maker's own server, as layers of Windows are"
    elif media_type.endswith("+encrypted"):
        why = "it is encrypted"
    elif media_type.startswith((f"{_OCI}layer.", f"{_DOCKER}image.rootfs.")):
        why = f"layers are tar, gzip or zstd; this is {media_type[:100]!r}"
    else:
        why = f"it is {media_type[:100]!r}, no part of a root file system"
    raise Unsupported(what, why)


def choose(index: Index, machine: Platform, what: str) -> Descriptor:
    """The image of the index for the machine; NotFound that tells which there are."""
    images = [image for image in index.images if not image.attestation]
    named = [(fit(machine, image.platform), image) for image in images if image.platform]
    fits = [(rank, image) for rank, image in named if rank is not None]
    if fits:
        return min(fits, key=lambda pair: pair[0])[1]  # the first among equals
    untold = [image for image in images if image.platform is None]
    if len(untold) == 1:
        return untold[0]  # what it is for is in its configuration, and looked at there
    if untold:
        raise NotFound(f"{what} does not tell which of its {len(untold)} images is for which machine")
    raise missing(what, machine, [image.platform for image in images if image.platform])


def named(index: Index, name: str, what: str) -> Index:
    """Of a layout's index: the images of one name (a tag, or all of it), or of the only one with ""."""
    images = [image for image in index.images if not image.attestation]
    names = {image.name for image in images}
    if name:
        images = [
            image for image in images if image.name and name in (image.name, image.name.rpartition(":")[2])
        ]
    if not images or len({image.name for image in images}) > 1:
        raise unclear(what, name, [each for each in names if each])
    return Index(images=tuple(images))


def unclear(what: str, name: str, names: Sequence[str]) -> NotFound:
    """The error of a file with several images, none of which is meant for sure."""
    shown = ", ".join(sorted(names)[:20]) + (" and others" if len(names) > 20 else "")
    return NotFound(
        f"{what} has no image {name[:80]!r}" if name else f"{what} holds several images",
        f"it has {shown}" if names else "they have no names",
        "Write FILE#NAME." if names else "",
    )


def missing(what: str, machine: Platform, there: Sequence[Platform]) -> NotFound:
    """The error of an image that is not for this machine."""
    names = sorted({str(each)[:40] for each in there})
    shown = ", ".join(names[:20]) + (" and others" if len(names) > 20 else "")
    return NotFound(
        f"{what} has no image for {machine}",
        f"it is for {shown}" if names else "it is for no machine at all",
        "Choose another tag, or another image.",
    )


def _images(value: object, what: str) -> list[Descriptor]:
    items = _list(value, f"{what}: manifests", MOST_IMAGES)
    found = []
    for number, item in enumerate(items, 1):
        image = _descriptor(item, f"{what}: image {number}")
        # Signatures and other things that are kept beside images are skipped, whatever they are.
        if image.media_type in INDEXES or image.media_type in MANIFESTS:
            found.append(image)
    return found


def _descriptor(value: object, what: str) -> Descriptor:
    item = _object(value, what)
    digest = _text(item.get("digest", ""), f"{what}: digest")
    if not is_digest(digest):
        if digest.startswith(("sha512:", "blake3:")):
            raise Unsupported(
                f"{what} cannot be checked", f"its digest is a {digest.partition(':')[0]}, not a sha256"
            )
        raise Damaged(f"{what} cannot be read", f"{digest[:80]!r} is not a digest")
    size = item.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= LARGEST_LAYER:
        raise Damaged(f"{what} cannot be read", f"its size is {str(size)[:40]!r}")
    notes = _object(item.get("annotations") or {}, f"{what}: annotations")
    return Descriptor(
        media_type=_text(item.get("mediaType", ""), f"{what}: mediaType"),
        digest=digest,
        size=size,
        platform=_platform(item.get("platform"), what),
        name=_text(notes.get(_NAME, ""), f"{what}: name"),
        attestation=_ATTESTATION in notes,
    )


def _platform(value: object, what: str) -> Platform | None:
    if value is None:
        return None
    item = _object(value, f"{what}: platform")
    words = {key: _text(item.get(key) or "", f"{what}: {key}") for key in ("os", "architecture", "variant")}
    if words["os"] == words["architecture"] == "":
        return None
    return Platform(**words)


def _check_config(config: Descriptor, document: Mapping[str, object], what: str) -> None:
    if config.media_type in _CONFIGS:
        return
    kind = document.get("artifactType") or config.media_type
    raise Unsupported(
        f"{what} is not of an image to run",
        f"it describes {str(kind)[:100]!r}",
        "Give the reference of an image.",
    )


def _expect(media_type: str, expected: tuple[str, ...], what: str) -> None:
    if media_type and media_type not in expected and media_type != "application/json":
        raise Damaged(f"{what} cannot be read", f"its media type is {media_type[:100]!r}")


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Damaged(f"{what} cannot be read", f"expected an object, got {_kind(value)}")
    return value


def _list(value: object, what: str, most: int) -> list[object]:
    if not isinstance(value, list):
        raise Damaged(f"{what} cannot be read", f"expected a list, got {_kind(value)}")
    if len(value) > most:
        raise Damaged(f"{what} cannot be read", f"it has {len(value)} entries; {most} are the most")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Damaged(f"{what} cannot be read", f"expected text, got {_kind(value)}")
    if len(value) > 1024 or not value.isprintable():
        raise Damaged(f"{what} cannot be read", "it is no line of text")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
