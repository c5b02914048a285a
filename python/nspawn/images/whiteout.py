"""Whiteouts of OCI layers: marks that take away what the layers below hold.

`.wh.NAME` takes NAME away, `.wh..wh..opq` everything in its folder; never what this layer itself brings.
Facts: OCI image specification, layer.md, "Representing Changes".
"""

from __future__ import annotations

import os
import stat
from array import array

from nspawn.images.tarheaders import Refused, show

_PREFIX = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Layer:
    """What one layer brings, by the numbers of its inodes: links give a file many paths."""

    def __init__(self) -> None:
        self._made = array("Q")
        self._known: set[int] = set()
        self._pruned: set[int] = set()

    def made(self, inode: int) -> None:
        """This layer brings it."""
        self._made.append(inode)

    def obey(self, path: bytes) -> bool:
        """Whether the entry at this path is a mark; then it is obeyed."""
        folder, _slash, name = path.rpartition(b"/")
        if not name.startswith(_PREFIX):
            return False
        if name == _OPAQUE:
            self._prune(folder or b"/", itself=False)
        elif not name.startswith(_META):  # else: the books of AUFS
            hidden = name[len(_PREFIX) :]
            if hidden in (b"", b".", b".."):
                raise Refused(f"{show(path)} leads out of it", "It was made to do harm, or by mistake.")
            self._prune(folder + b"/" + hidden, itself=True)
        return True

    def remove(self, path: bytes) -> None:
        """Everything at a path, this layer's own too: a later entry takes its place."""
        try:
            os.unlink(path)
        except (IsADirectoryError, PermissionError):
            _remove_below(path, frozenset())
            os.rmdir(path)

    def _prune(self, path: bytes, *, itself: bool) -> None:
        """Take away what the layers below have at a path."""
        self._known.update(self._made)
        del self._made[:]
        try:
            status = os.lstat(path) if itself else os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISDIR(status.st_mode):
            if itself and status.st_ino not in self._known:
                os.unlink(path)
            return
        if status.st_ino in self._pruned:
            return  # nothing of other layers has come since
        self._pruned.add(status.st_ino)
        kept = _remove_below(os.path.realpath(path), self._known)
        if itself and not kept and status.st_ino not in self._known:
            os.rmdir(path)


def _remove_below(path: bytes, keep: set[int] | frozenset[int]) -> bool:
    """Everything in a folder whose inode is not one to keep, and that holds none; whether any is left.

    Folders are at most as deep as untar allows, and nobody else is at work here.
    """
    kept = False
    folder = os.open(path, _FOLDER)
    try:
        kept = _remove_in(folder, keep)
    finally:
        os.close(folder)
    return kept


def _remove_in(folder: int, keep: set[int] | frozenset[int]) -> bool:
    kept = False
    for name in os.listdir(folder):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if status.st_ino in keep:
                kept = True
            else:
                os.unlink(name, dir_fd=folder)
            continue
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            left = _remove_in(below, keep)
        finally:
            os.close(below)
        if left or status.st_ino in keep:
            kept = True
        else:
            os.rmdir(name, dir_fd=folder)
    return kept
