"""Files and trees below a folder that others may have written to: by descriptor, never through a link."""

from __future__ import annotations

import os

from nspawn.errors import Conflict
from nspawn.kernel.files import Folder, folder, open_folder, read, system_error, write

__all__ = [
    "Folder",
    "folder",
    "mount_id",
    "mounts_below",
    "open_folder",
    "read",
    "remove_tree",
    "system_error",
    "write",
]


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
