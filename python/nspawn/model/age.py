"""How long something is ago, for a person."""

from __future__ import annotations


def ago(seconds: float) -> str:
    """`3 days`, `1 hour`, `a moment`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count > 0:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
