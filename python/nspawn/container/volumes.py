"""Volumes: folders of a rootfs that stay writable, and are kept, where the rest of it is not.

As in container/stage.py the host can be reached, so each place is looked up by kernel/inroot.py, which
follows no link out of the rootfs.
"""

from __future__ import annotations

import os
import stat

from nspawn.kernel import inroot, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Warn = Callable[[str], None]


def make(rootfs: int, volumes: Iterable[str], warn: Warn) -> list[str]:
    """Make those that are missing, before an overlay lies over the rootfs; those that are there then.

    warn gets a sentence for each other one: without it the container still is one.
    """
    found = []
    for path in sorted(volumes):  # an outer one comes before what is in it
        try:
            place = inroot.find(rootfs, path, make="folder")
            try:
                mode = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode
            finally:
                os.close(place.folder)
        except OSError as error:
            warn(f"skipped: the volume {path} ({error.strerror})")
            continue
        if place.name == "." or not stat.S_ISDIR(mode):
            warn(
                f"skipped: the volume {path} ({'it is the root' if place.name == '.' else 'it is no folder'})"
            )
            continue
        found.append(path)
    return found


def bind(rootfs: int, root: int, volumes: Iterable[str], warn: Warn) -> None:
    """Mount the rootfs's own folder at each place below the mounted root.

    Before anything else is mounted there: what is moved in (/run, /dev) and the user's binds lie over them.
    """
    for path in volumes:
        try:
            _bind(rootfs, root, path)
        except OSError as error:
            warn(f"skipped: the volume {path} ({error.strerror})")


def _bind(rootfs: int, root: int, path: str) -> None:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    within = inroot.find(rootfs, path)
    try:
        source = os.open(within.name, flags, dir_fd=within.folder)
    finally:
        os.close(within.folder)
    try:
        place = inroot.find(root, path)
        try:
            os.fchdir(place.folder)
            libc.mount(f"/proc/self/fd/{source}", place.name, None, libc.MS_BIND | libc.MS_REC)
            # As the root itself: with suid and dev, which /data has not.
            libc.mount(None, place.name, None, libc.MS_REMOUNT | libc.MS_BIND)
        finally:
            os.close(place.folder)
    finally:
        os.close(source)
