"""Containers with a network of their own: starts, a change of uplinks, throughput, many of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from nspawn.errors import NspawnError
from tests.bench import netplace, netreaction, netstarts, netthroughput
from tests.bench.program import NotServingError
from tests.bench.report import Goal, Part, Table
from tests.bench.stopwatch import StartFailedError


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """Each in a network namespace of its own."""
    measures: dict[str, Callable[[Path], Part]] = {
        "start with a network": lambda place: netstarts.measure(place, pairs, seed),
        "a change of uplinks": lambda place: netreaction.measure(place, pairs),
        "throughput": lambda place: netthroughput.measure(place, pairs, seed),
        "start with a network of the 200th container": lambda place: netstarts.scale(place, pairs),
    }
    goals: list[Goal] = []
    tables: list[Table] = []
    for number, (name, work) in enumerate(measures.items()):
        sys.stderr.write(f"bench: {name}\n")
        place = folder / str(number)
        place.mkdir()
        part = netplace.inside(lambda work=work, place=place, name=name: _try(name, work, place))  # type: ignore[misc]
        goals += part.goals
        tables += part.tables
    return Part(goals=goals, tables=tables)


def _try(name: str, work: Callable[[Path], Part], place: Path) -> Part:
    try:
        netplace.build()
        return work(place)
    except (
        NspawnError,
        NotServingError,
        StartFailedError,
        OSError,
        RuntimeError,
        subprocess.SubprocessError,
    ) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Part(goals=[Goal(name=name, limit=0, why_not=why)])
