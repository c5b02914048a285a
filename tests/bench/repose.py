"""What is left while the phone sleeps: the page closed, three containers asleep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nspawn.container import rest
from tests.bench import memory, program, rootfs
from tests.bench.memory import Share
from tests.bench.program import NotServingError
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import spread

CONTAINERS = 3
#: Seconds after the last request in which the rest has come.
UNTIL_REST = rest.AFTER + 3.0
_IDLE = 60.0  # seconds
_LIMIT = 8e6
_SLEEP = ("/bin/sleep", "1000000")


@dataclass(frozen=True, kw_only=True)
class Look:
    """By role: bytes among these processes alone, and by the kernel's count."""

    shares: Mapping[str, Share]
    pss: Mapping[str, int]

    @property
    def whole(self) -> float:
        return sum(share.whole for share in self.shares.values())


def look(roles: Mapping[str, int]) -> Look:
    """roles: PIDs."""
    by_pid = memory.alone(roles.values())
    return Look(
        shares={role: by_pid[pid] for role, pid in roles.items()},
        pss={role: memory.pss(pid) for role, pid in roles.items()},
    )


def wake_ups(roles: Mapping[str, int]) -> dict[str, int]:
    """In a minute from now, by role."""
    before = {role: memory.switches(pid) for role, pid in roles.items()}
    time.sleep(_IDLE)
    return {role: memory.switches(pid) - before[role] for role, pid in roles.items()}


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """Before the rest, at rest, and a minute of it. pairs, seed: not used."""
    del pairs, seed
    tree = rootfs.make(folder / "tiny", "tiny")
    try:
        with program.serving(folder / "state") as server:
            for index in range(CONTAINERS):
                server.start(f"asleep{index}", tree, *_SLEEP)
            time.sleep(1)
            awake = look(program.family(server)[0])
            roles = {"keeper": server.keeper, "spawner": server.spawner()}
            time.sleep(UNTIL_REST)
            rested = look(roles)
            woken = wake_ups(roles)
            left = [role for role in program.family(server)[0] if role not in roles]
    except NotServingError as error:
        return Part(goals=goals(None, {}, "", str(error)))
    if left:
        return Part(goals=goals(None, {}, "", f"there is still a {left[0]}"))
    return Part(goals=goals(rested, woken), tables=[table("At rest", awake, rested, woken)])


def goals(rested: Look | None, woken: Mapping[str, int], where: str = "", why: str = "") -> list[Goal]:
    """where: added to the names."""
    asleep = f"{CONTAINERS} containers asleep{where}"
    memory_goal = Goal(
        name=f"PSS of all that is ours, alone, {asleep}",
        limit=_LIMIT,
        unit="MB",
        figure=spread([rested.whole]) if rested else None,
        why_not=why,
    )
    wakes = Goal(
        name=f"wake-ups of all that is ours in {_IDLE:.0f} s, {asleep}",
        limit=0,
        unit="count",
        figure=spread([float(sum(woken.values()))]) if rested else None,
        why_not=why,
    )
    return [memory_goal, wakes]


def table(title: str, awake: Look, rested: Look, woken: Mapping[str, int]) -> Table:
    """Both looks side by side."""
    rows: list[list[Value]] = []
    for role in dict(awake.shares) | dict(rested.shares):
        row: list[Value] = [role]
        for seen in (awake, rested):
            share = seen.shares.get(role)
            pss = float(seen.pss[role]) if share else None
            row += [share.own, share.files, pss] if share else [None, None, None]
        rows.append([*row, float(woken[role]) if role in woken else None])
    together = [sum(v for row in rows if isinstance(v := row[i], int | float)) for i in range(1, 8)]
    rows.append(["together", *together])
    return Table(
        title=title,
        columns=[
            Column(title="process"),
            Column(title="awake: own", unit="MB"),
            Column(title="files", unit="MB"),
            Column(title="kernel's PSS", unit="MB"),
            Column(title="at rest: own", unit="MB"),
            Column(title="files", unit="MB"),
            Column(title="kernel's PSS", unit="MB"),
            Column(title=f"wake-ups in {_IDLE:.0f} s", unit="count"),
        ],
        rows=rows,
        notes=[
            (
                f"{CONTAINERS} containers run busybox's `sleep`. At rest: {rest.AFTER:.0f} s after the "
                "last request, when the spare cell has ended and both processes have let go of the files "
                "that they map. Own, files: counted by page frames among these processes alone, as on a "
                "phone where nothing else runs Python. What of a file is not mapped is in the page cache "
                "for as long as the kernel likes: those megabytes are not saved, they are free to be taken."
            )
        ],
    )
