"""Just enough of ELF (elf(5)) to give Debian's programs the places of Android.

All these replacements fit into the old text, so no tool that rewrites sections is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5


def is_elf(data: bytes) -> bool:
    return data[:5] == b"\x7fELF\x02"


def interpreter(data: bytes) -> str:
    """The dynamic loader that the file asks for; "" for a static program and for a library."""
    for kind, offset, _, size in _segments(data):
        if kind == _INTERPRETER:
            return data[offset : offset + size].rstrip(b"\0").decode()
    return ""


def with_interpreter(data: bytes, path: str) -> bytes:
    """The same program for another loader, whose path must not be longer."""
    for kind, offset, _, size in _segments(data):
        if kind == _INTERPRETER:
            text = path.encode()
            assert len(text) < size, path
            return data[:offset] + text.ljust(size, b"\0") + data[offset + size :]
    return data


def needed(data: bytes) -> list[str]:
    """The libraries that it names (DT_NEEDED)."""
    segments = list(_segments(data))
    entries = [
        struct.unpack_from("<qQ", data, offset + place)
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for place in range(0, size, 16)
    ]
    strings = next((value for tag, value in entries if tag == _STRINGS), 0)
    start = next(
        (
            strings - address + offset
            for kind, offset, address, size in segments
            if kind == _LOAD and address <= strings < address + size
        ),
        0,
    )
    return [_text(data, start + value) for tag, value in entries if tag == _NEEDED]


def with_text(data: bytes, old: str, new: str, fill: str = "\0") -> bytes:
    """Every C string `old` as `new`, filled up to the same length."""
    before, after = old.encode() + b"\0", new.encode().ljust(len(old), fill.encode()) + b"\0"
    assert len(before) == len(after), new
    assert before in data, old
    return data.replace(before, after)


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Kind, offset, address and size in the file of each program header."""
    if not is_elf(data):
        return
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + index * size)
        yield kind, offset, address, length


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
