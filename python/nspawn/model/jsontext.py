"""JSON from strangers: limits for its bytes, and for its values.

A value costs 50 bytes of memory and more, however short it is: a million of `[]` are 3 MB of text.
"""

from __future__ import annotations

import json
from typing import Any


class JsonError(ValueError):
    """It cannot be read; the text says why."""


def parse(data: bytes, *, largest: int, most: int) -> Any:
    """What the bytes stand for; JsonError.  largest: bytes.  most: values.

    Values are counted before anything is made of them: by the signs that begin one, also within texts, so
    that there are never more of them than counted.
    """
    if len(data) > largest:
        raise JsonError(f"it has more than {largest} bytes")
    if sum(map(data.count, (b",", b"[", b"{"))) > most:
        raise JsonError(f"it has more than {most} values")
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except ValueError as error:
        raise JsonError(f"it is not JSON: {error}"[:200]) from None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")
