"""The table `images` of config.toml, checked: where images come from, and how they are fetched."""

from __future__ import annotations

from typing import NamedTuple

from nspawn.errors import UsageError
from nspawn.model import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.tables import Check

SERVER = "https://images.linuxcontainers.org"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SLOWEST, _FASTEST = 1 << 10, 1 << 40
_MOST_MIRRORS, _LONGEST_URL = 16, 500
_MOST_PARALLEL, _MOST_RETRIES = 16, 50
_WEEK = 7 * 24 * 3600


class Fetching(NamedTuple):
    """What a person may choose about images.

    server: of distributions; index and hashes come from it.  mirrors: asked before it, for blobs only.
    keep: what is fetched is also stored.  bandwidth: bytes per second of all downloads of a command or job
    together, 0 for no limit.  parallel: downloads at once.  retries: in a row without progress, of each url.
    connect_timeout, stall_timeout: seconds until a connection, and without enough data, are given up and
    tried again.  timeout: seconds for one whole download, 0 for no limit.
    """

    server: str = SERVER
    mirrors: tuple[str, ...] = ()
    keep: bool = False
    bandwidth: int = 0
    parallel: int = 3
    retries: int = 5
    connect_timeout: float = 15.0
    stall_timeout: float = 30.0
    timeout: float = 0.0


def from_table(table: Mapping[str, object], what: str = "images") -> Fetching:
    """The table `[images]` as tomllib gives it, checked in whole; or UsageError.  what begins the errors."""
    found = tables.read(table, _CHECKS, what)
    return Fetching(**found)  # type: ignore[arg-type]  # each check gives its field's type


def parse_server(value: object, what: str) -> str:
    """The address of a server, without a slash at its end; or UsageError.  Whether http will do is told when
    it is asked (`images.http`).
    """
    hint = f'Give an address such as "{SERVER}".'
    text = tables.text(value, what, hint)
    scheme, there, rest = text.partition("://")
    host = rest.partition("/")[0]
    good = text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\^`{|}?#")
    if not good or not there or not host or scheme.lower() not in ("https", "http"):
        raise UsageError(f"{what}: {text[:80]!r} is not the address of a server", hint=hint)
    if "@" in host:
        raise UsageError(f"{what}: a name or password cannot be in an address", hint=hint)
    if len(text) > _LONGEST_URL:
        raise UsageError(f"{what}: the address is too long", f"it has {len(text)} characters", hint)
    return text.rstrip("/")


def _mirrors(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise tables.expected("a list of texts", value, what)
    if len(value) > _MOST_MIRRORS:
        raise UsageError(f"{what}: there are {len(value)}", f"at most {_MOST_MIRRORS} are asked")
    return tuple(dict.fromkeys(parse_server(each, what) for each in value))


def parse_bandwidth(value: object, what: str) -> int:
    """Bytes per second: a number, or a text with K, M or G (of 1024) behind it; 0 for no limit."""
    hint = 'Give bytes per second: 500000, "500K", "2M", or 0 for no limit.'
    number: object = value
    if isinstance(value, str):
        text = value.strip().upper().removesuffix("/S").removesuffix("B").removesuffix("I")
        digits = text.rstrip("".join(_UNITS))
        unit = _UNITS.get(text[len(digits) :])
        number = (
            int(digits) * unit
            if unit and digits.isascii() and digits.isdigit() and len(digits) < 14
            else None
        )
    if isinstance(number, bool) or not isinstance(number, int):
        raise UsageError(f"{what}: {str(value)[:40]!r} is no bandwidth", hint=hint)
    if number != 0 and not _SLOWEST <= number <= _FASTEST:
        raise UsageError(f"{what}: {str(value)[:40]!r} is out of range", "from 1K to 1024G", hint)
    return number


def _count(least: int, most: int) -> Check:
    return lambda value, what: tables.whole(value, what, least, most, f"a number from {least} to {most}")


def _seconds(least: float, most: float, *, none: bool = False) -> Check:
    kind = f"seconds from {least:g} to {most:g}"

    def check(value: object, what: str) -> float:
        if not none:
            return tables.number(value, what, least, most, kind)
        if value == 0 and not isinstance(value, bool):
            return 0.0
        return tables.number(value, what, least, most, f"0 (no limit), or {kind}")

    return check


_CHECKS: dict[str, Check] = {
    "server": parse_server,
    "mirrors": _mirrors,
    "keep": tables.flag,
    "bandwidth": parse_bandwidth,
    "parallel": _count(1, _MOST_PARALLEL),
    "retries": _count(0, _MOST_RETRIES),
    "connect_timeout": _seconds(1, 600),
    "stall_timeout": _seconds(1, 3600),
    "timeout": _seconds(10, _WEEK, none=True),
}
