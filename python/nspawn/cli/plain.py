"""A console's output for another terminal: text and colours, nothing that acts on the terminal.

What a container writes may move the cursor, set titles, or make the terminal answer as if somebody typed.
"""

from __future__ import annotations

import re

# ECMA-48: control sequences (only `m`, colours, is kept), strings (OSC, DCS, ...), other escapes, controls.
_CSI = rb"\x1b\[[0-?]*[ -/]*([@-~])"
_STRING = rb"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
_ESCAPE = rb"\x1b[ -/]*[0-Z\\`-~]"
_CONTROL = rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]|\r(?=[\r\n])"
_PARTS = re.compile(rb"|".join((_CSI, _STRING, _ESCAPE, _CONTROL)))
#: A sequence, or the first byte of one, which may go on in the next piece.
_UNFINISHED = re.compile(rb"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?|\xc2|\r)\Z")
_LONGEST = 4096


class Plain:
    """Feed it the pieces as they come."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What can be shown of all that came so far."""
        data = self._kept + data
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _LONGEST))
        cut = unfinished.start() if unfinished else len(data)
        data, self._kept = data[:cut], data[cut:]
        return _PARTS.sub(_keep, data).replace(b"\x1b", b"") if b"\x1b" not in data else _colours(data)

    def end(self) -> bytes:
        """What is left when nothing comes any more."""
        data, self._kept = self._kept, b""
        return data if data == b"\r" else b""


def _keep(found: re.Match[bytes]) -> bytes:
    return found[0] if found[1] == b"m" else b""


def _colours(data: bytes) -> bytes:
    """Without any escape that is no colour, finished or not."""
    kept = _PARTS.sub(_keep, data)
    return re.sub(rb"\x1b(?!\[[0-?]*m)", b"", kept)
