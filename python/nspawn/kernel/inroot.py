"""Paths below a folder that is not trusted: looked up by descriptors, links read and never followed.

A link in a rootfs means what it means to the container: absolute ones begin at the rootfs, `..` ends
there.  openat2(2) could do it in one call since Linux 5.6; phones have older kernels, so the walk is done
here for all of them.
"""

from __future__ import annotations

import errno
import os

_MOST_LINKS = 40  # as the kernel's own limit, path_resolution(7)


class Place:
    """The folder (an O_PATH descriptor, to be closed) and the name in it; path: the same below the root.

    The name is no link.  It is "." for the root itself.
    """

    __slots__ = ("folder", "name", "path")

    def __init__(self, folder: int, name: str, path: str) -> None:
        self.folder = folder
        self.name = name
        self.path = path


def find(root: int, path: str, *, make: str = "") -> Place:
    """Look up a path below the folder `root`.

    make: "" to leave things as they are, "folder" or "file" to make the last component, and the folders
    on the way, where they are missing.  OSError as the kernel's own look-up would give it (ELOOP, ENOENT,
    ENOTDIR).
    """
    left = _parts(path)
    stack = [os.dup(root)]
    names: list[str] = []
    links = 0
    try:
        while left:
            part = left.pop(0)
            if part == "..":
                if names:
                    names.pop()
                    os.close(stack.pop())
                continue
            link = _link(stack[-1], part)
            if link is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if link.startswith("/"):
                    names.clear()
                    while len(stack) > 1:
                        os.close(stack.pop())
                left[:0] = _parts(link)
                continue
            if make:
                _make(stack[-1], part, folder=make == "folder" or bool(left))
            if not left:
                return Place(stack.pop(), part, "/" + "/".join([*names, part]))
            stack.append(
                os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            )
            names.append(part)
        return Place(stack.pop(), ".", "/" + "/".join(names))
    finally:
        for descriptor in stack:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link(folder: int, name: str) -> str | None:
    """The text of a link; None for anything else, also for what is not there."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _make(parent: int, name: str, *, folder: bool) -> None:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if folder:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=parent))
