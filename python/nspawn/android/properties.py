"""The phone's properties, all by one run of getprop."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_GETPROP = "/system/bin/getprop"
_SECONDS = 5.0
# A value may go on in the next line; a `]` ends it only before a line that begins like a property.
_LINE = re.compile(r"^\[([^\]\n]+)\]: \[(.*?)\]$(?=\n\[|\n*\Z)", re.MULTILINE | re.DOTALL)


def parse(text: str) -> dict[str, str]:
    """Values by name, from what `getprop` without arguments prints: `[name]: [value]`."""
    return {name: value.strip() for name, value in _LINE.findall(text)}


def read() -> Mapping[str, str]:
    """Every property; none when there is nobody to ask."""
    try:
        result = subprocess.run(
            [_GETPROP], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(result.stdout.decode("utf-8", "replace"))
