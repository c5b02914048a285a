"""What the spawner costs while nothing happens: memory and wake-ups."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from nspawn.container import rest
from nspawn.model.runspec import RunSpec
from tests.bench import memory, program, rootfs
from tests.bench.program import NotServingError, Server
from tests.bench.report import Column, Goal, Part, Table, Value, cell
from tests.bench.samples import Spread, spread

_CONTAINERS = 10
_IDLE = 30.0  # seconds
_SETTLE = 1.0  # seconds
_STEPS = 3
_SLEEP = ("/bin/sleep", "1000000")
_SPAWNER_LIMIT, _ADDED_LIMIT = 5e6, 0.4e6
_ROLES = ("keeper", "spawner", "cell")


@dataclass(frozen=True, kw_only=True)
class State:
    """One look at the family: bytes by role, and what the containers' own processes have, together."""

    pss: Mapping[str, float]
    alone: Mapping[str, float]
    rss: Mapping[str, float]
    containers: float

    @property
    def whole(self) -> float:
        return sum(self.pss.values())


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """With no container, with 10, 20 and 30; and 30 seconds of rest with 10. pairs, seed: not used.

    Every container is one more, never one in the place of another: what a process has freed it keeps.
    """
    del pairs, seed
    tree = rootfs.make(folder / "tiny", "tiny")
    woken: dict[str, int] = {}
    try:
        # Not at rest, which is measured by itself (repose): the cell is to be there.
        with program.serving(folder / "state", NSPAWN_REST="3600") as server:
            server.start("first", tree, *_SLEEP)  # what the first start loads is there afterwards
            server.stop("first")
            states = [_look(server, tree)]
            for step in range(_STEPS):
                for index in range(_CONTAINERS):
                    server.start(f"idle{step}.{index}", tree, *_SLEEP)
                states.append(_look(server, tree))
                woken = woken or _wake_ups(server)
    except NotServingError as error:
        return Part(goals=_goals(None, None, None, str(error)))
    added = spread([(b.whole - a.whole) / _CONTAINERS for a, b in pairwise(states)])
    spawner = spread([state.pss["spawner"] for state in states])
    goals = _goals(spawner, added, spread([float(sum(woken.values()))]))
    return Part(goals=goals, tables=[_table(states, woken, added)])


def _goals(spawner: Spread | None, added: Spread | None, woken: Spread | None, why: str = "") -> list[Goal]:
    wakes = f"wake-ups of keeper, spawner and cell in {_IDLE:.0f} s with {_CONTAINERS} idle containers"
    return [
        Goal(name="PSS of the spawner", limit=_SPAWNER_LIMIT, unit="MB", figure=spawner, why_not=why),
        Goal(
            name="PSS added by a running container", limit=_ADDED_LIMIT, unit="MB", figure=added, why_not=why
        ),
        Goal(name=wakes, limit=0, unit="count", figure=woken, why_not=why),
    ]


def _look(server: Server, tree: Path) -> State:
    _renew_cell(server, tree)
    roles, containers = program.family(server)
    by_pid = memory.alone(roles.values())
    return State(
        pss={role: memory.pss(pid) for role, pid in roles.items()},
        alone={role: by_pid[pid].whole for role, pid in roles.items()},
        rss={role: memory.rss(pid) for role, pid in roles.items()},
        containers=sum(memory.pss(pid) for pid in containers),
    )


def _renew_cell(server: Server, tree: Path) -> None:
    """Run something: a cell shares its pages with the spawner, ever fewer as the spawner works on."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    spec = RunSpec(rootfs=str(tree), argv=["/bin/true"], hostname=tree.name)
    server.client.call("run", spec.to_record().fields, (null, null, null))
    os.close(null)
    time.sleep(_SETTLE)  # the next one is made meanwhile


def _wake_ups(server: Server) -> dict[str, int]:
    time.sleep(rest.AFTER + _SETTLE)
    roles, _containers = program.family(server)
    before = {role: memory.switches(pid) for role, pid in roles.items()}
    time.sleep(_IDLE)
    return {role: memory.switches(pid) - before[role] for role, pid in roles.items()}


def _table(states: list[State], woken: Mapping[str, int], added: Spread) -> Table:
    idle, full = states[:2]
    rows: list[list[Value]] = [
        [
            role,
            idle.pss.get(role, 0.0),
            full.pss.get(role, 0.0),
            idle.alone.get(role, 0.0),
            full.alone.get(role, 0.0),
            idle.rss.get(role, 0.0),
            float(woken.get(role, 0)),
        ]
        for role in _ROLES
    ]
    rows.append(["the three together", *(sum(_numbers(rows, column)) for column in range(1, 7))])
    own = f"the {_CONTAINERS} containers' own processes"
    rows.append([own, None, full.containers, None, None, None, None])
    alone = spread(
        [(sum(b.alone.values()) - sum(a.alone.values())) / _CONTAINERS for a, b in pairwise(states)]
    )
    return Table(
        title="Memory and wake-ups",
        columns=[
            Column(title="process"),
            Column(title="PSS, no container", unit="MB"),
            Column(title=f"PSS, {_CONTAINERS} containers", unit="MB"),
            Column(title="alone, no container", unit="MB"),
            Column(title=f"alone, {_CONTAINERS} containers", unit="MB"),
            Column(title="RSS, no container", unit="MB"),
            Column(title=f"wake-ups in {_IDLE:.0f} s", unit="count"),
        ],
        rows=rows,
        notes=[
            (
                "PSS is the kernel's (/proc/PID/smaps_rollup); it is lower while other programs use the same "
                "Python, as the benchmark does. Alone: the same counted by page frames among these three "
                "only, as on a phone where nothing else runs Python."
            ),
            (
                f"Added by a container: a tenth of the growth of the three together, in {_STEPS} steps of "
                f"{_CONTAINERS} more that run busybox's `sleep`: {cell(added, 'kB')} kB, alone "
                f"{cell(alone, 'kB')} kB. MB is 10^6 bytes."
            ),
        ],
    )


def _numbers(rows: list[list[Value]], column: int) -> list[float]:
    return [value for row in rows if isinstance(value := row[column], int | float)]
