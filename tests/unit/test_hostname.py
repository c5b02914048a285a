"""/etc/hosts: the container's name stands on the line of 127.0.1.1, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.container.hostname import hosts


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "127.0.1.1\tbox\n"),
        ("127.0.0.1 localhost", "127.0.0.1 localhost\n127.0.1.1\tbox\n"),
        ("127.0.0.1 localhost\n127.0.1.1 other\n", "127.0.0.1 localhost\n127.0.1.1\tbox\n"),
        ("127.0.1.1 a\n127.0.1.1 b\n", "127.0.1.1\tbox\n"),
        ("#127.0.1.1 box\n", "#127.0.1.1 box\n127.0.1.1\tbox\n"),
        ("127.0.1.1 boxer\n", "127.0.1.1\tbox\n"),
    ],
)
def test_the_name_is_put_in(old: str, new: str) -> None:
    assert hosts(old, "box") == new


@pytest.mark.parametrize(
    "old", ["127.0.1.1 box\n", "127.0.1.1\tother box alias # x\n::1 localhost\n", "127.0.1.1 box"]
)
def test_a_file_that_has_it_stays_as_it_is(old: str) -> None:
    assert hosts(old, "box") == old


@given(st.text(st.sampled_from("127.0.1 box#\n\t")))
def test_a_second_run_changes_nothing(old: str) -> None:
    once = hosts(old, "box")
    assert hosts(once, "box") == once
