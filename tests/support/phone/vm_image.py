"""The disks of the virtual phone: an initramfs, written as the kernel reads it, and ext4 images."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import check


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of an initramfs. mode: with the file's type, as in stat; data: what the file holds."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Entry:
    return Entry(name=name, mode=stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(name=name, mode=stat.S_IFREG | mode, data=data)


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive as the kernel unpacks it ("newc": driver-api/early-userspace/buffer-format.rst)."""
    parts = []
    end = Entry(name="TRAILER!!!", mode=0)
    for number, entry in enumerate((*entries, end), 1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        # inode, mode, uid, gid, links, time, size, device, special device, length of the name, checksum
        numbers = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % value for value in numbers) + name
        parts += [head, _padding(head), entry.data, _padding(entry.data)]
    return b"".join(parts)


def write_initramfs(path: Path, entries: Iterable[Entry]) -> None:
    path.write_bytes(gzip.compress(cpio(entries), compresslevel=1, mtime=0))


def make_ext4(path: Path, megabytes: int, content: Path | None = None, *, journal: bool = True) -> None:
    """A sparse file with an ext4 file system, filled from a folder."""
    path.unlink(missing_ok=True)
    with path.open("wb") as image:
        os.truncate(image.fileno(), megabytes << 20)
    features = () if journal else ("-O", "^has_journal")
    filling = ("-d", str(content)) if content else ()
    check(["mkfs.ext4", "-q", "-F", *features, *filling, str(path)], timeout=120)


def size_of(content: Path) -> int:
    """Megabytes that an image for a folder should have: its files, and room for the file system's own."""
    total = sum((path.lstat().st_size + 4095) // 4096 * 4096 for path in content.rglob("*"))
    return (total >> 20) * 5 // 4 + 16


def _padding(data: bytes) -> bytes:
    return b"\0" * (-len(data) % 4)
