"""Restart policies: after which end, after how long, how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.model.restart import POLICIES, Policy


@pytest.mark.parametrize(
    ("name", "failed", "again"),
    [
        ("no", True, False),
        ("no", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_which_end_is_followed_by_a_restart(name: str, failed: bool, again: bool) -> None:
    assert (Policy(name).next_delay(failed=failed, tries=0) is not None) == again


def test_the_wait_doubles_up_to_its_limit() -> None:
    policy = Policy("always", delay=0.5, max_delay=3.0)
    assert [policy.next_delay(failed=True, tries=n) for n in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_number_of_restarts_is_limited() -> None:
    policy = Policy("always", max_tries=2)
    assert [policy.next_delay(failed=True, tries=n) is None for n in range(4)] == [False, False, True, True]


@given(st.sampled_from(POLICIES), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**9))
def test_a_wait_is_never_longer_than_its_limit(name: str, delay: float, limit: float, tries: int) -> None:
    found = Policy(name, delay=delay, max_delay=limit).next_delay(failed=True, tries=tries)
    assert found is None or 0 <= found <= limit
