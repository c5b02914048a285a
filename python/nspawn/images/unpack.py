"""The process that unpacks an archive: started with `-I -S`, rooted in the target before the first entry.

It imports nothing of the program.  Whatever an entry is called and wherever links lead, nothing outside
the target can be reached (chroot(2)); and no entry is ever written through what an earlier one made at its
place: a file always is a new file (O_EXCL), so that a device node of the host made by one entry cannot be
opened by the next.

Arguments: the compression (tar, gz, bz2, xz), the most bytes and the most entries, then absolute paths of
which one must be an executable file at the end.  Standard input: the archive.  Standard output: one JSON
object, {"entries", "bytes", "skipped"} or {"error", "hint"}.  With the compression "none" only the last
check is made.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import gzip
import importlib.machinery
import json
import lzma
import os
import resource
import stat
import sys
import tarfile
import zlib
from typing import BinaryIO, Protocol, cast

_CHUNK = 1 << 18
#: Of the decompressor and of headers: an archive that needs more is made to.
_MOST_MEMORY = 1 << 30
_LONGEST_PATH = 4095
#: What may follow the end of an archive: padding of the record size.
_LONGEST_TAIL = 64 << 20
_XATTR = "SCHILY.xattr."
#: A label of the builder's policy means nothing, or harm, to the policy here (SELinux on a phone).
_FOREIGN_XATTRS = ("security.selinux", "security.ima", "security.evm")


class Refused(Exception):
    """The archive is not what it should be.  The text is the reason; hint: what to do."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class Readable(Protocol):
    """What all decompressors have in common."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Entry(tarfile.TarInfo):
    """Tells an archive that is cut off from one that ends: tarfile takes both for the end."""

    cut = False

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Entry:
        """As tarfile has it, noticing an end without an end mark."""
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            Entry.cut = True
            raise


class Unpacker:
    """most_bytes: of all files together; most_entries: of the archive."""

    def __init__(self, most_bytes: int, most_entries: int) -> None:
        self.most_bytes = most_bytes
        self.most_entries = most_entries
        self.bytes = 0
        self.entries = 0
        self.skipped = 0
        self._folder_times: list[tuple[str, int]] = []

    def unpack(self, stream: Readable) -> None:
        """Every entry of the archive into the root."""
        with tarfile.open(
            fileobj=cast("BinaryIO", stream),
            mode="r|",
            tarinfo=Entry,
            bufsize=_CHUNK,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            for entry in archive:
                self._count(entry)
                try:
                    self._place(archive, entry)
                except OSError as error:
                    raise Refused(
                        f"{_show(entry.name)}: {error.strerror or error}",
                        "Free some space and try again." if error.errno == errno.ENOSPC else "",
                    ) from None
                archive.members = []  # type: ignore[attr-defined]  # else all headers stay in memory
        if Entry.cut:
            raise Refused("it ends in the middle", "Fetch or copy it again: it is cut off.")
        for path, mtime in reversed(self._folder_times):
            try:
                os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
            except FileNotFoundError:
                continue  # a later entry took its place

    def _count(self, entry: tarfile.TarInfo) -> None:
        self.entries += 1
        if self.entries > self.most_entries:
            raise Refused(f"it has more than {self.most_entries} entries")
        if len(entry.name) > _LONGEST_PATH or len(entry.linkname) > _LONGEST_PATH:
            raise Refused(f"{_show(entry.name)}: the path is too long")
        if entry.isreg():
            self.bytes += entry.size
            if self.bytes > self.most_bytes:
                raise Refused(
                    f"it holds more than {self.most_bytes} bytes",
                    "Free some space, or use a smaller archive.",
                )

    def _place(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        path = _path(entry.name)
        if path == "/":
            if not entry.isdir():
                raise Refused("its root is not a folder")
            self._describe_folder("/", entry)
        elif entry.isdir():
            self._make_folder(path, entry)
        elif entry.isreg():
            self._make_file(archive, path, entry)
        elif entry.issym():
            _fresh(path)
            os.symlink(entry.linkname, path)
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
            os.utime(path, ns=_times(entry), follow_symlinks=False)
        elif entry.islnk():
            self._link(path, entry)
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            self._make_node(path, entry)
        else:
            self.skipped += 1

    def _make_folder(self, path: str, entry: tarfile.TarInfo) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                if os.path.isdir(path):
                    return  # a link to a folder: /lib to usr/lib, made by an earlier entry
                os.unlink(path)
                os.mkdir(path, 0o700)
        except FileNotFoundError:
            os.makedirs(path, 0o755)
        self._describe_folder(path, entry)

    def _describe_folder(self, path: str, entry: tarfile.TarInfo) -> None:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._describe(folder, entry)
        finally:
            os.close(folder)
        self._folder_times.append((path, _times(entry)[1]))

    def _make_file(self, archive: tarfile.TarFile, path: str, entry: tarfile.TarInfo) -> None:
        _fresh(path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            content = archive.extractfile(entry)
            assert content is not None
            left = entry.size
            while left:
                data = content.read(min(left, _CHUNK))
                if not data:
                    raise Refused(
                        f"it ends within {_show(entry.name)}", "Fetch or copy it again: it is cut off."
                    )
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
            self._describe(file, entry)
            os.utime(file, ns=_times(entry))
        finally:
            os.close(file)

    def _link(self, path: str, entry: tarfile.TarInfo) -> None:
        target = _path(entry.linkname)
        if target == path:
            return
        _fresh(path)
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError:
            raise Refused(
                f"{_show(entry.name)} is a link to {_show(entry.linkname)}, which is not before it"
            ) from None

    def _make_node(self, path: str, entry: tarfile.TarInfo) -> None:
        _fresh(path)
        kind = stat.S_IFIFO if entry.isfifo() else stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        device = 0 if entry.isfifo() else os.makedev(entry.devmajor, entry.devminor)
        try:
            os.mknod(path, kind | 0o600, device)
        except PermissionError:
            self.skipped += 1  # in a user namespace; the runtime brings /dev of its own
            return
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(path, entry.mode & 0o7777)  # it was made just now and is no link
        os.utime(path, ns=_times(entry), follow_symlinks=False)

    def _describe(self, descriptor: int, entry: tarfile.TarInfo) -> None:
        """Owner, mode and extended attributes, in the order in which the kernel keeps them."""
        os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode & 0o7777)
        for key, value in entry.pax_headers.items():
            if not key.startswith(_XATTR):
                continue
            name = key[len(_XATTR) :]
            if name in _FOREIGN_XATTRS:
                continue
            try:
                os.setxattr(descriptor, name, value.encode("utf-8", "surrogateescape"))
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                    raise
                self.skipped += 1


def _path(name: str) -> str:
    """The place of an entry: absolute paths begin at the root, `..` is refused."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused(f"{_show(name)} leads out of it", "It was made to do harm, or by mistake.")
    if any(len(os.fsencode(part)) > 255 for part in parts):
        raise Refused(f"{_show(name)}: the name is too long")
    return "/" + "/".join(parts)


def _fresh(path: str) -> None:
    """Nothing at the path, its folder there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    except (IsADirectoryError, PermissionError):
        os.rmdir(path)


def _times(entry: tarfile.TarInfo) -> tuple[int, int]:
    """Nanoseconds of access and change, within what file systems hold."""
    mtime = entry.mtime if abs(entry.mtime) < 2**40 else 0  # neither nan nor inf is
    whole, _dot, fraction = entry.pax_headers.get("mtime", "").partition(".")
    if whole.isdecimal() and fraction.isdecimal() and mtime:
        # As written: the float that tarfile makes of it has lost the last digits.
        nanoseconds = int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
    else:
        nanoseconds = int(mtime * 10**9)
    nanoseconds = min(max(nanoseconds, -(2**31) * 10**9), 2**34 * 10**9)
    return nanoseconds, nanoseconds


def _show(name: str) -> str:
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")


def _open(compression: str) -> Readable:
    raw = open(0, "rb", _CHUNK)  # noqa: SIM115  (the process ends with it)
    if compression == "gz":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if compression == "bz2":
        return bz2.BZ2File(raw)
    if compression == "xz":
        return lzma.LZMAFile(raw)
    return raw


def _enter_root() -> None:
    """Make the working folder the root; from here on nothing is imported: the files are the archive's."""
    for encoding in ("utf-8", "ascii", "latin-1"):
        codecs.lookup(encoding)
    os.chroot(".")
    os.chdir("/")
    sys.path.clear()
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    os.umask(0)


def _drain(stream: Readable) -> None:
    """Read to the end: only there are the checksums of the compression."""
    left = _LONGEST_TAIL
    while left > 0:
        data = stream.read(_CHUNK)
        if not data:
            return
        left -= len(data)


def _check(programs: list[str]) -> None:
    for path in programs:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return
    raise Refused(
        f"it has none of {', '.join(programs)}", "A root file system with a shell or an init is needed."
    )


def _run(arguments: list[str]) -> dict[str, object]:
    compression, most_bytes, most_entries, *programs = arguments
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    unpacker = Unpacker(int(most_bytes), int(most_entries))
    stream = _open(compression)
    _enter_root()
    if compression != "none":
        unpacker.unpack(stream)
        _drain(stream)
    if programs:
        _check(programs)
    return {"entries": unpacker.entries, "bytes": unpacker.bytes, "skipped": unpacker.skipped}


def main() -> int:
    """The exit status: 0, or 1 with the reason in the answer."""
    again = "Fetch or copy it again: it is damaged."
    try:
        answer = _run(sys.argv[1:])
    except Refused as error:
        answer = {"error": str(error), "hint": error.hint}
    except MemoryError:
        answer = {"error": f"it needs more than {_MOST_MEMORY >> 20} MiB of memory", "hint": again}
    except (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile) as error:
        answer = {"error": str(error), "hint": again}
    except Exception as error:  # noqa: BLE001  (hostile headers: OverflowError, ValueError, ...)
        answer = {"error": f"{type(error).__name__}: {error}", "hint": again}
    os.write(1, json.dumps(answer).encode())
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    os._exit(main())
