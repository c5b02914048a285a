"""The entries of an archive, made below the root of this process.

The process is rooted in the target (chroot(2)).  No entry is ever written through what an earlier one made
at its place: a file always is a new file (O_EXCL), so that a device node of the host made by one entry
cannot be opened by the next.  Few calls for each entry: nothing is looked at unless making it fails.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from nspawn.images.room import Room
from nspawn.images.tarheaders import AGAIN, BLOCK, CUT, Entry, Headers, Refused, show
from nspawn.images.whiteout import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

#: Folders below each other: what is deeper can hardly be removed again.
_DEEPEST = 256
_LONGEST_PLACE = 4095
#: What may follow the end of an archive: padding of the record size.
_LONGEST_TAIL = 64 << 20
#: Folders whose attributes wait for the end, and the bytes of their paths.
_MOST_WAITING = 100_000
_MOST_WAITING_BYTES = 8 << 20
#: What an entry counts for besides its content: the disk is looked at with every thousandth empty one.
_OF_ENTRY = 1 << 14
#: A label of the builder's policy means nothing, or harm, to the policy here (SELinux on a phone).
_FOREIGN_XATTRS = (b"security.selinux", b"security.ima", b"security.evm")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"6": stat.S_IFIFO}
_HINTS = {
    errno.ENOSPC: "Free some space and try again.",
    errno.EDQUOT: "Free some space and try again.",
    errno.EFBIG: "This file system holds no file of that size.",
}
NODES = "device nodes"
XATTRS = "extended attributes"
OTHERS = "entries of other kinds"


class Content:
    """The archive's bytes.  piece: gives the next of them, none at the end."""

    def __init__(self, piece: Callable[[], bytes]) -> None:
        self._piece = piece
        self._data = b""
        self._view = memoryview(b"")
        self._at = 0

    def _next(self) -> bool:
        self._data = self._piece()
        self._view = memoryview(self._data)
        self._at = 0
        return bool(self._data)

    def block(self) -> bytes:
        """512 bytes; none at the end."""
        at = self._at
        if len(self._data) - at >= BLOCK:
            self._at = at + BLOCK
            return self._data[at : at + BLOCK]
        if at == len(self._data) and not self._next():
            return b""
        return self.take(BLOCK)

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size:
            if not self._next():
                raise Refused("it ends in the middle", CUT)
            self._at = min(size - len(data), len(self._data))
            data += self._data[: self._at]
        return data

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size:
            have = min(size, len(self._data) - self._at)
            self._at += have
            size -= have
            if size and not self._next():
                raise Refused("it ends in the middle", CUT)

    def write(self, file: int, size: int) -> None:
        """So many bytes into a file."""
        while size:
            have = min(size, len(self._data) - self._at)
            if have:
                done = os.write(file, self._view[self._at : self._at + have])
                self._at += done
                size -= done
            elif not self._next():
                raise Refused("it ends in the middle", CUT)

    def drain(self) -> None:
        """Read to the end: only there are the checksums of the compression, and the source's."""
        left = _LONGEST_TAIL
        while left > 0:
            if not self._next():
                return
            left -= len(self._data)
        raise Refused("it goes on after its end", AGAIN)


class Untar:
    """most_bytes: of all files together; most_entries: of the archive.

    layer: the root holds the layers below this one, and whiteouts are obeyed.
    """

    def __init__(self, most_bytes: int, most_entries: int, *, layer: bool = False) -> None:
        self._most_bytes = most_bytes
        self._most_entries = most_entries
        self._layer = Layer() if layer else None
        self._waiting: list[tuple[bytes, int, int, int, int, list[tuple[bytes, bytes]]]] = []
        self._waiting_bytes = 0
        self._exact = True
        self._implied = 0  # folders that no entry described
        self._room = Room(b"/")
        self.bytes = 0
        self.entries = 0
        self.skipped: dict[str, int] = {}

    def unpack(self, content: Content, *, whole: bool) -> None:
        """Every entry of the archive into the root.  whole: an archive without its end mark is cut off."""
        headers = Headers(content)
        self._exact = self._layer is not None or not plain_root()
        while (entry := headers.next()) is not None:
            self._count(entry)
            try:
                self._room.take(_OF_ENTRY + entry.size)
                self._place(entry, content)
            except OSError as error:
                raise failed(entry.name, error) from None
        if not headers.ended and (whole or not self.entries):
            raise Refused("it ends in the middle", CUT)
        try:
            self._settle()
        except OSError as error:
            raise failed(b"/", error) from None
        content.drain()

    def _count(self, entry: Entry) -> None:
        self.entries += 1
        if self.entries > self._most_entries:
            raise Refused(f"it has more than {self._most_entries} entries")
        self.bytes += entry.size
        if self.bytes > self._most_bytes:
            raise Refused(
                f"it holds more than {self._most_bytes} bytes", "Free some space, or use a smaller archive."
            )

    def _place(self, entry: Entry, content: Content) -> None:
        path = place(entry.name)
        kind = entry.kind
        if path == b"/":
            if kind != b"5":
                raise Refused("its root is not a folder")
            self._wait(path, entry)
        elif self._layer is not None and self._layer.obey(path):
            pass
        elif kind == b"0" or kind == b"S":
            self._make_file(path, entry, content)
            return
        elif kind == b"5" or kind == b"D":
            self._make_folder(path, entry)
        elif kind == b"2":
            self._fresh(path, lambda: os.symlink(entry.link, path))
            self._finish(path, entry)
        elif kind == b"1":
            self._link(path, entry)
        elif kind in _KINDS:
            self._make_node(path, entry)
        else:
            self._skip(OTHERS)
        if entry.size:
            content.skip(entry.size + -entry.size % BLOCK)

    def _skip(self, what: str) -> None:
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def _make_file(self, path: bytes, entry: Entry, content: Content) -> None:
        mode = entry.mode
        try:
            file = os.open(path, _NEW, mode & 0o777)
        except (FileExistsError, FileNotFoundError) as error:
            self._make_room(path, error)
            file = os.open(path, _NEW, mode & 0o777)
        try:
            size = entry.size
            if entry.kind == b"S":
                for offset, length in entry.pieces:
                    os.lseek(file, offset, os.SEEK_SET)
                    content.write(file, length)
                os.ftruncate(file, entry.real_size)
            elif size:
                content.write(file, size)
            if self._exact or entry.uid or entry.gid:
                os.fchown(file, entry.uid, entry.gid)
            # Writing and a change of the owner take the set-user-ID bit away.
            if self._exact or mode & 0o7000:
                os.fchmod(file, mode)
            if entry.xattrs:
                self._describe(file, entry.name, entry.xattrs)
            os.utime(file, ns=(entry.mtime, entry.mtime))
            if self._layer is not None:
                self._layer.made(os.fstat(file).st_ino)
        finally:
            os.close(file)
        if size % BLOCK:
            content.skip(-size % BLOCK)

    def _make_folder(self, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError as error:
            self._make_room(path, error)
            os.mkdir(path, 0o700)
        except FileExistsError as error:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                if self._layer is None and os.path.isdir(path):
                    return  # a link to a folder: /lib to usr/lib, made by an earlier entry
                self._make_room(path, error)
                os.mkdir(path, 0o700)
        check_depth(path)
        self._wait(path, entry)
        if self._layer is not None:
            self._layer.made(os.lstat(path).st_ino)

    def _link(self, path: bytes, entry: Entry) -> None:
        target = place(entry.link)
        if target == path:
            return
        try:
            self._fresh(path, lambda: os.link(target, path, follow_symlinks=False))
        except FileNotFoundError:
            raise Refused(
                f"{show(entry.name)} is a link to {show(entry.link)}, which is not before it"
            ) from None

    def _make_node(self, path: bytes, entry: Entry) -> None:
        device = os.makedev(*numbers(entry)) if entry.kind != b"6" else 0
        try:
            self._fresh(path, lambda: os.mknod(path, _KINDS[entry.kind] | 0o600, device))
        except PermissionError:
            self._skip(NODES)  # in a user namespace; the runtime brings /dev of its own
            return
        self._finish(path, entry)

    def _finish(self, path: bytes, entry: Entry) -> None:
        """Attributes of what was made just now and is no file."""
        if self._exact or entry.uid or entry.gid:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind != b"2":
            os.chmod(path, entry.mode)  # it was made just now and is no link
        if entry.xattrs:
            self._describe(path, entry.name, entry.xattrs)
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
        if self._layer is not None:
            self._layer.made(os.lstat(path).st_ino)

    def _describe(self, what: int | bytes, entry: bytes, xattrs: list[tuple[bytes, bytes]]) -> None:
        """Extended attributes, of a descriptor or of what a path names itself; after the owner."""
        for name, value in xattrs:
            if name in _FOREIGN_XATTRS:
                continue
            try:
                if isinstance(what, int):
                    os.setxattr(what, name, value)
                else:
                    os.setxattr(what, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ERANGE):
                    raise
                self._skip(XATTRS)
            except ValueError:
                raise Refused(f"{show(entry)}: an attribute's name has a NUL in it", AGAIN) from None

    def _fresh(self, path: bytes, make: Callable[[], None]) -> None:
        """Make something at a path, whatever was there."""
        try:
            make()
        except (FileExistsError, FileNotFoundError) as error:
            self._make_room(path, error)
            make()

    def _make_room(self, path: bytes, error: OSError) -> None:
        """Take away what is in the way, or make the folders that are missing."""
        if isinstance(error, FileNotFoundError):
            made = make_parents(path)
            self._room.take(made * _OF_ENTRY)
            self._implied += made
            if self.entries + self._implied > self._most_entries:
                raise Refused(f"it has more than {self._most_entries} entries")
        elif self._layer is not None:
            self._layer.remove(path)
        else:
            try:
                os.unlink(path)
            except (IsADirectoryError, PermissionError):
                os.rmdir(path)

    def _wait(self, path: bytes, entry: Entry) -> None:
        """Attributes of a folder come last: what is made in it would inherit or change them."""
        self._waiting.append((path, entry.mode, entry.uid, entry.gid, entry.mtime, entry.xattrs))
        self._waiting_bytes += len(path) + sum(len(name) + len(value) for name, value in entry.xattrs)
        if len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            self._settle()
            self._exact = True

    def _settle(self) -> None:
        for path, mode, uid, gid, mtime, xattrs in self._waiting:
            try:
                folder = os.open(path, _FOLDER)
            except OSError:
                continue  # a later entry took its place
            try:
                os.fchown(folder, uid, gid)
                os.fchmod(folder, mode)
                self._describe(folder, path, xattrs)
                os.utime(folder, ns=(mtime, mtime))
            finally:
                os.close(folder)
        self._waiting.clear()
        self._waiting_bytes = 0


def failed(name: bytes, error: OSError) -> Refused:
    """What could not be made, and why."""
    return Refused(f"{show(name)}: {error.strerror or error}", _HINTS.get(error.errno or 0, ""))


def place(name: bytes) -> bytes:
    """The place of an entry: absolute paths begin at the root, `..` is refused."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise Refused(f"{show(name)} leads out of it", "It was made to do harm, or by mistake.")
    if len(parts) > _DEEPEST:
        raise Refused(f"{show(name)}: the path is too deep")
    return b"/" + b"/".join(parts)


def numbers(entry: Entry) -> tuple[int, int]:
    """Major and minor number, Refused when the kernel has none like them."""
    if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
        raise Refused(f"{show(entry.name)}: there is no such device", AGAIN)
    return entry.major, entry.minor


def make_parents(path: bytes) -> int:
    """Make the folders above a path that are missing, as no entry described them; how many."""
    parts = path.split(b"/")[1:-1]
    made = 0
    for count in range(1, len(parts) + 1):
        try:
            os.mkdir(b"/" + b"/".join(parts[:count]), 0o755)
            made += 1
        except FileExistsError:
            continue
    check_depth(path[: path.rindex(b"/")] or b"/")
    return made


def check_depth(path: bytes) -> None:
    """Refused when a folder is too deep: by links, a short path may lead to the end of a very long one."""
    os.chdir(path)
    try:
        real = os.getcwdb()
    except OSError:
        real = b"/" * (_DEEPEST + 1)
    if real.count(b"/") > _DEEPEST or len(real) > _LONGEST_PLACE:
        raise Refused(f"{show(path)}: the path is too deep")


def plain_root() -> bool:
    """Whether what is made in the root has the mode that was asked for, and our own owner.

    Not so with a default ACL, the set-group-ID bit, or the mount option grpid.
    """
    name = b"/.nspawn-probe"
    try:
        file = os.open(name, _NEW, 0o777)
    except OSError:
        return False
    try:
        status = os.fstat(file)
        return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o777, 0, 0)
    finally:
        os.close(file)
        os.unlink(name)
