"""Records of kept images: small files of JSON, images/index/<id>.json."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nspawn.errors import Damaged, NotFound, NspawnError
from nspawn.kernel import files
from nspawn.model.blob import parse_digest

VERSION = 1
_SUFFIX = ".json"
_LONGEST = 1000
_MOST_LAYERS = 1000
#: Seconds after which a temporary file is nobody's any more.
_STALE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept image.  date: seconds since 1970.  size: of its blobs, in bytes.

    digests: of its layers.  documents: of what describes it, the one that its name leads to first; none for
    what needs none, and in records of older versions.
    """

    reference: str
    title: str
    digests: tuple[str, ...]
    arch: str = ""
    serial: str = ""
    date: int = 0
    size: int = 0
    documents: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """All that it needs of the store."""
        return (*self.documents, *self.digests)

    @property
    def id(self) -> str:
        """Twelve digits, made from reference and arch: a newer build takes the place of an older one."""
        return hashlib.sha256(f"{self.reference}\0{self.arch}".encode()).hexdigest()[:12]


def write(kept: Kept, at: int) -> None:
    """Write the record into the folder `at`, whole or not at all."""
    text = json.dumps({"version": VERSION, **asdict(kept)}, indent=1) + "\n"
    files.write(f"{kept.id}{_SUFFIX}", text.encode(), at)


def read_all(at: int) -> tuple[list[Kept], list[NspawnError]]:
    """The records of the folder, the newest first, and what was wrong with those that cannot be read."""
    found: list[Kept] = []
    problems: list[NspawnError] = []
    for name in sorted(os.listdir(at)):
        if name.startswith(".") or not name.endswith(_SUFFIX):
            continue
        try:
            found.append(_read(name, at))
        except FileNotFoundError:
            continue
        except NspawnError as error:
            problems.append(error)
        except OSError as error:
            problems.append(files.system_error(f"the record {name} cannot be read", error))
    return sorted(found, key=lambda each: (-each.date, each.reference)), problems


def remove(id_: str, at: int) -> None:
    """NotFound."""
    try:
        if not id_.isalnum():
            raise FileNotFoundError
        os.unlink(f"{id_}{_SUFFIX}", dir_fd=at)
    except FileNotFoundError:
        raise NotFound(f"there is no kept image {id_[:60]!r}") from None
    os.fsync(at)


def sweep(at: int) -> None:
    """Remove what a killed writer has left."""
    for name in os.listdir(at):
        if name.startswith("."):
            try:
                if time.time() - os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime > _STALE:
                    os.unlink(name, dir_fd=at)
            except OSError:
                continue


def _read(name: str, at: int) -> Kept:
    what = f"the record {name[:80]} cannot be used"
    hint = "Remove it (images/index in nspawn's folder), and fetch the image again."
    try:
        return _parse(json.loads(files.read(name, at)), name.removesuffix(_SUFFIX))
    except (ValueError, RecursionError) as error:
        raise Damaged(what, str(error)[:200], hint) from None
    except NspawnError as error:
        raise Damaged(what, str(error), hint) from None


def _parse(document: object, id_: str) -> Kept:
    if not isinstance(document, Mapping):
        raise Damaged("it is no object")
    if document.get("version") != VERSION:
        raise Damaged("it is of another version of nspawn")
    values: dict[str, Any] = {each.name: document.get(each.name) for each in fields(Kept)}
    for name in ("reference", "title", "arch", "serial"):
        if not isinstance(values[name], str) or len(values[name]) > _LONGEST:
            raise Damaged(f"{name} is no text")
    for name in ("date", "size"):
        if isinstance(values[name], bool) or not isinstance(values[name], int) or values[name] < 0:
            raise Damaged(f"{name} is no number")
    for name, missing in (("digests", None), ("documents", [])):
        digests = missing if values[name] is None else values[name]
        if not isinstance(digests, list) or len(digests) > _MOST_LAYERS:
            raise Damaged(f"{name} is no list")
        values[name] = tuple(parse_digest(each) for each in digests)
    kept = Kept(**values)
    if kept.id != id_:
        raise Damaged("it has the name of another image")
    return kept
