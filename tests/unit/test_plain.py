from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.cli.plain import Plain


def through(*pieces: bytes) -> bytes:
    plain = Plain()
    return b"".join(plain.feed(piece) for piece in pieces) + plain.end()


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        (b"plain\n", b"plain\n"),
        (b"a\r\nb\r\r\n", b"a\nb\n"),
        (b"10%\r20%\n", b"10%\r20%\n"),
        (b"\x1b[1;31mred\x1b[0m", b"\x1b[1;31mred\x1b[0m"),
        (b"\x1b[6n\x1b[c\x1b[2J\x1b[Hx", b"x"),
        (b"\x1b]0;title\x07x", b"x"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\x", b"x"),
        (b"\x1bP$q\x1b\\x", b"x"),
        (b"\x1b(Bx\x1b=\x1b>\x1bc", b"x"),
        (b"a\x07\x08\x00\x7fb\tc", b"ab\tc"),
        ("gr\xfc\xdf \U0001f600".encode(), "gr\xfc\xdf \U0001f600".encode()),
        (b"x\xc2\x9b6ny", b"x6ny"),
        (b"a\x1b\xc2\x00b", "a\ufffdb".encode()),
        (b"a\x1b[\x1b?mb", b"a[mb"),
        (b"a\x1b\x00?b\r\x00\n", b"ab\n"),
        (b"end\x1b[", b"end"),
        (b"end\x1b", b"end"),
        (b"end\r", b"end\r"),
    ],
)
def test_what_is_shown(given_: bytes, shown: bytes) -> None:
    assert through(given_) == shown
    assert through(*(given_[at : at + 1] for at in range(len(given_)))) == shown


PIECES = st.lists(
    st.sampled_from(
        (b"\x1b", b"[", b"]", b"6", b"n", b"m", b"P", b"\\", b"\x07", b"\xc2", b"\x9b", b"\r", b"\n", b"a")
    )
    | st.binary(max_size=4)
)


@given(PIECES)
def test_nothing_but_colours_gets_through(pieces: list[bytes]) -> None:
    shown = through(*pieces)
    rest = shown
    while b"\x1b" in rest:
        rest = rest[rest.index(b"\x1b") + 1 :]
        assert rest.startswith(b"[")
        assert rest[1:].lstrip(b"0123456789:;<=>?").startswith(b"m")
    assert not set(shown) & {*range(9), 11, 12, *range(14, 27), *range(28, 32), 127}
    assert not any(bytes((0xC2, code)) in shown for code in range(0x80, 0xA0))


@given(st.binary(max_size=50))
def test_the_cut_makes_no_difference(data: bytes) -> None:
    assert through(*(data[at : at + 1] for at in range(len(data)))) == through(data)
