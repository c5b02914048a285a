"""manifest.json of what `docker save` and its like write (Docker's image specification 1.2)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nspawn.errors import Damaged, NotFound
from nspawn.model import ocimanifest

_MOST_IMAGES = 1000
#: A configuration's name tells its digest: `<hex>.json`, `blobs/sha256/<hex>`, `sha256:<hex>`.
_CONFIG = re.compile(r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?")
#: Layers that are named by their own bytes; others (`<id>/layer.tar`, `<hex>.tar`) are not compressed, and
#: the configuration tells the digest.
_LAYER = re.compile(r"(?:blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})\.tar\.gz)")
_WHAT = "the list of images (manifest.json)"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One image of the archive.  config, layers: names of files in it; layers in their order."""

    config: str
    config_digest: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


def choose(data: bytes, name: str, what: str) -> Saved:
    """The image of this name, or the only one with "".  Raises NotFound that tells which there are."""
    images = _parse(data)
    if not name and len(images) == 1:
        return images[0]
    found = [image for image in images if name and any(_is(name, tag) for tag in image.names)]
    if len(found) == 1:
        return found[0]
    raise ocimanifest.unclear(what, name, [tag for image in images for tag in image.names])


def digests(saved: Saved, diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    """What each layer's bytes must be.  diff_ids: of its configuration."""
    if len(diff_ids) != len(saved.layers):
        raise Damaged(
            "the image's parts do not belong together",
            f"there are {len(saved.layers)} layers, its configuration tells of {len(diff_ids)}",
        )
    found = []
    for layer, diff_id in zip(saved.layers, diff_ids, strict=True):
        own = _LAYER.fullmatch(layer)
        digest = f"sha256:{own[1] or own[2]}" if own else diff_id
        if not ocimanifest.is_digest(digest):
            raise Damaged("the image's configuration cannot be read", f"{diff_id[:80]!r} is not a digest")
        found.append(digest)
    return tuple(found)


def _is(name: str, tag: str) -> bool:
    """`nginx:1.27`, or its tag alone."""
    return name in (tag, tag.rpartition(":")[2])


def _parse(data: bytes) -> list[Saved]:
    document = ocimanifest.read_any(data, _WHAT)
    if not isinstance(document, list) or len(document) > _MOST_IMAGES:
        raise Damaged(f"{_WHAT} cannot be read", f"expected a list of at most {_MOST_IMAGES} images")
    if not document:
        raise NotFound("the archive holds no image")
    return [_saved(item) for item in document]


def _saved(item: object) -> Saved:
    words: Mapping[str, object] = item if isinstance(item, Mapping) else {}
    config = words.get("Config")
    layers, tags = _texts(words.get("Layers")), _texts(words.get("RepoTags") or [])
    if not isinstance(config, str) or layers is None or tags is None:
        raise Damaged(f"{_WHAT} cannot be read", "expected Config, RepoTags and Layers")
    named = _CONFIG.fullmatch(config)
    if not named:
        raise Damaged(f"{_WHAT} cannot be used", f"Config is {config[:80]!r}, which does not tell its digest")
    if not 0 < len(layers) <= ocimanifest.MOST_LAYERS:
        raise Damaged(f"{_WHAT} cannot be used", f"an image in it has {len(layers)} layers")
    return Saved(
        config=config,
        config_digest=f"sha256:{named[1]}",
        names=tuple(tags),
        layers=tuple(posixpath.normpath(layer) for layer in layers),
    )


def _texts(value: object) -> list[str] | None:
    if not isinstance(value, list) or not all(isinstance(each, str) and len(each) < 1024 for each in value):
        return None
    return value
