"""What the spawner costs while nothing happens: memory and wake-ups."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nspawn.model.runspec import RunSpec
from tests.bench import memory, program, rootfs
from tests.bench.program import NotServingError, Server
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, spread

_CONTAINERS = 10
_IDLE = 30.0  # seconds
_SETTLE = 1.0
_REPEATS = 3
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
    """Idle and with 10 containers, several times over; and 30 seconds of rest. pairs, seed: not used."""
    del pairs, seed
    tree = rootfs.make(folder / "tiny", "tiny")
    idle: list[State] = []
    full: list[State] = []
    try:
        with program.serving(folder / "state") as server:
            for name in _names():  # once before: what is loaded by the first start is there afterwards
                server.start(name, tree, "/bin/sleep", "1000000")
            _stop_all(server)
            for _repeat in range(_REPEATS):
                idle.append(_look(server, tree))
                for name in _names():
                    server.start(name, tree, "/bin/sleep", "1000000")
                full.append(_look(server, tree))
                if len(full) < _REPEATS:
                    _stop_all(server)
            woken = _wake_ups(server)
            _stop_all(server)
    except NotServingError as error:
        return Part(goals=_goals(None, None, None, str(error)))
    added = spread([(b.whole - a.whole) / _CONTAINERS for a, b in zip(idle, full, strict=True)])
    alone = spread([state.alone["spawner"] for state in idle])
    goals = _goals(
        spread([state.pss["spawner"] for state in idle]), added, spread([float(sum(woken.values()))])
    )
    return Part(goals=goals, tables=[_table(idle, full, woken, added, alone)])


def _goals(spawner: Spread | None, added: Spread | None, woken: Spread | None, why: str = "") -> list[Goal]:
    wakes = f"wake-ups of keeper, spawner and cell in {_IDLE:.0f} s with {_CONTAINERS} idle containers"
    return [
        Goal(name="PSS of the spawner", limit=_SPAWNER_LIMIT, unit="MB", figure=spawner, why_not=why),
        Goal(
            name="PSS added by a running container", limit=_ADDED_LIMIT, unit="MB", figure=added, why_not=why
        ),
        Goal(name=wakes, limit=0, unit="count", figure=woken, why_not=why),
    ]


def _names() -> list[str]:
    return [f"idle{index}" for index in range(_CONTAINERS)]


def _stop_all(server: Server) -> None:
    for name in _names():
        server.stop(name)


def _family(server: Server) -> tuple[dict[str, int], list[int]]:
    """PIDs by role, and of the containers."""
    spawner = server.spawner()
    containers = [r.integer("pid") for r in server.client.call_many("list") if r.integer("pid")]
    known = {*containers, server.web()}
    cells = [pid for pid in program.children(spawner) if pid not in known]
    roles = {"keeper": server.keeper, "spawner": spawner}
    if cells:
        roles["cell"] = cells[0]
    return roles, containers


def _look(server: Server, tree: Path) -> State:
    _renew_cell(server, tree)
    roles, containers = _family(server)
    by_pid = memory.alone(roles.values())
    return State(
        pss={role: memory.pss(pid) for role, pid in roles.items()},
        alone={role: by_pid[pid] for role, pid in roles.items()},
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
    roles, _containers = _family(server)
    time.sleep(_SETTLE)
    before = {role: memory.switches(pid) for role, pid in roles.items()}
    time.sleep(_IDLE)
    return {role: memory.switches(pid) - before[role] for role, pid in roles.items()}


def _table(
    idle: list[State], full: list[State], woken: Mapping[str, int], added: Spread, alone: Spread
) -> Table:
    def middle(states: list[State], kind: Callable[[State], Mapping[str, float]], role: str) -> float:
        return statistics.median(kind(state).get(role, 0.0) for state in states)

    rows: list[list[Value]] = [
        [
            role,
            middle(idle, lambda s: s.pss, role),
            middle(full, lambda s: s.pss, role),
            middle(idle, lambda s: s.alone, role),
            middle(full, lambda s: s.alone, role),
            middle(idle, lambda s: s.rss, role),
            float(woken.get(role, 0)),
        ]
        for role in _ROLES
    ]
    rows.append(["the three together", *(sum(_numbers(rows, column)) for column in range(1, 7))])
    own = statistics.median(state.containers for state in full)
    rows.append([f"the {_CONTAINERS} containers' own processes", None, own, None, None, None, None])
    by_frames = statistics.median(
        (sum(b.alone.values()) - sum(a.alone.values())) / _CONTAINERS for a, b in zip(idle, full, strict=True)
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
                "only, as on a phone where nothing else runs Python: "
                f"{alone.median / 1e6:.2f} MB for the spawner."
            ),
            (
                "Added by a container: the growth of the three together, by a tenth, with ten times "
                f"busybox's `sleep`: {added.median / 1e6:.3f} MB, alone {by_frames / 1e6:.3f} MB."
            ),
            f"Medians of {_REPEATS} looks; MB is 10^6 bytes.",
        ],
    )


def _numbers(rows: list[list[Value]], column: int) -> list[float]:
    return [value for row in rows if isinstance(value := row[column], int | float)]
