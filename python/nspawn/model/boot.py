"""In which order the autostart containers start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.settings import Autostart


@dataclass(frozen=True, kw_only=True)
class Plan:
    """starts: (name, seconds to wait before it) in order; skipped: name and the reason."""

    starts: tuple[tuple[str, float], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


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
    starts: list[tuple[str, float]] = []
    done: set[str] = set()
    while waiting:
        for name in waiting:
            behind = next((other for other in needs[name] if other in skipped), "")
            if behind:
                skipped[name] = f"it starts after {behind}, which is skipped"
            elif done.issuperset(needs[name]):
                starts.append((name, enabled[name].delay))
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
