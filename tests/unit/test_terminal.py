"""Leaving a console: Ctrl-] three times in a row, and nothing typed gets lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.container.terminal import Keys

ESCAPE = b"\x1d"


@pytest.mark.parametrize(
    ("pieces", "passed", "left"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([ESCAPE * 3], b"", True),
        ([ESCAPE, ESCAPE, ESCAPE], b"", True),
        ([b"a" + ESCAPE * 2 + b"b"], b"a" + ESCAPE * 2 + b"b", False),
        ([ESCAPE, b"x", ESCAPE * 2, b"y"], ESCAPE + b"x" + ESCAPE * 2 + b"y", False),
        ([b"a" + ESCAPE * 3 + b"b"], b"a", True),
    ],
)
def test_what_is_passed_on_and_when_it_ends(pieces: list[bytes], passed: bytes, left: bool) -> None:
    keys = Keys()
    found, ended = b"", False
    for piece in pieces:
        part, ended = keys.feed(piece)
        found += part
    assert (found, ended) == (passed, left)


@given(st.lists(st.binary()).filter(lambda pieces: ESCAPE * 3 not in b"".join(pieces)))
def test_nothing_typed_is_lost(pieces: list[bytes]) -> None:
    keys = Keys()
    found = b"".join(keys.feed(piece)[0] for piece in [*pieces, b"."])
    assert found == b"".join(pieces) + b"."
