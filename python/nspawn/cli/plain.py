"""A console's output for another terminal: text and colours, nothing that acts on the terminal.

What a container writes may move the cursor, set titles, or make the terminal answer as if somebody typed.
"""

from __future__ import annotations

import re

# Single characters that act; not tab, line feed, bell (it ends strings), escape, nor an overwriting return.
_CONTROLS = re.compile(rb"[\x00-\x06\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
_RETURNS = re.compile(rb"\r+(?=\n)")
# ECMA-48: control sequences, of which only `m` (colours) is kept, strings (OSC, DCS, ...), other escapes, C1;
# then what begins one and does not go on; and half a character.  In one pass: what a removal brings together
# is not looked at again, and so is no sequence.
_SEQUENCES = re.compile(
    rb"\x1b\[[0-?]*([ -/]*[@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\`-~]|\xc2[\x80-\x9f]"
    rb"|\x1b|\x07|\xc2(?![\x80-\xbf])"
)
#: A sequence, or the first byte of one, which may go on in the next piece.
_UNFINISHED = re.compile(rb"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)|\xc2|\r+)\Z")
_LONGEST = 4096
#: For half a character: its bytes neither continue nor end a sequence.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


class Plain:
    """Feed it the pieces as they come."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What can be shown of all that came so far."""
        # At once, so that a sequence with one of them inside is the same sequence wherever the pieces end.
        data = self._kept + _CONTROLS.sub(b"", data)
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _LONGEST))
        cut = unfinished.start() if unfinished else len(data)
        data, self._kept = data[:cut], data[cut:]
        return _clean(data)

    def end(self) -> bytes:
        """What is left when nothing comes any more."""
        data, self._kept = self._kept, b""
        return data if data.startswith(b"\r") else b""


def _clean(data: bytes) -> bytes:
    return _SEQUENCES.sub(_keep, _RETURNS.sub(b"", data))


def _keep(found: re.Match[bytes]) -> bytes:
    if found[0] == b"\xc2":
        return _REPLACEMENT
    return found[0] if found[1] == b"m" else b""
