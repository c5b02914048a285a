"""Throughput by iperf3: container to LAN and through a forward, beside the same wires without us."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bench import netplace, program, rootfs
from tests.bench.netstarts import SLEEP, Named
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import interleave, ratios, spread

_LIMIT = 0.9
_SECONDS = 1
_PORT, _FORWARDED = 5201, 15201
_MOST_ROUNDS = 30
_OUT, _IN = "container to LAN", "LAN to container through a forward"
_BARE_OUT, _BARE_IN = "veth and bridge by `ip`, to LAN", "LAN to veth and bridge by `ip`, routed"
_NOTES = {
    _OUT: "NAT, by the main table's uplink",
    _IN: f"`{_FORWARDED}:{_PORT}/tcp`, to the machine's address",
    _BARE_OUT: "no iptables, no NAT, no connection tracking; the LAN has a route",
    _BARE_IN: "the same, to the inner address",
}


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """In shuffled rounds, one second each."""
    tree = rootfs.make(folder / "tiny", "tiny")
    rounds = max(3, min(_MOST_ROUNDS, pairs))
    with ExitStack() as undo:
        server = undo.enter_context(program.serving(folder / "state"))
        named = Named(server, tree)
        named.start("fast", *SLEEP, ports=(f"{_FORWARDED}:{_PORT}/tcp",))
        inner = [netplace.program("nsenter"), f"--net={netplace.namespace(named.pid('fast'))}"]
        bare, lan = netplace.within(netplace.INNER), netplace.within(netplace.LAN)
        undo.callback(_end, [_serve(each) for each in (inner, bare, lan)])
        time.sleep(0.5)  # they listen
        ours, theirs = netplace.UPLINKS[0][1], netplace.BARE_LAN
        couples: dict[tuple[str, str], tuple[Callable[[], float], Callable[[], float]]] = {
            (_OUT, _BARE_OUT): (
                lambda: _bits(inner, f"{ours}.2", _PORT),
                lambda: _bits(bare, f"{theirs}.2", _PORT),
            ),
            (_IN, _BARE_IN): (
                lambda: _bits(lan, f"{ours}.1", _FORWARDED),
                lambda: _bits(lan, netplace.INNER_ADDRESS, _PORT),
            ),
        }
        results: dict[str, list[float]] = {}
        for (mine, other), (first, second) in couples.items():
            # Without a rehearsal the two of a pair are as close as can be to each other.
            results |= interleave({mine: first, other: second}, rounds, seed=seed, rehearse=False)
    goals = [
        Goal(
            name=f"throughput, {mine}, of the same without us",
            limit=_LIMIT,
            least=True,
            figure=spread(ratios(results[mine], results[other])),
        )
        for mine, other in couples
    ]
    rows: list[list[Value]] = [[name, spread(found), _NOTES[name]] for name, found in results.items()]
    table = Table(
        title="Throughput",
        columns=[Column(title="way"), Column(title="TCP", unit="Gbit/s"), Column(title="what it is")],
        rows=rows,
        notes=[
            (
                f"iperf3, one stream of {_SECONDS} s, {rounds} pairs in shuffled order. Sender, receiver "
                "and everything between share the machine's processors, so it is their work that is compared."
            )
        ],
    )
    return Part(goals=goals, tables=[table])


def _serve(where: list[str]) -> subprocess.Popen[bytes]:
    words = [*where, netplace.program("iperf3"), "--server", "--port", str(_PORT)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(servers: list[subprocess.Popen[bytes]]) -> None:
    for each in servers:
        each.terminate()
        each.wait()


def _bits(where: list[str], address: str, port: int) -> float:
    """Bits per second that arrived; RuntimeError with what iperf3 said."""
    words = [netplace.program("iperf3"), "--client", address, "--port", str(port), "--json"]
    run = subprocess.run(
        [*where, *words, "--time", str(_SECONDS)], capture_output=True, text=True, check=False
    )
    told = json.loads(run.stdout or "{}")
    if run.returncode != 0 or "error" in told:
        raise RuntimeError(f"iperf3 to {address}: {told.get('error') or run.stderr.strip()}")
    found: float = told["end"]["sum_received"]["bits_per_second"]
    return found
