"""Records: the messages of the control socket and the files of the run state.

A record is a list of `key=value` fields separated by NUL, keys may repeat, in the manner of
/proc/PID/environ.  Paths, arguments and environment variables cannot hold NUL, so nothing needs
escaping; decoding cannot execute or allocate more than it was given; and neither the spawner nor a
start imports a parser (json costs 10 ms and 1.3 MB).
"""

from __future__ import annotations

from nspawn.errors import BY_CODE, Damaged, NspawnError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Value = str | bytes | int | float
    Fields = Iterable[tuple[str, "Value"]]


def to_bytes(value: Value) -> bytes:
    """Text as UTF-8 with surrogate escapes (as file names travel), numbers in decimal."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        value = repr(value)
    return value.encode("utf-8", "surrogateescape")


class Record:
    """Ordered fields; the first of a key is the one that counts unless all are asked for."""

    __slots__ = ("fields",)

    def __init__(self, fields: Fields = ()) -> None:
        self.fields: list[tuple[str, bytes]] = [(key, to_bytes(value)) for key, value in fields]

    def __repr__(self) -> str:
        return f"Record({self.fields!r})"

    def add(self, key: str, value: Value) -> None:
        self.fields.append((key, to_bytes(value)))

    def get(self, key: str) -> bytes | None:
        for found, value in self.fields:
            if found == key:
                return value
        return None

    def all(self, key: str) -> list[bytes]:
        return [value for found, value in self.fields if found == key]

    def text(self, key: str, default: str = "") -> str:
        value = self.get(key)
        return default if value is None else value.decode("utf-8", "surrogateescape")

    def flag(self, key: str) -> bool:
        return self.get(key) == b"1"

    def integer(self, key: str, default: int = 0) -> int:
        """Damaged when the field is there and is no whole number."""
        return int(self._number(key, default, int))

    def number(self, key: str, default: float = 0.0) -> float:
        """Damaged when the field is there and is no number."""
        return float(self._number(key, default, float))

    def _number(self, key: str, default: float, kind: type[int | float]) -> float:
        value = self.get(key)
        if value is None:
            return default
        try:
            number = kind(value)
            if number - number != 0:  # nan, inf
                raise ValueError(value)
            return number
        except (ValueError, OverflowError):
            raise Damaged(f"the field {key!r} is not a number", repr(value[:40])) from None

    def encode(self) -> bytes:
        """The bytes; ValueError when a value holds NUL or a key holds `=`: a caller's mistake."""
        parts = []
        for key, value in self.fields:
            if b"\0" in value or "=" in key or "\0" in key:
                raise ValueError(f"a record cannot hold {key!r}={value[:40]!r}")
            parts.append(key.encode() + b"=" + value)
        return b"\0".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """The record in these bytes, or Damaged."""
        record = cls()
        if not data:
            return record
        for part in data.split(b"\0"):
            key, equals, value = part.partition(b"=")
            if not equals or not key.isascii():
                raise Damaged("not a record", f"the field {part[:40]!r} has no '='")
            record.fields.append((key.decode("ascii"), value))
        return record


def error_record(error: NspawnError) -> Record:
    """The error as a message; NUL cannot be in it."""
    record = Record((("error", error.code), ("exit", error.status)))
    for key, text in (("what", error.what), ("why", error.why), ("hint", error.hint)):
        record.add(key, text.replace("\0", "?"))
    return record


def raise_error(record: Record) -> None:
    """Raise the error that the message holds, if it holds one."""
    if record.get("error") is not None:
        kind = BY_CODE.get(record.text("error"), NspawnError)
        raise kind(
            record.text("what"), record.text("why"), record.text("hint"), status=record.integer("exit", 1)
        )
