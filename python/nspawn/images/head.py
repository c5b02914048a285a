"""The first member of an archive, before anything is unpacked; the whole archive can still be read after."""

from __future__ import annotations

import bz2
import lzma
import subprocess
import threading
import zlib
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NspawnError
from nspawn.images import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.images.archive import Readable

_BLOCK = 512
_CHUNK = 1 << 16
#: Of the archive as it is, and of its content; the member is smaller by far.
_MOST_READ, _MOST_CONTENT = 4 << 20, 2 << 20
_MOST_MEMORY = 256 << 20
_WHAT = "the archive cannot be read"


class Replayed:
    """A reader of what was read already, and then of the rest."""

    def __init__(self, held: bytes, rest: Readable) -> None:
        self._held = held
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        return self._rest.read(size)


def first_member(source: Readable, name: str) -> tuple[bytes, Replayed]:
    """The content of the archive's first member, which must have this name, and the archive itself.

    Raises Damaged when the archive does not begin so.
    """
    held = bytearray()
    enough = _CHUNK
    while len(held) < _MOST_READ:
        data = _read(source)
        held += data
        if data and len(held) < enough:
            continue
        enough *= 2  # bzip2 gives nothing of its first block before all of it is there
        found = _member(_begin(bytes(held)), name)
        if found is not None:
            return found, Replayed(bytes(held), source)
        if not data:
            break
    raise Damaged(_WHAT, "it is cut off, or no archive" if held else "it is empty")


def _read(source: Readable) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise NspawnError(_WHAT, error.strerror or str(error)) from None


def _member(content: bytes, name: str) -> bytes | None:
    """None when there is not enough yet."""
    if len(content) < _BLOCK:
        return None
    block = content[:_BLOCK]
    try:
        told = int(block[148:156].strip(b" \0"), 8)
        size = int(block[124:136].strip(b" \0"), 8)
    except ValueError:
        raise _not_ours() from None
    if told != sum(block[:148]) + 8 * 32 + sum(block[156:]) or block[257:262] != b"ustar":
        raise _not_ours()
    if block[:100].rstrip(b"\0") != name.encode() or block[156:157] not in (b"0", b"\0"):
        raise _not_ours()
    if size > _MOST_CONTENT - _BLOCK:
        raise Damaged(_WHAT, f"its settings have {size} bytes")
    return content[_BLOCK : _BLOCK + size] if len(content) >= _BLOCK + size else None


def _not_ours() -> Damaged:
    return Damaged(
        _WHAT,
        "it was not made by `nspawn export`",
        "To make a container of any other archive: nspawn create NAME --tar FILE.",
    )


def _begin(held: bytes) -> bytes:
    """What the bytes begin with when they are decompressed, as far as that goes."""
    try:
        if held.startswith(b"\xfd7zXZ\0"):
            xz = lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
            return xz.decompress(held, _MOST_CONTENT)
        if held.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(held, _MOST_CONTENT)
        if held.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(held, _MOST_CONTENT)
    except (lzma.LZMAError, zlib.error, OSError, ValueError, EOFError) as error:
        raise Damaged(_WHAT, str(error), "Copy it again: it is damaged.") from None
    if held.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(held)
    return held


def _zstd(held: bytes) -> bytes:
    process = subprocess.Popen(
        zstandard.command(_WHAT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def feed(write: Callable[[bytes], object], close: Callable[[], None]) -> None:
        try:
            write(held)
            close()
        except OSError:
            pass  # it has given enough, or died

    feeder = threading.Thread(target=feed, args=(process.stdin.write, process.stdin.close), daemon=True)
    feeder.start()
    try:
        return process.stdout.read(_MOST_CONTENT)
    finally:
        process.kill()
        feeder.join()
        process.stdout.close()
        try:
            process.stdin.close()
        except OSError:
            pass
        process.wait()
