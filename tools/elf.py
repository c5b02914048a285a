"""Reads what the bundle's build and its checks must know of an ELF file (man 5 elf; 64-bit little-endian)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
MACHINES = {62: "x86_64", 183: "aarch64"}


@dataclass(frozen=True, kw_only=True)
class Elf:
    """interpreter, rpath: "" for none. alignments: of the segments that are loaded, in bytes."""

    machine: str
    interpreter: str
    needed: tuple[str, ...]
    rpath: str
    runpath: str
    alignments: tuple[int, ...]


def is_elf(data: bytes) -> bool:
    """Whether this is an ELF file of a kind that we read."""
    return data[:6] == b"\x7fELF\x02\x01"


def read_elf(data: bytes) -> Elf:
    """What an ELF file says of itself. data: a file for which is_elf holds."""
    machine = struct.unpack_from("<H", data, 18)[0]
    start = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    loads, interpreter, dynamic = [], "", []
    for index in range(count):
        kind, _, offset, address, _, length, _, align = struct.unpack_from(
            "<IIQQQQQQ", data, start + index * size
        )
        if kind == PT_LOAD:
            loads.append((address, offset, length, align))
        elif kind == PT_INTERP:
            interpreter = _text(data, offset)
        elif kind == PT_DYNAMIC:
            dynamic = list(struct.iter_unpack("<QQ", data[offset : offset + length]))
    strings = next((value for tag, value in dynamic if tag == DT_STRTAB), 0)
    # The dynamic section tells where strings are in memory; the segments tell where that is in the file.
    strings = next((strings - at + place for at, place, long, _ in loads if at <= strings < at + long), 0)

    def texts(wanted: int) -> tuple[str, ...]:
        return tuple(_text(data, strings + value) for tag, value in dynamic if tag == wanted)

    return Elf(
        machine=MACHINES.get(machine, str(machine)),
        interpreter=interpreter,
        needed=texts(DT_NEEDED),
        rpath="".join(texts(DT_RPATH)),
        runpath="".join(texts(DT_RUNPATH)),
        alignments=tuple(align for _, _, _, align in loads),
    )


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
