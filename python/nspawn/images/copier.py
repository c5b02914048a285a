"""A copy of a file tree into an empty folder: by reference where the file system can, else by content."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence

from nspawn.images import walk

#: ioctl_ficlone(2), the same number on all machines but a few that no phone is.
_FICLONE = 0x40049409
_CHUNK = 1 << 20
#: Bytes of the disk that stay free, and how often that is looked at: a phone without any stops working.
_RESERVE, _LOOK_EVERY = 64 << 20, 8 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What file systems say that cannot do something.
_CANNOT = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF)


class Copier:
    """target: a descriptor of the folder, which holds only what this makes: no link lies on the way.

    tick: called with the bytes of work that were just done.
    """

    def __init__(self, target: int, counts: walk.Counts, tick: Callable[[int], None]) -> None:
        self._target = target
        self._counts = counts
        self._tick = tick
        self._missing: set[str] = set()
        self._reflink = True
        self._in_kernel = True
        self._unseen = _LOOK_EVERY
        self._folders: list[tuple[walk.Entry, list[tuple[str, bytes]]]] = []

    def add(self, entry: walk.Entry) -> None:
        """Make the entry and its content."""
        if entry.first in self._missing:
            self._counts.gone += 1
            return
        self._counts.entries += 1
        kind = stat.S_IFMT(entry.status.st_mode)
        path = entry.path or "."
        if entry.first:
            os.link(
                entry.first, path, src_dir_fd=self._target, dst_dir_fd=self._target, follow_symlinks=False
            )
        elif kind == stat.S_IFDIR:
            if entry.path:
                os.mkdir(path, 0o700, dir_fd=self._target)
            # Its attributes come last: a default list of rights would be inherited by what comes in.
            self._folders.append((entry, walk.attributes(entry)))
        elif kind == stat.S_IFREG:
            self._file(entry)
            return
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.name), path, dir_fd=self._target)
            self._describe_by_name(entry)
        else:
            try:
                os.mknod(path, kind | 0o600, entry.status.st_rdev, dir_fd=self._target)
            except PermissionError:
                self._counts.nodes += 1
            else:
                self._describe_by_name(entry)
        self._tick(walk.weight(entry))

    def close(self) -> None:
        """What has to come last."""
        for entry, found in reversed(self._folders):
            descriptor = os.open(entry.path or ".", _FOLDER, dir_fd=self._target)
            try:
                self._describe(descriptor, entry, found)
            finally:
                os.close(descriptor)

    def _file(self, entry: walk.Entry) -> None:
        source = walk.open_file(entry)
        if source is None:
            self._missing.add(entry.path)
            self._counts.gone += 1
            return
        try:
            fresh = os.open(entry.path, _NEW, 0o600, dir_fd=self._target)
            try:
                if not self._referred(source, fresh, entry.status.st_size):
                    self._copy(source, fresh, entry.status)
                self._describe(fresh, entry, walk.attributes(entry))
            finally:
                os.close(fresh)
        finally:
            os.close(source)
        self._counts.bytes += entry.status.st_size
        self._tick(512)

    def _referred(self, source: int, fresh: int, size: int) -> bool:
        if not self._reflink or not size:
            return False
        try:
            fcntl.ioctl(fresh, _FICLONE, source)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._reflink = False
            return False
        self._counts.reflinks += 1
        self._tick(size)
        return True

    def _copy(self, source: int, fresh: int, status: os.stat_result) -> None:
        size = status.st_size
        found = walk.pieces(source, status)
        for offset, length in [(0, size)] if found is None else found:
            end = offset + length
            while offset < end:
                done = self._move(source, fresh, offset, min(end - offset, _CHUNK))
                if not done:
                    self._counts.changed += 1
                    break
                offset += done
                self._tick(done)
                self._check_room(done)
        os.ftruncate(fresh, size)

    def _check_room(self, written: int) -> None:
        self._unseen += written
        if self._unseen < _LOOK_EVERY:
            return
        self._unseen = 0
        disk = os.fstatvfs(self._target)
        if disk.f_bavail * disk.f_frsize < _RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _move(self, source: int, fresh: int, offset: int, length: int) -> int:
        if self._in_kernel:
            try:
                return os.copy_file_range(source, fresh, length, offset, offset)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self._in_kernel = False
        data = os.pread(source, length, offset)
        return os.pwrite(fresh, data, offset)

    def _describe(self, descriptor: int, entry: walk.Entry, found: Sequence[tuple[str, bytes]]) -> None:
        """Owner, mode, attributes, times, in the order in which the kernel keeps them."""
        status = entry.status
        os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        for name, value in found:
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                self._lost(error)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _describe_by_name(self, entry: walk.Entry) -> None:
        """The same for what cannot be opened; it was made just now, and is no link to elsewhere."""
        status = entry.status
        os.chown(entry.path, status.st_uid, status.st_gid, dir_fd=self._target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(entry.path, stat.S_IMODE(status.st_mode), dir_fd=self._target)
        found = walk.attributes(entry)
        if found:
            # There is no setxattrat(2) before Linux 6.13: by the folder's descriptor in /proc, which is not
            # there in this root; the working folder is.
            here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fchdir(self._target)
                for name, value in found:
                    try:
                        os.setxattr(entry.path, name, value, follow_symlinks=False)
                    except OSError as error:
                        self._lost(error)
            finally:
                os.fchdir(here)
                os.close(here)
        os.utime(
            entry.path,
            ns=(status.st_atime_ns, status.st_mtime_ns),
            dir_fd=self._target,
            follow_symlinks=False,
        )

    def _lost(self, error: OSError) -> None:
        if error.errno == errno.ENOSPC or error.errno == errno.EDQUOT:
            raise error
        self._counts.attributes += 1
