"""Where the members of a tar lie, so that they can be read in any order (POSIX pax, GNU tar).

For tars that hold images, not root file systems: few members, short names.  Written for files that may have
been made to do harm: nothing is held but what the limits allow, whatever the headers say, and no member is
ever put on the disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.errors import Damaged
from nspawn.images.tarheaders import Refused, parse_records
from nspawn.model.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.progress import Asked

_BLOCK = 512
_WHAT = "the archive of the image cannot be read"
#: An image of the most layers, in the form that takes the most files for each.
MOST_MEMBERS = 10_000
_LONGEST_NAME = 1024
_LONGEST_EXTRA = 1 << 16
#: Of all headers that say something of other members.
_MOST_EXTRA = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in the archive.  offset: of its first byte.  link: the member that it stands for, or ""."""

    offset: int
    size: int
    link: str = ""


class NotTar(Damaged):
    """It is something else than a tar."""


def scan(descriptor: int, cancelled: Asked = lambda: False) -> dict[str, Member]:
    """The files and links of an uncompressed tar, by their names; the last of a name counts.

    descriptor: of a file that can be read at any place.  Raises Damaged, Cancelled.
    """
    size = os.fstat(descriptor).st_size
    found: dict[str, Member] = {}
    said: dict[str, str] = {}  # by a header for the member that follows
    at = count = extra = 0
    while at + _BLOCK <= size:
        if cancelled():
            raise Cancelled
        block = os.pread(descriptor, _BLOCK, at)
        if not any(block):
            break
        count += 1
        if count > 2 * MOST_MEMBERS:
            raise Damaged(_WHAT, f"it has more than {MOST_MEMBERS} members")
        header = _Header(block)
        start = at + _BLOCK
        length = _size(said.get("size"), header.size)
        if start + length > size:
            raise Damaged(_WHAT, "it ends in the middle", "Fetch or copy it again: it is cut off.")
        at = start + -(-length // _BLOCK) * _BLOCK
        if header.kind in "xgLK":
            said |= _extra(descriptor, header, start, length)
            extra += length
            if extra > _MOST_EXTRA:
                raise Damaged(_WHAT, "it consists of headers", "It was made to do harm, or by mistake.")
            continue
        name = said.get("path", header.name).removeprefix("./")
        link = said.get("linkpath", header.link).removeprefix("./")
        said = {}
        if len(name) > _LONGEST_NAME or len(link) > _LONGEST_NAME:
            raise Damaged(_WHAT, "a name in it is too long")
        if header.kind in "0\0" + "7":
            found[name] = Member(offset=start, size=length)
        elif header.kind in "12":
            # Symbolic links are relative to their folder; old Docker had them for layers that are the same.
            base = os.path.dirname(name) if header.kind == "2" else ""
            found[name] = Member(offset=0, size=0, link=os.path.normpath(os.path.join(base, link)))
        elif header.kind == "S":
            raise Damaged(_WHAT, "it has holes", "Make it again without --sparse.")
    return found


def look_up(members: Mapping[str, Member], name: str) -> Member | None:
    """The file of that name, through at most one link within the archive."""
    member = members.get(name)
    if member is not None and member.link:
        member = members.get(member.link)
    return None if member is None or member.link else member


def first_names(data: bytes) -> list[str]:
    """The names in a tar of which only the beginning is there; none for what is no tar."""
    names: list[str] = []
    at = 0
    while at + _BLOCK <= len(data) and any(data[at : at + _BLOCK]):
        try:
            header = _Header(data[at : at + _BLOCK])
        except Damaged:
            break
        if header.kind not in "xgLK":
            names.append(header.name)
        at += _BLOCK + -(-header.size // _BLOCK) * _BLOCK
    return names


class _Header:
    """One block before a member: name, size, kind, link."""

    __slots__ = ("kind", "link", "name", "size")

    def __init__(self, block: bytes) -> None:
        total = sum(block) - sum(block[148:156]) + 8 * 32  # the sum counts its own field as blanks
        if _number(block[148:156]) != total:
            raise NotTar(_WHAT, "it is not a tar, or is damaged")
        self.name = _text(block[:100])
        if block[257:263] == b"ustar\0" and block[345]:
            self.name = f"{_text(block[345:500])}/{self.name}"
        self.size = _number(block[124:136])
        self.kind = chr(block[156])
        self.link = _text(block[157:257])
        if self.kind in "12345":
            self.size = 0  # links, devices and folders have no content, whatever is written there


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary form; Damaged for anything else."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
        if number < 1 << 62:
            return number
    else:
        text = field.split(b"\0")[0].strip(b" ")
        if not text:
            return 0
        if all(digit in b"01234567" for digit in text):
            return int(text, 8)
    raise NotTar(_WHAT, "a number in it is none")


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")


def _size(said: str | None, own: int) -> int:
    if said is None:
        return own
    if not (said.isascii() and said.isdigit() and len(said) < 19):
        raise Damaged(_WHAT, "a number in it is none")
    return int(said)


def _extra(descriptor: int, header: _Header, start: int, length: int) -> dict[str, str]:
    """What a header says of the next member: pax records (`x`), or GNU's long name (`L`) or link (`K`)."""
    if length > _LONGEST_EXTRA:
        raise Damaged(_WHAT, "a header in it is too long")
    data = os.pread(descriptor, length, start)
    if header.kind == "g":
        return {}  # of all members: comments
    if header.kind in "LK":
        return {"path" if header.kind == "L" else "linkpath": _text(data)}
    try:
        records, pieces = parse_records(data)
    except Refused:
        raise Damaged(_WHAT, "a header in it is damaged") from None
    if pieces or any(key.startswith(b"GNU.sparse.") for key in records):
        raise Damaged(_WHAT, "it has holes", "Make it again without --sparse.")
    return {
        key: records[key.encode()].decode("utf-8", "replace")
        for key in ("path", "linkpath", "size")
        if key.encode() in records
    }
