"""Files below a folder that others may have written to: by descriptor and name, never through a link.

Written whole or not at all: a temporary file, fsync, rename, fsync of the folder (DESIGN: State).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, Damaged, NspawnError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A folder's descriptor for a `with` block.
Folder = AbstractContextManager[int]
#: No text file of ours is larger; what is larger is not ours.
_LARGEST = 1 << 20


def open_folder(name: str, at: int | None = None) -> int:
    """A descriptor of the folder; OSError (ELOOP, ENOTDIR) when it is a link or a file."""
    return os.open(name, _FOLDER, dir_fd=at)


@contextmanager
def folder(name: str, at: int | None = None) -> Iterator[int]:
    """`open_folder` for a `with` block."""
    descriptor = open_folder(name, at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(name: str, at: int | None = None) -> bytes:
    """The content of a regular file; FileNotFoundError, or Damaged when it is something else or too large."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Damaged(f"{name} cannot be read", "it is not a file") from None
        raise
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(f"{name} cannot be read", "it is not a file")
        if status.st_size > _LARGEST:
            raise Damaged(f"{name} cannot be read", f"it has {status.st_size} bytes")
        return file.read(_LARGEST)


def write(name: str, data: bytes, at: int, mode: int = 0o600) -> None:
    """Replace the file in the folder `at` by one with these bytes; on any failure the old one stays."""
    temporary = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=at)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=at)
        raise
    os.fsync(at)


def mount_id(descriptor: int) -> str:
    """The mount that an open folder is on (proc_pid_fdinfo(5)); tells bind mounts of one device apart."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
        return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), "")


def mounts_below(path: str) -> list[str]:
    """The mount points at or below the path, as /proc/self/mountinfo has them."""
    top = os.path.realpath(path)
    found = []
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            place = os.fsdecode(_unescape(line.split(b" ")[4]))
            if place == top or place.startswith(f"{top}/"):
                found.append(place)
    return found


def _unescape(text: bytes) -> bytes:
    r"""Blanks, tabs, newlines and backslashes are octal there: `\040` (proc_pid_mountinfo(5))."""
    if b"\\" not in text:
        return text
    head, *rest = text.split(b"\\")
    return head + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


#: Deeper folders are moved up while a tree is removed, so that no depth can use up the descriptors.
_DEEPEST = 64


def remove_tree(name: str, at: int) -> None:
    """Remove the folder `name` of the folder `at` and everything in it.

    Links are removed, not followed.  Conflict, with the rest left as it is, where another file system or
    a bind mount begins.
    """
    with folder(name, at) as top:
        home = (os.fstat(top).st_dev, mount_id(top))
        moved = 0
        while True:
            moved_before = moved
            moved = _empty(top, top, home, depth=0, moved=moved)
            if moved == moved_before:
                break
    os.rmdir(name, dir_fd=at)


def _empty(descriptor: int, top: int, home: tuple[int, str], *, depth: int, moved: int) -> int:
    """Remove what the folder holds; returns the count of folders moved up to `top` so far."""
    with os.scandir(descriptor) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in entries:
        if not is_folder:
            os.unlink(name, dir_fd=descriptor)
        elif depth >= _DEEPEST:
            moved += 1
            os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=descriptor, dst_dir_fd=top)
        else:
            with folder(name, descriptor) as below:
                if (os.fstat(below).st_dev, mount_id(below)) != home:
                    raise Conflict(
                        f"{os.readlink(f'/proc/self/fd/{below}')} was not removed",
                        "something is mounted there",
                        "Unmount it and try again.",
                    )
                moved = _empty(below, top, home, depth=depth + 1, moved=moved)
            os.rmdir(name, dir_fd=descriptor)
    return moved


def system_error(what: str, error: OSError) -> NspawnError:
    """What the kernel refused, as a person reads it."""
    hint = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space and try again; nothing was changed."
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = "nspawn runs as root."
    elif error.errno == errno.EROFS:
        hint = "The file system is read-only."
    place = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return NspawnError(what, f"{error.strerror or error}{place}", hint)
