"""Small images as files, made of a busybox root file system."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

#: Of root nobody knows the password yet; `init` is busybox's own.
ROOT_FILES = {
    "etc/shadow": ("root:*:19000:0:99999:7:::\n", 0o600),
    "etc/inittab": ("::sysinit:/bin/echo the init has begun\n::respawn:/bin/sleep 100000\n", 0o644),
    "etc/os-release": ('ID=small\nPRETTY_NAME="A small system"\n', 0o644),
}


def rootfs_tar(base: Path, *, init: bool = True, extra: int = 0) -> bytes:
    """The folder as a tar.  extra: bytes of a file that does not compress."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path in sorted(base.iterdir()):
            archive.add(path, f"./{path.name}")
        for name, (text, mode) in ROOT_FILES.items():
            _add(archive, f"./{name}", text.encode(), mode)
        if init:
            link = tarfile.TarInfo("./sbin/init")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            archive.addfile(link)
        if extra:
            import random

            _add(archive, "./big", random.Random(7).randbytes(extra), 0o644)
    return made.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def rootfs_xz(base: Path, *, init: bool = True, extra: int = 0) -> bytes:
    """The same, compressed quickly."""
    return lzma.compress(rootfs_tar(base, init=init, extra=extra), preset=0)
