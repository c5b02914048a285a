"""Records: what goes in comes out, and no bytes at all bring anything but a record or Damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import BY_CODE, Conflict, Damaged, NspawnError
from nspawn.model.record import Record, error_record, raise_error

KEYS = st.text("abcdefghijklmnopqrstuvwxyz-.", min_size=1)
VALUES = st.binary().map(lambda raw: raw.replace(b"\0", b""))


@given(st.lists(st.tuples(KEYS, VALUES)))
def test_what_is_encoded_comes_back(fields: list[tuple[str, bytes]]) -> None:
    assert Record.decode(Record(fields).encode()).fields == fields


@given(st.binary())
def test_any_bytes_are_a_record_or_damaged(data: bytes) -> None:
    try:
        record = Record.decode(data)
    except Damaged:
        return
    assert record.encode() == data


def test_the_first_of_a_key_counts_and_all_are_there() -> None:
    record = Record((("a", "1"), ("b", 2), ("a", 3.5)))
    assert (record.text("a"), record.integer("b"), record.all("a")) == ("1", 2, [b"1", b"3.5"])
    assert (record.get("c"), record.text("c", "none"), record.integer("c", 7)) == (None, "none", 7)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x1"])
def test_a_field_that_is_no_whole_number_is_damaged(text: str) -> None:
    with pytest.raises(Damaged, match="'n' is not a number"):
        Record((("n", text),)).integer("n")


@pytest.mark.parametrize(("key", "value"), [("a", "x\0y"), ("a=b", "x"), ("a\0", "x")])
def test_what_a_record_cannot_hold_is_not_encoded(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        Record(((key, value),)).encode()


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_an_error_crosses_the_socket_whole(code: str) -> None:
    error = BY_CODE[code]("what", "why", "hint", status=9)
    with pytest.raises(BY_CODE[code]) as found:
        raise_error(Record.decode(error_record(error).encode()))
    assert type(found.value) is BY_CODE[code]
    assert (found.value.as_dict(), found.value.status) == (error.as_dict(), 9)


def test_no_error_is_raised_from_an_answer() -> None:
    raise_error(Record((("ok", 1),)))


def test_an_error_with_nul_can_be_sent() -> None:
    assert error_record(Conflict("a\0b")).text("what") == "a?b"


def test_an_unknown_error_is_still_an_error() -> None:
    with pytest.raises(NspawnError, match="odd"):
        raise_error(Record((("error", "of-a-newer-version"), ("what", "odd"))))
