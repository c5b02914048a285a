from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.model.boot import plan
from nspawn.model.settings import Autostart


def on(order: int = 0, delay: float = 0.0, after: tuple[str, ...] = ()) -> Autostart:
    return Autostart(enabled=True, order=order, delay=delay, after=after)


@pytest.mark.parametrize(
    ("containers", "starts", "skipped"),
    [
        ({}, [], {}),
        ({"a": Autostart()}, [], {}),
        ({"b": on(), "a": on()}, ["a", "b"], {}),
        ({"b": on(-1), "a": on()}, ["b", "a"], {}),
        ({"a": on(-5, after=("b",)), "b": on()}, ["b", "a"], {}),
        ({"a": on(after=("b",)), "b": on(after=("c",)), "c": on(9)}, ["c", "b", "a"], {}),
        ({"a": on(after=("b",)), "b": Autostart()}, ["a"], {}),
        ({"a": on(after=("gone",)), "b": on()}, ["b"], {"a": "it starts after gone, which does not exist"}),
        ({"a": on(after=("a",))}, [], {"a": "these wait for each other: a"}),
        (
            {"a": on(after=("b",)), "b": on(after=("a",)), "c": on(after=("a",)), "d": on()},
            ["d"],
            {
                "a": "these wait for each other: a, b",
                "b": "these wait for each other: a, b",
                "c": "it starts after a, which is skipped",
            },
        ),
    ],
)
def test_order(containers: dict[str, Autostart], starts: list[str], skipped: dict[str, str]) -> None:
    found = plan(containers)
    assert list(found.starts) == starts
    assert dict(found.skipped) == skipped


NAMES = st.sampled_from("abcdefgh")
WISHES = st.builds(
    Autostart,
    enabled=st.booleans(),
    order=st.integers(-3, 3),
    after=st.lists(NAMES, max_size=3).map(tuple),
)


@given(st.dictionaries(NAMES, WISHES))
def test_every_enabled_one_starts_behind_its_dependencies_or_is_skipped(
    containers: dict[str, Autostart],
) -> None:
    found = plan(containers)
    started = list(found.starts)
    assert sorted([*started, *dict(found.skipped)]) == sorted(
        n for n, wish in containers.items() if wish.enabled
    )
    for index, name in enumerate(started):
        for other in containers[name].after:
            assert other in started[:index] or not containers[other].enabled
