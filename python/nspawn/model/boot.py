"""Which autostart containers start now, which wait for what, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nspawn.model.settings import Autostart

#: What `autostart.when` may name, and how it is said that it is waited for.
CONDITIONS = {
    "uplink": "an uplink",
    "storage": "the storage to be unlocked",
    "boot-completed": "the phone to have booted",
}
#: Results after which what comes after is not started.
BROKEN = frozenset(("failed", "skipped"))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """starts: names in order; skipped: name and the reason."""

    starts: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be done now.

    start: the one to start, "" for none; then another step is to be made.
    skipped: (name, reason), not to be started in this boot.
    waits: (name, what it waits for).  events: the conditions among that.
    at: when a delay ends, None without one.  since: for the next step, from when delays count.
    """

    start: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    events: frozenset[str] = frozenset()
    at: float | None = None
    since: Mapping[str, float] = field(default_factory=dict)


def step(
    containers: Mapping[str, Autostart],
    decided: Mapping[str, str],
    holds: Collection[str],
    since: Mapping[str, float],
    now: float,
) -> Step:
    """The next step of a boot.

    containers: all that exist; decided: name and result (started, running, stopped, failed, skipped) of
    those that had their turn; holds: the conditions that are met; since: of the last step; now: seconds of a
    clock that nobody sets.

    A delay and an unmet condition hold back only this container and what comes after it.  A delay counts from
    when everything else holds, and anew when that was lost meanwhile.
    """
    order = plan(containers)
    results = dict(decided)
    skipped = [(name, reason) for name, reason in order.skipped if name not in results]
    results.update((name, "skipped") for name, _reason in skipped)
    waits: list[tuple[str, str]] = []
    events: set[str] = set()
    begun: dict[str, float] = {}
    start = ""
    for name in order.starts:
        if name in results:
            continue
        wish = containers[name]
        needs = [other for other in wish.after if containers[other].enabled]
        broken = next((other for other in needs if results.get(other) in BROKEN), "")
        if broken:
            result = results[broken] if broken in decided else "skipped"
            how = "failed" if result == "failed" else "is skipped"
            skipped.append((name, f"it starts after {broken}, which {how}"))
            results[name] = "skipped"
            continue
        missing = [condition for condition in wish.when if condition not in holds]
        behind = [other for other in needs if other not in results]
        if missing or behind:
            waits.append((name, _waits(missing, behind)))
            events.update(missing)
            continue
        begun[name] = since.get(name, now)
        if begun[name] + wish.delay > now:
            waits.append((name, f"waits for its delay of {wish.delay:g} s"))
        elif not start:
            start = name
    ends = [begun[name] + containers[name].delay for name, _text in waits if name in begun]
    return Step(
        start=start,
        skipped=tuple(skipped),
        waits=tuple(waits),
        events=frozenset(events),
        at=min(ends, default=None),
        since=begun,
    )


def _waits(missing: list[str], behind: list[str]) -> str:
    what = [CONDITIONS[condition] for condition in missing] + [f"{other} to start" for other in behind]
    return "waits for " + " and ".join(what)


def plan(containers: Mapping[str, Autostart]) -> Plan:
    """Order the enabled ones by `order`, then name, each behind those in its `after`.

    containers: all that exist, enabled or not.  A dependency that is not enabled is no reason to wait
    and does not start; one that does not exist is a reason to skip, like a circle, and what comes after
    a skipped one is skipped too.
    """
    enabled = {name: wish for name, wish in containers.items() if wish.enabled}
    needs = {name: [other for other in wish.after if other in enabled] for name, wish in enabled.items()}
    skipped: dict[str, str] = {}
    for name, wish in enabled.items():
        missing = [other for other in wish.after if other not in containers]
        if missing:
            skipped[name] = f"it starts after {missing[0]}, which does not exist"
    for name, members in _circles(needs).items():
        skipped.setdefault(name, f"these wait for each other: {', '.join(members)}")

    waiting = sorted(enabled.keys() - skipped.keys(), key=lambda name: (enabled[name].order, name))
    starts: list[str] = []
    done: set[str] = set()
    while waiting:
        for name in waiting:
            behind = next((other for other in needs[name] if other in skipped), "")
            if behind:
                skipped[name] = f"it starts after {behind}, which is skipped"
            elif done.issuperset(needs[name]):
                starts.append(name)
                done.add(name)
            else:
                continue
            waiting.remove(name)
            break
        else:  # cannot be: circles are out
            raise AssertionError(f"no order for {waiting}")
    return Plan(starts=tuple(starts), skipped=tuple(sorted(skipped.items())))


def _circles(needs: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Each name that is in a circle, with all members of its circles, sorted."""
    reach: dict[str, set[str]] = {}
    for start in needs:
        seen: set[str] = set()
        stack = list(needs[start])
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack.extend(needs[name])
        reach[start] = seen
    return {
        name: sorted(other for other in seen if name in reach[other])
        for name, seen in reach.items()
        if name in seen
    }
