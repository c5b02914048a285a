"""The writing half of TOML, which the standard library lacks, for what settings hold.

Values: text, bool, int, finite float, lists of text, and one level of tables.  The reading half is
tomllib; the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# https://toml.io/en/v1.0.0#string: these need an escape in a basic string; DEL does too.
_ESCAPES = {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    127: "\\u007F",
}
_ESCAPES |= {code: f"\\u{code:04X}" for code in range(32) if code not in _ESCAPES}

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def dump(mapping: Mapping[str, object]) -> str:
    """The text of a document: plain values first, then the tables, each in the given order.

    ValueError for what TOML or this writer cannot hold (a lone surrogate, a nested table).
    """
    plain = [(key, value) for key, value in mapping.items() if not isinstance(value, Mapping)]
    lines = [f"{_key(key)} = {inline(value)}" for key, value in plain]
    for key, table in mapping.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{_key(key)}]"]
            lines += [f"{_key(name)} = {inline(value)}" for name, value in table.items()]
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """A basic string, in its quotes."""
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise ValueError("text that is not Unicode cannot be written")
    return f'"{text.translate(_ESCAPES)}"'


def _key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else quote(key)


def inline(value: object) -> str:
    """One value, a table in braces; ValueError for what TOML or this writer cannot hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return f"[{', '.join(inline(item) for item in value)}]"
    raise ValueError(f"{type(value).__name__} cannot be written")
