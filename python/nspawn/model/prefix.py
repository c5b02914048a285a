"""Addresses and prefixes as numbers; the ipaddress module costs 4 ms to import."""

from __future__ import annotations

import _socket

BITS = {4: 32, 6: 128}
_FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6}


def address(text: str) -> tuple[int, int]:
    """(family, number) of an address, or ValueError."""
    family = 6 if ":" in text else 4
    try:
        return family, int.from_bytes(_socket.inet_pton(_FAMILIES[family], text), "big")
    except OSError:
        raise ValueError(f"{text[:60]!r} is no address") from None


def spell(family: int, number: int) -> str:
    """The address in its one spelling."""
    return _socket.inet_ntop(_FAMILIES[family], number.to_bytes(BITS[family] // 8, "big"))


def parse(text: str) -> tuple[int, int, int]:
    """(family, number, length) of a prefix, whose host bits may be set; or ValueError."""
    head, slash, tail = text.partition("/")
    family, number = address(head)
    if not slash:
        return family, number, BITS[family]
    if not (tail.isascii() and tail.isdecimal() and len(tail) <= 3 and int(tail) <= BITS[family]):
        raise ValueError(f"{text[:60]!r} is no prefix")
    return family, number, int(tail)


def network(family: int, number: int, length: int) -> int:
    """The number with its host bits cleared."""
    shift = BITS[family] - length
    return number >> shift << shift


def overlap(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two prefixes share an address."""
    if one[0] != other[0]:
        return False
    shift = BITS[one[0]] - min(one[2], other[2])
    return one[1] >> shift == other[1] >> shift
