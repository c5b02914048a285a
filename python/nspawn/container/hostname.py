"""The host name of a container and the two files that carry it."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ADDRESS = "127.0.1.1"
_LIMIT = 1 << 20


def write_files(name: str, warn: Callable[[str], None]) -> None:
    """Write /etc/hostname and /etc/hosts of the root we are in, where they say something else.

    Writing always would cost more than a millisecond per start on ext4 (facts: performance).  A file that
    is no plain file (a link, a FIFO, a device: the rootfs may be hostile) is left alone.
    """
    for path in ("/etc/hostname", "/etc/hosts"):
        try:
            old = _read(path)
            if old is None:
                warn(f"skipped: {path} in the rootfs is no plain file")
                continue
            new = hosts(old, name) if path == "/etc/hosts" else f"{name}\n"
            if new != old:
                _replace(path, new)
        except FileNotFoundError:
            continue  # a rootfs without /etc
        except OSError as error:
            warn(f"skipped: {path} could not be written ({error.strerror})")


def hosts(old: str, name: str) -> str:
    """The text of /etc/hosts with the name on the line of 127.0.1.1, which stands there once."""
    lines = old.splitlines(keepends=True)
    kept = []
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == [_ADDRESS]:
            if name in words[1:]:
                return old
            continue
        kept.append(line)
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return "".join([*kept, f"{_ADDRESS}\t{name}\n"])


def _read(path: str) -> str | None:
    """The text, "" when there is no file, None when it is no plain file of a sane size."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LIMIT:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, found.st_size + 1).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)


def _replace(path: str, text: str) -> None:
    """By a new file and rename: a hard link of the old one, wherever it lies, keeps its content."""
    folder, _, name = path.rpartition("/")
    fresh = f"{folder}/.{name}.nspawn"
    try:
        os.unlink(fresh)
    except FileNotFoundError:
        pass
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            old = os.lstat(path)
        except FileNotFoundError:
            pass
        else:
            os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        data = text.encode("utf-8", "surrogateescape")
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), fresh)
    finally:
        os.close(descriptor)
    os.rename(fresh, path)
