"""The headers of a tar archive: V7, ustar, GNU and PAX, with every form of sparse file that GNU tar writes.

Names, link targets and attributes are bytes: an archive holds those of a file system, in no certain
encoding.  Facts: POSIX pax(1), "The GNU tar Manual" (Basic Tar Format, Sparse Formats), libarchive's tar(5).
"""

from __future__ import annotations

import zlib
from typing import Protocol

BLOCK = 512
#: Of one extended header.  The kernel takes 64 KiB for all attributes of a file together on most systems.
_MOST_HEADER = 1 << 20
#: Records that hold for all entries.
_MOST_GLOBAL = 64
#: Of all headers: so much for each entry, and for the whole archive besides.
_MOST_FOR_ENTRY = 8 << 10
_MOST_BESIDES = 16 << 20
#: Pieces of a sparse file.
_MOST_PIECES = 1 << 18
#: Of a map in front of a sparse file: two numbers of at most 21 bytes for each piece.
_MOST_MAP = 44 * _MOST_PIECES
_LONGEST_PATH = 4095
_MOST_NUMBER = 1 << 63
_XATTR = b"SCHILY.xattr."
_ZEROS = bytes(BLOCK)
_WITHOUT_CONTENT = frozenset(b"123456")
AGAIN = "Fetch or copy it again: it is damaged."
CUT = "Fetch or copy it again: it is cut off."


class Refused(Exception):
    """The archive is not what it should be.  The text is the reason; hint: what to do."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class Source(Protocol):
    """What headers are read from."""

    def block(self) -> bytes:
        """512 bytes; none at the end."""

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""


class Entry:
    """One entry.  kind: the type flag, b"S" for every sparse file; size: of the content in the archive.

    mtime: nanoseconds.  pieces: of a sparse file, (offset, size); real_size: its own.
    """

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "pieces",
        "real_size",
        "size",
        "uid",
        "xattrs",
    )

    name: bytes
    link: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    major: int
    minor: int
    pieces: list[tuple[int, int]]
    real_size: int
    xattrs: list[tuple[bytes, bytes]]


class Headers:
    """Reads entry after entry; between two calls the content of the last one has to be taken."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._global: dict[bytes, bytes] = {}
        self._spent = 0
        self._entries = 0
        #: Whether the archive's own end mark was seen.
        self.ended = False

    def next(self) -> Entry | None:
        """The next entry; None at the end."""
        name = link = b""
        own: dict[bytes, bytes] | None = None
        pieces: list[tuple[bytes, bytes]] = []
        while True:
            header = self._source.block()
            if not header or header == _ZEROS:
                if name or link or own is not None:
                    raise Refused("it ends after the first half of a header", CUT)
                self.ended = bool(header)
                return None
            _check_sum(header)
            kind = header[156:157]
            if kind in (b"L", b"K", b"x", b"X"):
                content = self._extension(header)
                if kind == b"L":
                    name = content.partition(b"\0")[0]
                elif kind == b"K":
                    link = content.partition(b"\0")[0]
                else:
                    own, pieces = parse_records(content)
            elif kind == b"g":
                found, _pieces = parse_records(self._extension(header))
                self._global.update(found)
                if len(self._global) > _MOST_GLOBAL:  # each entry looks at all of them
                    raise Refused(f"it has more than {_MOST_GLOBAL} global records")
            else:
                break
        self._entries += 1
        entry = _parse(header, kind, name, link)
        if own is not None or self._global:
            self._extend(entry, {**self._global, **(own or {})}, pieces)
        if kind == b"S" and not entry.pieces:
            self._old_map(entry, header)
        _check(entry)
        return entry

    def _extension(self, header: bytes) -> bytes:
        """The content of a header that belongs to the next entry."""
        size = number(header[124:136])
        if not 0 <= size <= _MOST_HEADER:
            raise Refused(f"it has a header of {size} bytes")
        self._spend(BLOCK + size)
        content = self._source.take(size)
        self._source.take(-size % BLOCK)
        return content

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > _MOST_BESIDES + self._entries * _MOST_FOR_ENTRY:
            raise Refused("it consists of headers", "It was made to do harm, or by mistake.")

    def _extend(self, entry: Entry, records: dict[bytes, bytes], pieces: list[tuple[bytes, bytes]]) -> None:
        for key, value in records.items():
            if key.startswith(_XATTR):
                # GNU tar's form of names with a = in them.
                name = key[len(_XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")
                entry.xattrs.append((name, value))
        entry.name = records.get(b"path") or entry.name
        entry.link = records.get(b"linkpath") or entry.link
        if records.get(b"size") and ord(entry.kind) not in _WITHOUT_CONTENT:
            entry.size = decimal(records[b"size"])
        if records.get(b"uid"):
            entry.uid = decimal(records[b"uid"])
        if records.get(b"gid"):
            entry.gid = decimal(records[b"gid"])
        if records.get(b"mtime"):
            entry.mtime = nanoseconds(records[b"mtime"], entry.mtime)
        if entry.kind == b"0":
            self._sparse(entry, records, pieces)

    def _sparse(self, entry: Entry, records: dict[bytes, bytes], pieces: list[tuple[bytes, bytes]]) -> None:
        """PAX sparse formats: 1.0 has the map before the content, 0.1 in one record, 0.0 in many."""
        if records.get(b"GNU.sparse.major") == b"1":
            entry.real_size = decimal(records.get(b"GNU.sparse.realsize", b""))
            entry.pieces = self._map_of_content(entry)
        elif b"GNU.sparse.map" in records:
            words = records[b"GNU.sparse.map"].split(b",")
            entry.pieces = _pairs([decimal(word) for word in words])
            entry.real_size = decimal(records.get(b"GNU.sparse.size", b""))
        elif pieces:
            entry.pieces = [(decimal(offset), decimal(size)) for offset, size in pieces]
            entry.real_size = decimal(records.get(b"GNU.sparse.size", b""))
        elif b"GNU.sparse.size" in records and b"GNU.sparse.numblocks" in records:
            entry.pieces = []
            entry.real_size = decimal(records[b"GNU.sparse.size"])
        else:
            return
        entry.kind = b"S"
        entry.name = records.get(b"GNU.sparse.name") or entry.name

    def _map_of_content(self, entry: Entry) -> list[tuple[int, int]]:
        """A number of pieces, then offset and size of each, all in lines; filled up to whole blocks."""
        text = bytearray()
        lines = 0
        wanted = 1
        while lines < wanted:
            if len(text) > _MOST_MAP or len(text) + BLOCK > entry.size:
                raise Refused(f"{show(entry.name)}: its map is damaged", AGAIN)
            self._spend(BLOCK)
            block = self._source.take(BLOCK)
            text += block
            lines += block.count(b"\n")
            if wanted == 1 and lines:
                count = decimal(bytes(text[: text.index(b"\n")]))
                if count > _MOST_PIECES:
                    raise Refused(f"{show(entry.name)} has {count} pieces")
                wanted = 1 + 2 * count
        entry.size -= len(text)
        return _pairs([decimal(line) for line in bytes(text).split(b"\n")[1:wanted]])

    def _old_map(self, entry: Entry, header: bytes) -> None:
        """GNU's own format: four pieces in the header, 21 in each block that follows."""
        entry.real_size = number(header[483:495])
        at, count, more = 386, 4, header[482]
        while True:
            for start in range(at, at + 24 * count, 24):
                if not header[start + 12]:
                    break
                piece = number(header[start : start + 12]), number(header[start + 12 : start + 24])
                entry.pieces.append(piece)
            if not more:
                return
            if len(entry.pieces) > _MOST_PIECES:
                raise Refused(f"{show(entry.name)} has more than {_MOST_PIECES} pieces")
            self._spend(BLOCK)
            header = self._source.take(BLOCK)
            at, count, more = 0, 21, header[504]


def _check_sum(header: bytes) -> None:
    """Adler's sum holds the plain one, modulo 65521: that of 512 bytes is told by it, at C's speed."""
    try:
        told = number(header[148:156])
    except Refused:
        raise Refused("it is no tar archive, or damaged", AGAIN) from None
    summed = zlib.adler32(header[156:], zlib.adler32(header[:148])) & 0xFFFF
    if summed == (told - 255) % 65521:
        return
    # Old programs took the bytes for signed ones.
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:])
    if told != signed + 256:
        raise Refused("it is no tar archive, or damaged", AGAIN)


def _parse(header: bytes, kind: bytes, name: bytes, link: bytes) -> Entry:
    entry = Entry()
    entry.name = name or header[:100].partition(b"\0")[0]
    entry.link = link or header[157:257].partition(b"\0")[0]
    entry.mode = number(header[100:108]) & 0o7777
    entry.uid = number(header[108:116])
    entry.gid = number(header[116:124])
    entry.size = number(header[124:136])
    seconds = number(header[136:148])
    entry.mtime = _within(seconds * 10**9) if abs(seconds) < 2**40 else 0
    entry.pieces = []
    entry.xattrs = []
    entry.real_size = entry.major = entry.minor = 0
    if kind in (b"\0", b"7", b"0"):
        # V7 knew folders by their names.
        kind = b"5" if kind == b"\0" and entry.name.endswith(b"/") else b"0"
    if kind in (b"3", b"4"):
        entry.major = number(header[329:337])
        entry.minor = number(header[337:345])
    if ord(kind) in _WITHOUT_CONTENT:
        entry.size = 0
    if not name and header[257:263] == b"ustar\0" and header[345]:
        entry.name = header[345:500].partition(b"\0")[0] + b"/" + entry.name
    entry.kind = kind
    return entry


def _check(entry: Entry) -> None:
    if len(entry.name) > _LONGEST_PATH or len(entry.link) > _LONGEST_PATH:
        raise Refused(f"{show(entry.name)}: the path is too long")
    if b"\0" in entry.name or b"\0" in entry.link:
        raise Refused(f"{show(entry.name)}: the name has a NUL in it", AGAIN)
    if not 0 <= entry.size < _MOST_NUMBER:
        raise Refused(f"{show(entry.name)}: the size is damaged", AGAIN)
    if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
        raise Refused(f"{show(entry.name)}: there is no such owner ({entry.uid}:{entry.gid})", AGAIN)
    if entry.kind == b"S":
        _check_pieces(entry)


def _check_pieces(entry: Entry) -> None:
    """In order, apart, within the file, and as much as there is content."""
    end = total = 0
    for offset, size in entry.pieces:
        if offset < end or size < 0:
            break
        end = offset + size
        total += size
    else:
        if end <= entry.real_size < _MOST_NUMBER and total == entry.size:
            return
    raise Refused(f"{show(entry.name)}: its map is damaged", AGAIN)


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_PIECES:
        raise Refused("the map of a sparse file is damaged", AGAIN)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def parse_records(content: bytes) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """The records of a PAX header (lines of LENGTH KEY=VALUE), and the pieces of a sparse file among them."""
    records: dict[bytes, bytes] = {}
    pieces: list[tuple[bytes, bytes]] = []
    offset = b""
    at = 0
    while at < len(content) and content[at]:
        space = content.find(b" ", at, at + 20)
        end = at + decimal(content[at:space]) if space > 0 else 0
        equals = content.find(b"=", space, end)
        if not space < equals < end <= len(content) or content[end - 1] != 0x0A:
            raise Refused("an extended header is damaged", AGAIN)
        key, value = content[space + 1 : equals], content[equals + 1 : end - 1]
        if key == b"GNU.sparse.offset":
            offset = value
        elif key == b"GNU.sparse.numbytes":
            pieces.append((offset, value))
        else:
            records[key] = value
        at = end
    return records, pieces


def number(field: bytes) -> int:
    """Octal digits, or (GNU) two's complement in base 256 when the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(1 << (8 * len(field) - 1))
        # The first byte is 0x80 for positive ones, 0xff for negative ones.
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip(b" ")
    try:
        value = int(text, 8) if text else 0
    except ValueError:
        raise Refused("a number in a header is damaged", AGAIN) from None
    return value


def decimal(text: bytes) -> int:
    """Digits only, of at most 63 bits."""
    if not text.isdigit() or len(text) > 20 or int(text) >= _MOST_NUMBER:
        raise Refused("a number in a header is damaged", AGAIN)
    return int(text)


def nanoseconds(text: bytes, otherwise: int) -> int:
    """Seconds with a fraction, exactly as written and within what file systems hold."""
    whole, _dot, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 20 or not (fraction + b"0").isdigit():
        return otherwise
    value = int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if value >= 2**40 * 10**9:
        return otherwise
    return _within(-value if text.startswith(b"-") else value)


def _within(mtime: int) -> int:
    return min(max(mtime, -(2**31) * 10**9), 2**34 * 10**9)


def show(name: bytes) -> str:
    """For a person: what cannot be printed is escaped."""
    text = name.decode("utf-8", "surrogateescape")
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
