"""The files of a root file system that is not trusted: read and replaced by descriptors.

A link means what it means in the container, and ends in it; nothing but a plain file of a sane size is read;
what is written is a new file, renamed into place, so that no device, FIFO or hard link is written through.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nspawn.kernel import inroot

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Odd(Exception):
    """Something in the root file system is not what it has to be.  The text is what, for a person."""


class Tree:
    """root: a descriptor of the folder, which stays the caller's."""

    def __init__(self, root: int) -> None:
        self.root = root

    def exists(self, path: str) -> bool:
        """Whether something is there, after all links."""
        return self.status(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether a plain file is there, after all links."""
        found = self.status(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def status(self, path: str) -> os.stat_result | None:
        """Of what is there, after all links."""
        try:
            with self._place(path) as place:
                return os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        except OSError:
            return None

    def read(self, path: str) -> bytes | None:
        """The whole content; None when there is nothing.  Odd when it is no plain file, or too large."""
        try:
            with self._place(path) as place:
                descriptor = os.open(place.name, _READ, dir_fd=place.folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Odd(f"{path} cannot be read ({error.strerror})") from None
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Odd(f"{path} is no plain file")
            if found.st_size > _LARGEST:
                raise Odd(f"{path} is too large ({found.st_size} bytes)")
            return file.read(_LARGEST)

    def text(self, path: str) -> str | None:
        """The same as text; bytes that are none survive `write`."""
        data = self.read(path)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def peek(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a plain file of any size; none when there is no such file."""
        try:
            with self._place(path) as place:
                descriptor = os.open(place.name, _READ, dir_fd=place.folder)
        except OSError:
            return b""
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b""
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def write(
        self, path: str, content: str, mode: int = 0o644, *, here: bool = False, group: int = 0
    ) -> None:
        """Replace the file, whose owner and mode stay; mode, group: of one that was not there.

        here: a link at the path itself is replaced, not what it leads to.  Odd where a folder is.
        """
        data = content.encode("utf-8", "surrogateescape")
        with self._parent(path) if here else self._place(path, make=True) as place:
            name = place.name
            fresh = f".{name[:200]}.nspawn"
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=place.folder)
            try:
                old = os.stat(name, dir_fd=place.folder, follow_symlinks=False)
            except FileNotFoundError:
                owner, rights = (0, group), mode
            else:
                if stat.S_ISDIR(old.st_mode):
                    raise Odd(f"{path} is a folder")
                plain = stat.S_ISREG(old.st_mode)
                owner = (old.st_uid, old.st_gid) if plain else (0, group)
                rights = stat.S_IMODE(old.st_mode) & 0o777 if plain else mode
            descriptor = os.open(fresh, _NEW, 0o600, dir_fd=place.folder)
            try:
                with open(descriptor, "wb") as file:
                    os.fchown(descriptor, *owner)
                    os.fchmod(descriptor, rights)
                    file.write(data)
                os.rename(fresh, name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(fresh, dir_fd=place.folder)
                raise

    def link(self, path: str, to: str) -> None:
        """Put a link at the path itself, whatever file is there.  Odd where a folder is."""
        with self._parent(path) as place:
            try:
                if stat.S_ISDIR(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode):
                    raise Odd(f"{path} is a folder")
                os.unlink(place.name, dir_fd=place.folder)
            except FileNotFoundError:
                pass
            os.symlink(to, place.name, dir_fd=place.folder)

    def remove(self, path: str) -> None:
        """Remove what is at the path itself, unless it is a folder or nothing."""
        with suppress(OSError), self._parent(path) as place:
            os.unlink(place.name, dir_fd=place.folder)

    def folder(self, path: str, mode: int) -> None:
        """Make the folder where it is missing; it is root's, with this mode, afterwards.  Odd, OSError."""
        place = inroot.find(self.root, path, make="folder")
        try:
            descriptor = os.open(place.name, _FOLDER, dir_fd=place.folder)
        except NotADirectoryError:
            raise Odd(f"{path} is no folder") from None
        finally:
            os.close(place.folder)
        try:
            os.fchown(descriptor, 0, 0)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    @contextmanager
    def _place(self, path: str, *, make: bool = False) -> Iterator[inroot.Place]:
        """Where the path leads, there or not; make: its folders, where they are missing."""
        try:
            place = inroot.find(self.root, path)
        except FileNotFoundError:
            if not make:
                raise
            with self._parent(path, make=True) as place:
                yield place
            return
        try:
            yield place
        finally:
            os.close(place.folder)

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[inroot.Place]:
        """The folder of the path, after all links, and the last name as it is."""
        above, _, name = path.rpartition("/")
        place = inroot.find(self.root, above or "/", make="folder" if make else "")
        try:
            folder = os.open(place.name, os.O_PATH | _FOLDER, dir_fd=place.folder)
        finally:
            os.close(place.folder)
        try:
            yield inroot.Place(folder, name, f"{place.path.rstrip('/')}/{name}")
        finally:
            os.close(folder)
