"""On Android: from the mount namespace of the caller's shell into init's.

A `su` shell of Magisk has the mount namespace of the app that asked for it: other mounts, and none of what
the service mounts (facts: module, CLI in PATH).  Commands do their work where the service does.
"""

from __future__ import annotations

import posix  # `os` would cost a millisecond: this is on the start path
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CLONE_NEWNS = 0x00020000


def join(environ: Mapping[bytes, bytes]) -> None:
    """Join init's mount namespace when this is Android and ours is another; a failure is told, not raised.

    environ: as `posix.environ` has it.  The working folder stays, when there is one of its name.
    """
    if b"ANDROID_ROOT" not in environ or b"ANDROID_DATA" not in environ or not _elsewhere():
        return
    from nspawn.kernel import libc

    try:
        folder = posix.getcwd()
    except OSError:
        folder = "/"  # it was removed
    try:
        target = posix.open("/proc/1/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            libc.setns(target, _CLONE_NEWNS)
        finally:
            posix.close(target)
    except OSError as error:
        sys.stderr.write(
            f"nspawn: this shell has mounts of its own, and those of init cannot be had: {error.strerror}\n"
        )
        return
    # setns(2) has moved us to that namespace's root.
    try:
        posix.chdir(folder)
    except OSError:
        sys.stderr.write(f"nspawn: {folder} is only in this shell's mounts; / is the working folder\n")


def _elsewhere() -> bool:
    """Whether our mounts or our root are not init's.  Not for others than root, who must not look."""
    try:
        if posix.readlink("/proc/self/ns/mnt") != posix.readlink("/proc/1/ns/mnt"):
            return True
        ours, inits = posix.stat("/"), posix.stat("/proc/1/root")
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) != (inits.st_dev, inits.st_ino)
