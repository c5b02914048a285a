from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.model.boot import CONDITIONS, step
from nspawn.model.settings import Autostart


def on(
    *after: str, order: int = 0, delay: float = 0.0, when: tuple[str, ...] = (), enabled: bool = True
) -> Autostart:
    return Autostart(enabled=enabled, order=order, delay=delay, after=after, when=when)


UPLINK, STORAGE = ("uplink",), ("storage",)


@pytest.mark.parametrize(
    ("containers", "decided", "holds", "start", "waits", "events"),
    [
        ({}, {}, "", "", {}, ""),
        ({"a": on()}, {}, "", "a", {}, ""),
        ({"a": on()}, {"a": "started"}, "", "", {}, ""),
        ({"a": on()}, {"a": "stopped"}, "", "", {}, ""),
        ({"a": on(enabled=False)}, {}, "", "", {}, ""),
        ({"a": on(when=UPLINK)}, {}, "", "", {"a": "waits for an uplink"}, "uplink"),
        ({"a": on(when=UPLINK)}, {}, "uplink", "a", {}, ""),
        # A condition holds back only this one; the order of the others is kept.
        (
            {"a": on(when=UPLINK), "b": on(order=2), "c": on(order=1)},
            {},
            "",
            "c",
            {"a": "waits for an uplink"},
            "uplink",
        ),
        # And what comes after it, which is not itself a reason to be woken.
        (
            {"a": on(when=STORAGE), "b": on("a", when=UPLINK)},
            {},
            "uplink",
            "",
            {"a": "waits for the storage to be unlocked", "b": "waits for a to start"},
            "storage",
        ),
        (
            {"a": on(when=("storage", "boot-completed"))},
            {},
            "",
            "",
            {"a": "waits for the storage to be unlocked and the phone to have booted"},
            "boot-completed storage",
        ),
        ({"a": on(), "b": on("a")}, {}, "", "a", {"b": "waits for a to start"}, ""),
        ({"a": on(), "b": on("a")}, {"a": "stopped"}, "", "b", {}, ""),
        ({"a": on(), "b": on("a")}, {"a": "running"}, "", "b", {}, ""),
    ],
)
def test_steps(
    containers: dict[str, Autostart],
    decided: dict[str, str],
    holds: str,
    start: str,
    waits: dict[str, str],
    events: str,
) -> None:
    found = step(containers, decided, holds.split(), {}, 10.0)
    assert (found.start, dict(found.waits), found.events, found.at, found.skipped) == (
        start,
        waits,
        frozenset(events.split()),
        None,
        (),
    )


@pytest.mark.parametrize(("result", "reason"), [("failed", "which failed"), ("skipped", "which is skipped")])
def test_what_comes_after_a_failure_is_skipped_all_the_way(result: str, reason: str) -> None:
    found = step({"a": on(), "b": on("a"), "c": on("b")}, {"a": result}, (), {}, 0.0)
    assert found.skipped == (
        ("b", f"it starts after a, {reason}"),
        ("c", "it starts after b, which is skipped"),
    )
    assert (found.start, found.waits) == ("", ())


def test_a_delay_counts_from_when_all_else_holds() -> None:
    containers = {"a": on(delay=5.0, when=UPLINK), "b": on("a"), "c": on(delay=2.0)}
    first = step(containers, {}, (), {}, 100.0)
    assert (first.start, first.at, first.since) == ("", 102.0, {"c": 100.0})
    second = step(containers, {}, UPLINK, first.since, 101.0)
    assert (second.start, second.at, second.since) == ("", 102.0, {"a": 101.0, "c": 100.0})
    third = step(containers, {}, UPLINK, second.since, 102.0)
    assert (third.start, third.at) == ("c", 106.0)
    lost = step(containers, {"c": "started"}, (), second.since, 103.0)
    assert (lost.at, lost.since, lost.events) == (None, {}, frozenset(UPLINK))
    back = step(containers, {"c": "started"}, UPLINK, lost.since, 200.0)
    assert (back.start, back.at) == ("", 205.0)
    last = step(containers, {"c": "started"}, UPLINK, back.since, 205.0)
    assert last.start == "a"


NAMES = st.sampled_from("abcdef")
WISHES = st.builds(
    Autostart,
    enabled=st.booleans(),
    order=st.integers(-2, 2),
    delay=st.sampled_from((0.0, 1.0, 5.0)),
    after=st.lists(NAMES, max_size=2).map(tuple),
    when=st.sets(st.sampled_from(list(CONDITIONS))).map(lambda named: tuple(sorted(named))),
)


@given(st.dictionaries(NAMES, WISHES))
def test_every_marked_one_has_its_turn_in_the_end(containers: dict[str, Autostart]) -> None:
    decided: dict[str, str] = {}
    since: dict[str, float] = {}
    now = 0.0
    found = step(containers, decided, CONDITIONS, since, now)
    for _round in range(100):
        found = step(containers, decided, CONDITIONS, since, now)
        decided.update((name, "skipped") for name, _reason in found.skipped)
        since = dict(found.since)
        if found.start:
            assert all(
                decided.get(other) == "started" or not containers[other].enabled
                for other in containers[found.start].after
            )
            decided[found.start] = "started"
        elif found.at is not None:
            assert found.at > now
            now = found.at
        else:
            break
    assert found.waits == ()
    assert set(decided) == {name for name, wish in containers.items() if wish.enabled}
