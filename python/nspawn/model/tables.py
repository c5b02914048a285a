"""How a table of config.toml is checked: one check for each setting; what is wrong is told by its path.

A check takes the value as tomllib gives it and the setting's path, and gives what it means, or UsageError.
"""

from __future__ import annotations

from nspawn.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[object, str], object]


def read(table: Mapping[str, object], checks: Mapping[str, Check], what: str) -> dict[str, object]:
    """What is set in the table, checked in whole; or UsageError.  what begins the errors."""
    found: dict[str, object] = {}
    for key, value in table.items():
        check = checks.get(key)
        if check is None:
            raise UsageError(
                f"{what}.{key[:80]}: there is no such setting", hint=f"There are: {', '.join(checks)}."
            )
        found[key] = check(value, f"{what}.{key}")
    return found


def expected(kind: str, value: object, what: str, why: str = "", hint: str = "") -> UsageError:
    """The error for a value that is not of the kind: "a text"."""
    return UsageError(f"{what}: expected {kind}, got {str(value)[:40]!r}", why, hint)


def flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise expected("true or false", value, what)
    return value


def text(value: object, what: str, hint: str = "") -> str:
    if not isinstance(value, str):
        raise expected("a text", value, what, hint=hint)
    return value


def texts(value: object, what: str, hint: str = "") -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise expected("a list of texts", value, what, hint=hint)
    return value


def whole(value: object, what: str, least: int, most: int, kind: str, why: str = "") -> int:
    """A whole number in these bounds; kind: how the error calls it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise expected(kind, value, what, why)
    return value


def number(value: object, what: str, least: float, most: float, kind: str) -> float:
    """Likewise, also with a fraction."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise expected(kind, value, what)  # nan, too
    return float(value)
