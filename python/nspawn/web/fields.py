"""The edge: a request's JSON or query becomes typed values here, and errors name the attribute's path."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, TypeVar, overload
from urllib.parse import unquote_to_bytes

from nspawn.errors import UsageError

#: Longest text value, in characters: PATH_MAX with room.
LONGEST_TEXT = 8192
#: Bytes of a header with JSON in it; all headers of a request have 32 KiB.
LONGEST_HEADER = 24 * 1024
_ENCODED = re.compile(r"(?:[A-Za-z0-9_.!~*'()-]|%[0-9A-Fa-f]{2})+")

T = TypeVar("T")


class _Missing:
    """The absence of a default."""


MISSING: Final = _Missing()

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def kind_of(value: object) -> str:
    """The JSON type of a value, as a person names it."""
    return _KINDS.get(type(value), "a number")


def wrong(path: str, why: str) -> NoReturn:
    """Raise the error of one attribute; path such as `source.path`, or empty for the whole body."""
    raise UsageError(f"the request's {path or 'body'} is wrong", why)


class Fields:
    """A JSON object that is read attribute by attribute; `finish` refuses what nobody read."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            wrong(path, f"an object is expected, not {kind_of(value)}")
        self._values: dict[str, Any] = value
        self._path = path
        self._read: set[str] = set()

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        return name in self._values

    def _take(self, name: str, default: object) -> object:
        self._read.add(name)
        if name in self._values:
            return self._values[name]
        if default is MISSING:
            wrong(self.path(name), "it is missing")
        return default

    @overload
    def text(self, name: str) -> str: ...
    @overload
    def text(self, name: str, default: T) -> str | T: ...
    def text(self, name: str, default: object = MISSING) -> object:
        """A text without NUL and without lone surrogates, at most `LONGEST_TEXT` characters."""
        value = self._take(name, default)
        return value if value is default else parse_text(value, self.path(name))

    @overload
    def flag(self, name: str) -> bool: ...
    @overload
    def flag(self, name: str, default: T) -> bool | T: ...
    def flag(self, name: str, default: object = MISSING) -> object:
        value = self._take(name, default)
        if value is default:
            return value
        if not isinstance(value, bool):
            wrong(self.path(name), f"true or false is expected, not {kind_of(value)}")
        return value

    def number(self, name: str, *, low: float, high: float, default: float | None = None) -> float | None:
        """A number from low to high; the default when it is absent or null."""
        value = self._take(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            wrong(self.path(name), f"a number is expected, not {kind_of(value)}")
        if not low <= value <= high:
            wrong(self.path(name), f"it is not between {low:g} and {high:g}")
        return float(value)

    def texts(self, name: str) -> list[str]:
        """A list of texts; an empty one when it is absent."""
        value = self._take(name, [])
        if not isinstance(value, list):
            wrong(self.path(name), f"a list is expected, not {kind_of(value)}")
        return [parse_text(item, f"{self.path(name)}[{index}]") for index, item in enumerate(value)]

    def inner(self, name: str) -> Fields:
        return Fields(self._take(name, MISSING), self.path(name))

    def items(self) -> list[tuple[str, object]]:
        """Every attribute and its value, all of them counted as read."""
        self._read.update(self._values)
        return list(self._values.items())

    def finish(self) -> None:
        """Refuse attributes that nothing read: a misspelt one would be lost silently."""
        for name in self._values:
            if name not in self._read:
                wrong(self.path(name[:80]), "there is no such attribute")


def parse_text(value: object, path: str) -> str:
    """The value as a text that may travel on, or UsageError."""
    if not isinstance(value, str):
        wrong(path, f"a text is expected, not {kind_of(value)}")
    if len(value) > LONGEST_TEXT:
        wrong(path, f"it is longer than {LONGEST_TEXT} characters")
    if "\0" in value:
        wrong(path, "it holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        wrong(path, "it holds half a surrogate pair")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_body(data: bytes) -> Fields:
    """The request's JSON object; no bytes at all count as an empty one."""
    if not data.strip():
        return Fields({})
    return _parse_json(data, "")


def parse_header(text: str, name: str) -> Fields:
    """The JSON object in a header, percent-encoded as `encodeURIComponent` does; at most `LONGEST_HEADER`."""
    if len(text) > LONGEST_HEADER:
        wrong(name, f"it is longer than {LONGEST_HEADER} bytes")
    if not _ENCODED.fullmatch(text):
        wrong(name, "it is not percent-encoded")
    return _parse_json(unquote_to_bytes(text), name)


def _parse_json(data: bytes, path: str) -> Fields:
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise UsageError(f"the request's {path or 'body'} is not JSON", "it is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request's {path or 'body'} is not JSON", str(error)[:200]) from None
    return Fields(value, path)


def parse_count(text: str, path: str, *, low: int, high: int) -> int:
    """A decimal whole number of the query from low to high."""
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        wrong(path, f"a whole number from {low} to {high} is expected")
    return int(text)
