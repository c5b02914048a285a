"""Files below a folder that others may have written to: by descriptor and name, never through a link.

Written whole or not at all: a temporary file, fsync, rename, fsync of the folder (DESIGN: State).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NspawnError

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
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Damaged(f"{name} cannot be read", "it is not a file")
    with open(descriptor, "rb") as file:
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
