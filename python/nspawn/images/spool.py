"""Bytes that come only once and in order, put into a file that can be read at any place.

Needed for the one kind of source where a tar's end says what its beginning is: images on standard input,
in an upload, or compressed as a whole.  The file has no name, so nothing is left of it whatever happens.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import resource
import signal
import subprocess
import tempfile
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, cast

from nspawn.errors import Damaged, NspawnError, Unsupported
from nspawn.images import zstandard
from nspawn.images.room import RESERVE
from nspawn.model.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, BinaryIO

    from nspawn.model.progress import Asked, Report

_CHUNK = 1 << 18
_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
#: Of a decompressor; `xz -9` needs 65 MiB.
_MOST_MEMORY = 80 << 20
#: The first bytes of an archive that are looked at: a whole block of bzip2 fits in.
HEAD = 1 << 20
_WHAT = "the image cannot be read"
_AGAIN = "Fetch or copy it again: it is damaged."


class Readable(Protocol):
    """What comes in order: standard input, an upload, a stream that is checked at its end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Peeked:
    """A source whose first bytes are known and can still be read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        parts = []
        left = HEAD
        while left > 0 and (data := source.read(left)):
            parts.append(data)
            left -= len(data)
        self.head = b"".join(parts)
        self._given = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._given < len(self.head):
            end = len(self.head) if size < 0 else min(len(self.head), self._given + size)
            data = self.head[self._given : end]
            self._given = end
            return data
        return self._source.read(size)


def compression(head: bytes) -> str:
    """How it is packed: "gz", "bz2", "xz", "zst", or "" for none of these."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def beginning(head: bytes, size: int) -> bytes:
    """About the first `size` bytes of what is packed, from the first bytes of the archive; b"" if unknown."""
    kind = compression(head)
    try:
        if kind == "gz":
            return zlib.decompressobj(31).decompress(head, size)
        if kind == "bz2":
            return bz2.BZ2Decompressor().decompress(head, size)
        if kind == "xz":
            return lzma.LZMADecompressor(memlimit=_MOST_MEMORY).decompress(head, size)
        if kind == "zst":
            return _zstd_beginning(head, size)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return b""
    return head[:size]


def spool(source: Readable, head: bytes, folder: str, report: Report, cancelled: Asked) -> int:
    """Copy all of it, unpacked, into a file without a name in the folder; its descriptor.

    head: the first bytes, which `source` still gives.  Raises Damaged, Cancelled, NspawnError when the disk
    is full.
    """
    with ExitStack() as undo:
        descriptor = _unnamed(folder)
        undo.callback(os.close, descriptor)
        counted = _Counted(source, report, cancelled)
        kind = compression(head)
        try:
            if kind == "zst":
                _zstd(counted, descriptor, undo)
            for data in () if kind == "zst" else _unpacked(counted, kind, undo):
                if _room(descriptor) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
        except OSError as error:
            hint = "Free some space, or give the image by its path." if error.errno == errno.ENOSPC else ""
            raise NspawnError("the image cannot be copied", error.strerror or str(error), hint) from None
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise Damaged(_WHAT, str(error), _AGAIN) from None
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.dup(descriptor)


class _Counted:
    """The source, with the progress and the question whether to end; the rest is for decompressors."""

    def __init__(self, source: Readable, report: Report, cancelled: Asked) -> None:
        self._source = source
        self._report = report
        self._cancelled = cancelled
        self._done = 0

    def read(self, size: int = -1, /) -> bytes:
        if self._cancelled():
            raise Cancelled
        data = self._source.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self._done += len(data)
        self._report(Progress(phase="copying", done=self._done))
        return data


def _unpacked(source: _Counted, kind: str, undo: ExitStack) -> Iterator[bytes]:
    read: Callable[[int], bytes] = source.read
    if kind == "gz":
        read = undo.enter_context(gzip.GzipFile(fileobj=cast("BinaryIO", source), mode="rb")).read
    elif kind == "bz2":
        read = undo.enter_context(bz2.BZ2File(cast("BinaryIO", source))).read
    elif kind == "xz":
        yield from _xz(source)
        return
    while data := read(_CHUNK):
        yield data
    while source.read(_CHUNK):
        continue  # to its end: there it is checked


def _xz(source: _Counted) -> Iterator[bytes]:
    """LZMAFile would take any amount of memory that the archive asks for."""
    data = source.read(_CHUNK)
    while data:
        decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = source.read(_CHUNK)
                if not data:
                    raise EOFError("it ends in the middle")
            yield decoder.decompress(data, _CHUNK)
            data = b""
        # Between streams there may be zeros, by fours.
        data = decoder.unused_data.lstrip(b"\0")
        while not data and (more := source.read(_CHUNK)):
            data = more.lstrip(b"\0")


def _zstd_beginning(head: bytes, size: int) -> bytes:
    try:
        command = zstandard.command(_WHAT)
    except Unsupported:
        return b""
    with tempfile.TemporaryFile() as file:
        file.write(head)
        file.seek(0)
        with subprocess.Popen(
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            zstandard.confine(child)
            assert child.stdout is not None
            data = child.stdout.read(size)
            child.kill()
    return data


def _zstd(source: _Counted, descriptor: int, undo: ExitStack) -> None:
    """The program writes into the file itself; it cannot write more than there is room for."""
    child = subprocess.Popen(
        zstandard.command(_WHAT),
        stdin=subprocess.PIPE,
        stdout=descriptor,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    stdin = child.stdin
    assert stdin is not None
    undo.callback(_end, child, stdin)
    zstandard.confine(child)
    room = _room(descriptor)
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (room, room))
    try:
        while data := source.read(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[stdin.write(view) :]
        stdin.close()
    except BrokenPipeError:
        pass  # it has seen enough, or died: its status tells
    status = child.wait()
    if status == -signal.SIGXFSZ or (status and _room(descriptor) < _CHUNK):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status:
        raise Damaged(_WHAT, "zstd cannot unpack it", _AGAIN)


def _end(child: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
    child.kill()
    try:
        stdin.close()
    except BrokenPipeError:
        pass
    child.wait()


def _room(descriptor: int) -> int:
    disk = os.fstatvfs(descriptor)
    return max(0, disk.f_bavail * disk.f_frsize - RESERVE)


def _unnamed(folder: str) -> int:
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        descriptor, path = tempfile.mkstemp(prefix=".spool-", dir=folder)
        os.unlink(path)
    except OSError as error:
        raise NspawnError("the image cannot be copied", f"{error.strerror or error} ({folder})") from None
    return descriptor
