"""How soon a change of uplinks has been answered, and by how many processes."""

from __future__ import annotations

import re
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import netplace, program, rootfs
from tests.bench.netstarts import SLEEP, Named
from tests.bench.program import Server
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, spread

_SIZES = (1, 50)
_LIMIT = 0.1  # seconds
_PROCESSES = 2
_QUIET = 0.7  # seconds without an event: the change is answered
_PROTOCOL = 78  # of what is ours (model/netview.py)
#: Routes and rules of both families (rtnetlink(7)); the one of netfilter that tells of nftables.
_ROUTES_AND_RULES = 0x40 | 0x400 | 0x80 | 1 << 18
_NFTABLES = 1 << 7 - 1
_NETLINK_NETFILTER = 12
_RULES = (32, 33)
_FRA_PROTOCOL = 21
_HEADER = struct.Struct("=IHHII")
_MAKES = re.compile(r"\b(clone3?|v?fork)(\(| resumed>)")
_CHILD = re.compile(r" = (\d+)$")


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """Seconds from the first event of a change to our first and last rule or route, and to the firewall's.

    changes: how many routes and rules; walls: 0 when nothing of the firewall changed.
    """

    first: float
    last: float
    walls: float
    changes: int

    @property
    def whole(self) -> float:
        return max(self.last, self.walls)


class Ears:
    """Sockets of our own that hear what the kernel tells everybody."""

    def __init__(self) -> None:
        self._routes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._routes.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self._routes.bind((0, _ROUTES_AND_RULES))
        self._walls = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._walls.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        self._walls.bind((0, _NFTABLES))

    def close(self) -> None:
        self._routes.close()
        self._walls.close()

    def hear(self, change: Callable[[], None]) -> Reaction:
        """Make a change, and hear everything until it is quiet; RuntimeError when we did nothing."""
        self._listen(0)
        change()
        begin, ours, walls = 0.0, [], []
        for moment, data in self._listen(_QUIET):
            if data is None:
                walls.append(moment)
                continue
            for whose in _whose(data):
                if whose == _PROTOCOL:
                    ours.append(moment)
                else:
                    begin = begin or moment
        if not ours or not begin:
            raise RuntimeError("a change of uplinks was not answered")
        return Reaction(
            first=ours[0] - begin,
            last=ours[-1] - begin,
            walls=walls[-1] - begin if walls else 0.0,
            changes=len(ours),
        )

    def _listen(self, quiet: float) -> list[tuple[float, bytes | None]]:
        """What is told until nothing is for that long, each with its moment; None: of nftables."""
        found: list[tuple[float, bytes | None]] = []
        while True:
            ready = select.select([self._routes, self._walls], [], [], quiet)[0]
            now = time.perf_counter()
            if not ready:
                return found
            if self._routes in ready:
                found.append((now, self._routes.recv(1 << 16)))
            if self._walls in ready:
                self._walls.recv(1 << 16)
                found.append((now, None))


def _whose(data: bytes) -> list[int]:
    """The protocol of each route and rule in a datagram of rtnetlink."""
    found, at = [], 0
    while at + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, at)[:2]
        payload = data[at + _HEADER.size : at + length]
        if kind in _RULES:
            found.append(_attributes(payload, 12).get(_FRA_PROTOCOL, b"\0")[0])
        else:
            found.append(payload[5])
        at += (length + 3) & ~3
    return found


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind] = data[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    return found


def measure(folder: Path, pairs: int) -> Part:
    """The default routes go from one uplink to the other and back, with 1 pinned container and with 50."""
    tree = rootfs.make(folder / "tiny", "tiny")
    reactions: dict[int, list[Reaction]] = {}
    running = 0
    with program.serving(folder / "state") as server:
        named = Named(server, tree)
        ears = Ears()
        try:
            for size in _SIZES:
                for number in range(running, size):
                    pins = ("up0", "up1") if number % 2 else ("up0",)
                    ports = (f"{20000 + number}:80/tcp",)
                    named.start(f"pinned{number}", *SLEEP, pin=pins, ports=ports)
                running = size
                time.sleep(2 * _QUIET)
                reactions[size] = [
                    ears.hear(lambda turn=turn: netplace.move_default(turn % 2))  # type: ignore[misc]
                    for turn in range(1, 2 * max(1, pairs // 2) + 1)
                ]
        finally:
            ears.close()
        spawned = _count(server, folder / "calls")
    return Part(goals=_goals(reactions, spawned), tables=[_table(reactions, spawned)])


def _count(server: Server, trace: Path) -> dict[str, float]:
    """The most processes that one run of the agent makes, by kind of change; strace(1) sees them all."""
    calls = "trace=execve,clone,clone3,fork,vfork"
    words = ["-f", "-q", "-s", "200", "-e", calls, "-o", str(trace), "-p", str(server.spawner())]
    name, prefix4, prefix6 = netplace.UPLINKS[0]
    changes: dict[str, Callable[[], None]] = {
        "the default routes move": lambda: netplace.move_default(1),
        "they move back": lambda: netplace.move_default(0),
        "a new address of each family": lambda: _address("add", name, prefix4, prefix6),
        "it goes": lambda: _address("del", name, prefix4, prefix6),
    }
    found = {}
    process = subprocess.Popen([netplace.program("strace"), *words])
    try:
        time.sleep(_QUIET)
        for what, change in changes.items():
            before = len(_settled(trace))
            change()
            lines = _settled(trace)[before:]
            counts = _of_agents(lines)
            if not counts:
                raise RuntimeError(f"{what}: no agent ran")
            found[what] = float(max(counts))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    return found


def _of_agents(lines: list[str]) -> list[int]:
    """How many processes each run of the agent made, with all that those made; threads are none.

    A call that another process's line interrupts has two lines: its flags are in the first, its child in
    the second.
    """
    parents: dict[str, str] = {}  # of threads, too
    threads: set[str] = set()
    agents: list[str] = []
    flags: dict[str, str] = {}
    for line in lines:
        pid, _, rest = line.partition(" ")
        if "entry/network.py" in rest and "execve(" in rest:
            agents.append(pid)
        if _MAKES.search(rest):
            if not rest.lstrip().startswith("<..."):
                flags[pid] = rest
            made = _CHILD.search(rest)
            if made:
                parents[made[1]] = pid
                if "CLONE_THREAD" in flags.get(pid, ""):
                    threads.add(made[1])
    counts = dict.fromkeys(agents, 0)
    for child, parent in parents.items():
        above = parent
        while above not in counts and above in parents:
            above = parents[above]
        if above in counts and child not in threads:
            counts[above] += 1
    return list(counts.values())


def _settled(trace: Path) -> list[str]:
    """The lines of a trace, once no more come."""
    lines: list[str] = []
    while True:
        time.sleep(3 * _QUIET)
        before, lines = lines, trace.read_text(errors="replace").splitlines()
        if len(lines) == len(before):
            return lines


def _address(verb: str, name: str, prefix4: str, prefix6: str) -> None:
    netplace.ip("address", verb, f"{prefix4}.77/24", "dev", name)
    netplace.ip("-6", "address", verb, f"{prefix6}77/64", "dev", name)


def _goals(reactions: dict[int, list[Reaction]], spawned: dict[str, float]) -> list[Goal]:
    goals = [
        Goal(
            name=f"a change of uplinks to our last rule, {size} pinned container{'s'[: size > 1]}",
            limit=_LIMIT,
            unit="ms",
            figure=spread([each.whole for each in found]),
        )
        for size, found in reactions.items()
    ]
    most = spread([max(spawned.values())])
    goals.append(
        Goal(name="processes of a reconcile besides the agent", limit=_PROCESSES, unit="count", figure=most)
    )
    return goals


def _table(reactions: dict[int, list[Reaction]], spawned: dict[str, float]) -> Table:
    def walls(found: list[Reaction]) -> Spread | None:
        changed = [each.walls for each in found if each.walls]
        return spread(changed) if changed else None

    rows: list[list[Value]] = [
        [
            f"{size} pinned",
            spread([each.first for each in found]),
            spread([each.last for each in found]),
            walls(found),
            spread([float(each.changes) for each in found]).median,
        ]
        for size, found in reactions.items()
    ]
    counted = ", ".join(f"{what}: {number:g}" for what, number in spawned.items())
    return Table(
        title="A change of uplinks",
        columns=[
            Column(title="containers"),
            Column(title="to our first route or rule", unit="ms"),
            Column(title="to the last", unit="ms"),
            Column(title="to the last change of nftables", unit="ms"),
            Column(title="routes and rules changed", unit="count"),
        ],
        rows=rows,
        notes=[
            (
                "Each is pinned, to one uplink or to both in order, and has a forward. The main table's "
                "default routes of both families are moved between two interfaces by `ip`; from the moment "
                "in which a netlink socket of the benchmark hears of the first to that in which it hears of "
                "our last. 20 ms of it are the wait for what else changes. Rules of the "
                "firewall count, too, where it is nftables."
            ),
            f"Processes besides the agent, by strace: {counted}.",
        ],
    )
