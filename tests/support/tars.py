"""Archives made by hand, honest and hostile, and what is around the folder they are unpacked in."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nspawn.errors import Damaged
from nspawn.images import tarball


class Archive:
    """A tar in memory; every `add` is one entry."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any) -> Archive:
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mode = 0o755
        entry.size = len(content)
        entry.mtime = 1_000_000_000
        for key, value in fields.items():
            setattr(entry, key, value)
        self.tar.addfile(entry, io.BytesIO(content))
        return self

    def folder(self, name: str, **fields: Any) -> Archive:
        return self.add(name, kind=tarfile.DIRTYPE, **fields)

    def link(self, name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Archive:
        return self.add(name, kind=kind, linkname=to)

    def shell(self) -> Archive:
        return self.add("bin/sh", b"#!")

    def data(self) -> bytes:
        self.tar.close()
        return self.file.getvalue()


def header(name: bytes = b"x", kind: bytes = b"0", size: int | bytes = 0, **fields: bytes) -> bytes:
    """One raw block with a sum that is right.  fields: at_OFFSET=bytes."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:124] = b"0000755\x000000000\x000000000\0"
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[136:148] = b"%011o\0" % 1_000_000_000
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    for place, value in fields.items():
        at = int(place.removeprefix("at_"))
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def filled(data: bytes) -> bytes:
    """Up to whole blocks."""
    return data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """One line of a PAX header."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    text = b"".join(record(key, value) for key, value in records)
    return header(b"pax", kind, len(text)) + filled(text)


END = bytes(1024)
SHELL = header(b"bin/sh", size=2) + filled(b"#!")


def extract(
    data: bytes, target: Path, most_bytes: int | None = None, *, layer: bool = False
) -> tarball.Unpacked:
    return tarball.extract(
        io.BytesIO(data),
        str(target),
        lambda _step: None,
        lambda: False,
        size=len(data),
        most_bytes=most_bytes,
        layer=layer,
    )


def refused(data: bytes, target: Path, most_bytes: int | None = None, *, layer: bool = False) -> str:
    with pytest.raises(Damaged) as caught:
        extract(data, target, most_bytes, layer=layer)
    return caught.value.why


def surroundings(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder but its child `inside`, and some of the host's own, to be compared."""
    seen: dict[str, tuple[object, ...]] = {}
    for place in ("/dev/null", "/dev/zero", "/etc", "/etc/passwd", "/bin/sh"):
        status = os.lstat(place)
        seen[place] = (status.st_ino, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns)
    for where, folders, files in os.walk(folder):
        if Path(where) == folder and "inside" in folders:
            folders.remove("inside")
        for name in (*folders, *files):
            path = Path(where, name)
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            seen[str(path)] = (
                status.st_ino,
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                status.st_mtime_ns,
                content,
            )
    return seen
