"""How long a start with a network takes, the first and the 200th, beside the peers that make one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from nspawn.kernel import unix
from nspawn.model.record import Record, raise_error
from nspawn.model.runspec import RunSpec
from nspawn.model.settings import Network, Settings
from nspawn.service import slots
from nspawn.service.request import Fields
from tests.bench import netplace, peers, program, rootfs
from tests.bench.peers import Peer
from tests.bench.program import Server
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, interleave, ratios, spread
from tests.bench.stopwatch import Start, StartFailedError, Stopwatch

SLEEP = ("/bin/sleep", "1000000")
_SETTLE = 0.06  # seconds: the next cell is made meanwhile, and the kernel removes the last one's veth
_RUN, _NAMED, _HANDED = "spawner", "spawner, a named container", "nspawn --net, by the spawner"
_HOST = "spawner, the host's network"
_LXC, _NSPAWN = "lxc-execute", "systemd-nspawn"
_OURS = {
    _RUN: "`--net ROOTFS /bin/true`, asked over its socket by a process that runs already",
    _NAMED: "as `nspawn start`: its slot's file, then the request; ends with the answer that it runs",
    _HANDED: "`system/bin/nspawn --net ROOTFS /bin/true`, Python's start included",
    _HOST: "for comparison: no network of its own",
}
_LIMITS = {_LXC: 0.25, _NSPAWN: 0.12}
_MANY = 200
_EACH = 5
_MOST_ROUNDS = 5
_SCALE_LIMIT = 1.5


class Named:
    """Named containers with a network, as `nspawn start` starts them once it has read the settings."""

    def __init__(self, server: Server, tree: Path) -> None:
        self._server = server
        self._tree = tree

    def fields(self, name: str, *argv: str, **network: object) -> Fields:
        """Of op=start; the slot's file is written. network: of model.settings.Network."""
        Path(self._server.layout.container(name)).mkdir(mode=0o700, exist_ok=True)
        spec = RunSpec(rootfs=str(self._tree), argv=argv, hostname=self._tree.name, network="nat")
        wanted = Settings(network=Network(mode="nat", **network))  # type: ignore[arg-type]
        slot = slots.start_fields(self._server.layout, self._server.client, name, wanted)
        return [("name", name), *spec.to_record().fields, *slot]

    def start(self, name: str, *argv: str, **network: object) -> None:
        """Returns when its command runs."""
        self._server.client.call("start", self.fields(name, *argv, **network))

    def pid(self, name: str) -> int:
        """Of its first process; 0 when it does not run."""
        for record in self._server.client.call_many("list"):
            if record.text("name") == name:
                return record.integer("pid")
        return 0

    def stop(self, name: str) -> None:
        self._server.stop(name)


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """All kinds of start, in one interleaved run."""
    with ExitStack() as undo:
        tree = rootfs.make(folder / "tiny", "tiny")
        watch = Stopwatch(tree / "bin/true", folder / "errors")
        undo.callback(watch.close)
        bridge = (netplace.PEERS_BRIDGE, netplace.PEERS4, netplace.PEERS6)
        others = peers.networked(tree, folder / "peers", *bridge)
        subjects: dict[str, Callable[[], Start]] = {
            peer.name: lambda p=peer: watch.program(p.argv, p.environ)  # type: ignore[misc]
            for peer in others
        }
        server = undo.enter_context(program.serving(folder / "state"))
        named = Named(server, tree)
        control = server.layout.control_socket
        words = ["--net", str(tree), "/bin/true"]
        handed = [str(program.WRAPPER), *words]
        named.start("holder", *SLEEP)  # a start is warm when another container has the network up
        subjects[_RUN] = lambda: _request(watch, control, words)
        subjects[_NAMED] = lambda: _named(watch, server, named)
        subjects[_HANDED] = lambda: watch.program(handed, program.environment(folder / "state"))
        subjects[_HOST] = lambda: _request(watch, control, words[1:])
        failures: dict[str, str] = {}
        for name in list(subjects):
            try:
                subjects[name]()
            except (OSError, StartFailedError) as error:
                failures[name] = str(error)
                del subjects[name]
        results = interleave(subjects, pairs, seed=seed, settle=_SETTLE)
        return Part(goals=_goals(results, failures), tables=[_table(results, failures, others)])


def _request(watch: Stopwatch, control: str, words: Sequence[str]) -> Start:
    """As container.handover does it, from a process that has imported everything already."""
    ends: list[unix.Socket] = []

    def send() -> int:
        end = unix.connect(control)
        ends.append(end)
        record = Record((("op", "run"), ("cwd", "/"), ("term", "dumb"), ("mini", 0)))
        for word in words:
            record.add("word", word)
        unix.send(end, record.encode(), (watch.null, watch.null, watch.null))
        return end.fileno()

    def receive() -> None:
        data, _none = unix.receive(ends[0])
        answer = Record.decode(data)
        raise_error(answer)
        if answer.integer("exit", 1) != 0:
            raise StartFailedError(f"the spawner answered {answer!r}")

    try:
        return watch.request(send, receive)
    finally:
        for end in ends:
            end.close()


def _named(watch: Stopwatch, server: Server, named: Named) -> Start:
    ends: list[unix.Socket] = []

    def send() -> int:
        end = unix.connect(server.layout.control_socket)
        ends.append(end)
        record = Record((("op", "start"), *named.fields("named", "/bin/true")))
        unix.send(end, record.encode(), ())
        return end.fileno()

    def receive() -> None:
        raise_error(Record.decode(unix.receive(ends[0])[0]))

    try:
        return watch.request(send, receive)
    finally:
        for end in ends:
            end.close()
        while named.pid("named"):
            time.sleep(0.002)


def _goals(results: Mapping[str, Sequence[Start]], failures: Mapping[str, str]) -> list[Goal]:
    goals = []
    for ours, what in ((_RUN, "warm start with a network"), (_NAMED, "the same, a named container's")):
        for theirs, limit in _LIMITS.items():
            name = f"{what}, to exec, of {theirs}"
            missing = [key for key in (ours, theirs) if key not in results]
            if missing:
                why = "; ".join(f"{key}: {failures.get(key, 'not measured')}" for key in missing)
                goals.append(Goal(name=name, limit=limit, why_not=why))
                continue
            pairs = ratios(*([start.executed for start in results[key]] for key in (ours, theirs)))
            goals.append(Goal(name=name, limit=limit, figure=spread(pairs)))
    return goals


def _table(
    results: Mapping[str, Sequence[Start]], failures: Mapping[str, str], others: Sequence[Peer]
) -> Table:
    versions = {peer.name: peer.version for peer in others}
    differs = {peer.name: peer.differs for peer in others} | _OURS
    rows: list[list[Value]] = []
    for name, starts in sorted(results.items(), key=lambda item: _median(item[1])):
        executed = [start.executed for start in starts]
        of: list[Value] = [
            spread(ratios(executed, [start.executed for start in results[peer]])).median
            if peer in results
            else None
            for peer in (_LXC, _NSPAWN)
        ]
        done: Spread = spread([start.done for start in starts])
        rows.append([name, versions.get(name, ""), spread(executed), done, *of, differs[name]])
    rows.extend(
        [name, versions.get(name, ""), None, None, None, None, f"cannot run here: {why}"]
        for name, why in failures.items()
    )
    return Table(
        title="Start of /bin/true with a network",
        columns=[
            Column(title="program"),
            Column(title="version"),
            Column(title="to exec", unit="ms"),
            Column(title="to the end", unit="ms"),
            Column(title="of lxc-execute"),
            Column(title="of systemd-nspawn"),
            Column(title="what it is, or makes differently"),
        ],
        rows=rows,
        notes=[
            (
                "In a network namespace with two uplinks and a bridge for the peers. Ratios are of the times "
                "to exec. A container of ours has addresses and routes of both families and names, behind "
                "NAT; another one runs all the time, so that the network is up."
            )
        ],
    )


def _median(starts: Sequence[Start]) -> float:
    return spread([start.executed for start in starts]).median


def scale(folder: Path, pairs: int) -> Part:
    """In each round: some starts with one other running, 198 more, some starts beside those."""
    tree = rootfs.make(folder / "tiny", "tiny")
    rounds = max(1, min(_MOST_ROUNDS, pairs // 6))
    first: list[float] = []
    last: list[float] = []
    with program.serving(folder / "state") as server:
        named = Named(server, tree)
        named.start("holder", *SLEEP)
        _timed(named)
        for _round in range(rounds):
            first.append(_timed(named))
            for number in range(_MANY - 2):
                named.start(f"n{number}", *SLEEP)
            time.sleep(1)  # the bridge's ports are all forwarding then
            last.append(_timed(named))
            for number in range(_MANY - 2):
                named.stop(f"n{number}")
            time.sleep(1)  # the kernel removes that many veths one after the other
    name = f"start with a network of the {_MANY}th container, of the first"
    figure = spread([b / a for a, b in zip(first, last, strict=True)])
    table = Table(
        title=f"{_MANY} containers with a network",
        columns=[
            Column(title="start of a named container, its slot's file and the request, to running"),
            Column(title="time", unit="ms"),
        ],
        rows=[["beside one other", spread(first)], [f"the {_MANY}th", spread(last)]],
        notes=[f"{rounds} rounds; a figure of a round is the median of {_EACH} starts, each rested before."],
    )
    return Part(goals=[Goal(name=name, limit=_SCALE_LIMIT, figure=figure)], tables=[table])


def _timed(named: Named) -> float:
    """The median seconds of some starts of one container, stopped in between."""
    times = []
    for _start in range(_EACH):
        time.sleep(_SETTLE)
        begin = time.perf_counter()
        named.start("timed", *SLEEP)
        times.append(time.perf_counter() - begin)
        named.stop("timed")
    return statistics.median(times)
