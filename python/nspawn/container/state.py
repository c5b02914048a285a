"""What the spawner knows of a container, kept beside its settings as a record.

Read by the next spawner, which adopts what still runs, and by commands when there is none.
"""

from __future__ import annotations

import errno
import os
import stat

from nspawn.errors import Damaged
from nspawn.kernel import libc
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.layout import Layout

_VERSION = 1
_LIMIT = 1 << 20
_NUMBERS = ("pid", "start-time", "started", "exit-code", "exit-signal", "restarts", "tries")
_HINT = "It is written anew at the next start; the container itself is not affected."
#: There is nothing to exchange with yet; the file system cannot; the kernel cannot, or a filter forbids it.
_NO_EXCHANGE = (errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.EPERM)
ACTIVE = ("starting", "running", "stopping", "backoff")


def write(layout: Layout, name: str, record: Record) -> None:
    """Replace the state.  Not synced: after a power cut the boot id has made it void anyway."""
    write_record(layout.run_state(name), _VERSION, record)


def write_record(path: str, version: int, record: Record) -> None:
    """Replace a file by a record, with its version before and a mark of its end behind it."""
    fresh = f"{path}.new"
    full = Record((("version", version),))
    full.fields += record.fields
    full.add("end", 1)
    descriptor = os.open(
        fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
    )
    data = full.encode()
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), fresh)
    finally:
        os.close(descriptor)
    _replace(fresh, path)


def _replace(fresh: str, path: str) -> None:
    """Let the fresh file take the path, whole at any moment; its data reach the disk when they do.

    rename(2) onto another file makes ext4 write the data of the new one first (ext4(5), auto_da_alloc), which
    takes milliseconds of a start while others write.  An exchange of the two does not.
    """
    try:
        libc.renameat2(fresh, path, libc.RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        os.rename(fresh, path)
        return
    try:
        os.unlink(fresh)  # what was there before
    except OSError:  # a folder: nothing of ours
        libc.renameat2(fresh, path, libc.RENAME_EXCHANGE)
        raise


def read(layout: Layout, name: str) -> Record | None:
    """The state, None when there is none, Damaged when it is not whole or from a newer version."""
    return read_record(layout.run_state(name), f"the run state of {name}", _VERSION, _NUMBERS, _HINT)


def read_record(
    path: str, what: str, newest: int, numbers: tuple[str, ...] = (), hint: str = ""
) -> Record | None:
    """What write_record() wrote; None when there is none, Damaged when it is not whole or newer.

    what: for the error; numbers: fields that must be.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{what} cannot be read", error.strerror or "", hint) from error
    try:
        record = Record.decode(data)
        version = record.integer("version")
        for key in numbers:
            record.number(key)
    except Damaged as error:
        raise Damaged(f"{what} is damaged", error.what, hint) from error
    if version > newest:
        raise Damaged(f"{what} is from a newer nspawn", f"version {version}", hint)
    if not record.fields or record.fields[-1] != ("end", b"1"):
        raise Damaged(f"{what} is damaged", "it is cut off", hint)
    return record


def _read(path: str) -> bytes:
    # Non-blocking: where a FIFO lies in its place, nobody may be writing to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", path)
        return os.read(descriptor, _LIMIT)
    finally:
        os.close(descriptor)
