"""The tar form of a file tree: POSIX pax (pax(1)), with extended attributes and holes as GNU tar has them.

https://www.gnu.org/software/tar/manual/html_node/PAX-1.html: a sparse file's content begins with a map.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from nspawn.images import walk

_BLOCK = 512
_CHUNK = 1 << 20
#: From here on the kernel moves the content to the pipe by itself.
_LARGE = 1 << 18
#: Written at once: who waits for a slow reader counts what has been written (proc(5), wchar).
_AT_ONCE = 1 << 16
_MOST_OCTAL7, _MOST_OCTAL11 = 0o7777777, 0o77777777777
_KINDS = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


class TarWriter:
    """sink: a descriptor of a pipe or file.  tick: called with the bytes of work that were just done."""

    def __init__(self, sink: int, counts: walk.Counts, tick: Callable[[int], None]) -> None:
        self._sink = sink
        self._counts = counts
        self._tick = tick
        self._held = bytearray()
        self._missing: set[str] = set()

    def member(self, name: str, data: bytes, mtime: int) -> None:
        """A plain file of root's that is no file of the tree.  mtime: seconds."""
        self._put(_block(name.encode(), b"0", 0o600, 0, 0, len(data), mtime, b"", 0))
        self._put(data + _padding(len(data)))

    def add(self, entry: walk.Entry) -> None:
        """Write the entry and its content."""
        if entry.first in self._missing:
            self._counts.gone += 1
            return
        self._counts.entries += 1
        kind = stat.S_IFMT(entry.status.st_mode)
        if entry.first:
            self._head(entry, b"1", 0, link=entry.first)
        elif kind == stat.S_IFREG:
            self._file(entry)
            return
        elif kind == stat.S_IFLNK:
            self._head(entry, b"2", 0, link=os.readlink(entry.name))
        else:
            self._head(entry, _KINDS[kind], 0)
        self._tick(walk.weight(entry))

    def close(self) -> None:
        """The end mark."""
        self._put(bytes(2 * _BLOCK))
        self._flush()

    def _file(self, entry: walk.Entry) -> None:
        descriptor = walk.open_file(entry)
        if descriptor is None:
            self._missing.add(entry.path)
            self._counts.gone += 1
            return
        try:
            size = entry.status.st_size
            found = walk.pieces(descriptor, entry.status)
            if found is None:
                self._head(entry, b"0", size)
                self._content(descriptor, 0, size)
                self._put(_padding(size))
            else:
                written = found
                if not found or sum(found[-1]) < size:
                    written = [*found, (size, 0)]  # so that a reader knows where it ends
                numbers = [len(written), *(number for piece in written for number in piece)]
                map_ = "".join(f"{number}\n" for number in numbers).encode()
                map_ += _padding(len(map_))
                stored = sum(length for _, length in found)
                self._head(entry, b"0", len(map_) + stored, sparse=size)
                self._put(map_)
                for offset, length in found:
                    self._content(descriptor, offset, length)
                self._put(_padding(stored))
            self._counts.bytes += size
            self._tick(512)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, offset: int, length: int) -> None:
        """Exactly so many bytes, zeros for what the file does not have any more."""
        if length >= _LARGE:
            self._flush()
        while length:
            if length >= _LARGE:
                done = os.sendfile(self._sink, descriptor, offset, min(length, _AT_ONCE))
            else:
                data = os.pread(descriptor, length, offset)
                self._put(data)
                done = len(data)
            if not done:
                self._counts.changed += 1
                while length:
                    self._put(bytes(min(length, _CHUNK)))
                    length -= min(length, _CHUNK)
                return
            offset += done
            length -= done
            self._tick(done)

    def _head(self, entry: walk.Entry, kind: bytes, size: int, *, link: str = "", sparse: int = -1) -> None:
        status = entry.status
        name = os.fsencode(entry.path) or b"."
        if kind == b"5":
            name += b"/"
        target = os.fsencode(link)
        records: list[tuple[bytes, bytes]] = []
        seconds, fraction = divmod(status.st_mtime_ns, 10**9)
        if fraction or not 0 <= seconds <= _MOST_OCTAL11:
            records.append((b"mtime", _decimal(status.st_mtime_ns)))
        for key, value, most in (
            (b"size", size, _MOST_OCTAL11),
            (b"uid", status.st_uid, _MOST_OCTAL7),
            (b"gid", status.st_gid, _MOST_OCTAL7),
        ):
            if value > most:
                records.append((key, b"%d" % value))
        if sparse >= 0:
            records += [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
            records += [(b"GNU.sparse.name", name), (b"GNU.sparse.realsize", b"%d" % sparse)]
        if len(name) > 100:
            records.append((b"path", name))
        if len(target) > 100:
            records.append((b"linkpath", target))
        if kind != b"1":
            records += [(b"SCHILY.xattr." + _name(key), value) for key, value in walk.attributes(entry)]
        if records:
            text = b"".join(_record(key, value) for key, value in records)
            self._put(_block(b"./PaxHeaders/x", b"x", 0o644, 0, 0, len(text), 0, b"", 0))
            self._put(text + _padding(len(text)))
        device = status.st_rdev if kind in b"34" else 0
        mtime = seconds if 0 <= seconds <= _MOST_OCTAL11 else 0
        mode = stat.S_IMODE(status.st_mode)
        self._put(_block(name, kind, mode, status.st_uid, status.st_gid, size, mtime, target, device))

    def _put(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        view = memoryview(bytes(self._held))
        self._held.clear()
        while view:
            view = view[os.write(self._sink, view[:_AT_ONCE]) :]


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, device: int
) -> bytes:
    """A ustar header; numbers that do not fit are 0 there, and in a record before it."""
    fields = (
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % (uid if uid <= _MOST_OCTAL7 else 0),
        b"%07o\0" % (gid if gid <= _MOST_OCTAL7 else 0),
        b"%011o\0" % (size if size <= _MOST_OCTAL11 else 0),
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0%07o\0" % (os.major(device), os.minor(device)),
        bytes(155),
    )
    block = b"".join(fields).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _name(attribute: str) -> bytes:
    """As GNU tar has it: the first = of a record ends its key."""
    return os.fsencode(attribute).replace(b"%", b"%25").replace(b"=", b"%3D")


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` and a newline, the length counting itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal(nanoseconds: int) -> bytes:
    sign = "-" if nanoseconds < 0 else ""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{fraction:09}".encode()


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
