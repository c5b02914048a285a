"""The real module, as `build.py zip` makes it, and changed copies of it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.zips import TARGETS, build_zip

#: Names of architectures in the zips' names, by Debian's.
NAMES = {"amd64": "x86_64", "arm64": "arm64"}


def build(architecture: str) -> Path:
    """The zip for one of Debian's architecture names; a moment when nothing has changed."""
    return build_zip(TARGETS[NAMES[architecture]])


def changed(archive: Path, target: Path, changes: Mapping[str, bytes]) -> Path:
    """A copy with other contents of some files, and a manifest that agrees with them."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = changes.get(entry.filename, old.read(entry))
            if entry.filename == "manifest.sha256":
                data = _manifest(data, changes)
            entry.compress_type = zipfile.ZIP_STORED  # five times as fast
            new.writestr(entry, data)
    return target


def with_version(archive: Path, target: Path, version: str, code: int) -> Path:
    """The same module under another version."""
    with zipfile.ZipFile(archive) as old:
        lines = old.read("module.prop").decode().splitlines()
    text = "".join(
        f"version={version}\n"
        if line.startswith("version=")
        else f"versionCode={code}\n"
        if line.startswith("versionCode=")
        else f"{line}\n"
        for line in lines
    )
    return changed(archive, target, {"module.prop": text.encode()})


def _manifest(text: bytes, changes: Mapping[str, bytes]) -> bytes:
    lines = []
    for line in text.decode().splitlines():
        name = line.split("  ", 1)[1]
        known = name in changes
        lines.append(f"{hashlib.sha256(changes[name]).hexdigest()}  {name}" if known else line)
    return "".join(f"{line}\n" for line in lines).encode()
