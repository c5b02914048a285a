"""How long a start of /bin/true takes: nspawn in its three ways, and its peers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from nspawn.kernel import libc, unix
from nspawn.model.record import Record, raise_error
from nspawn.model.runspec import RunSpec
from tests.bench import peers, program, rootfs
from tests.bench.peers import ENVIRON, Peer
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, interleave, ratios, spread, weighted
from tests.bench.stopwatch import Start, StartFailedError, Stopwatch

_SETTLE = 0.03  # seconds: a spawner makes its next cell meanwhile
_STEPS = program.CHECKOUT / "tests/bench/steps.sh"
_SPAWNER, _ALONE, _HANDED = "spawner", "nspawn, no daemon", "nspawn, by the spawner"
_BARE, _SHELL, _PLAIN = "bare Python", "shell", "shell, no cgroup"
_CRUN, _BWRAP = "crun", "bwrap"
_CHANGED = "spawner, mounts changed"
_OURS = {
    _SPAWNER: "asked over its socket by a process that runs already",
    _CHANGED: "the same, after something was mounted and unmounted on the host",
    _ALONE: "`system/bin/nspawn ROOTFS /bin/true`",
    _HANDED: "the same, with a spawner running that takes over the descriptors",
    _SHELL: "tests/bench/steps.sh: the same container, one program per step",
    _PLAIN: "steps.sh --no-cgroup: entering a cgroup by its file takes a lock of the whole machine",
    _BARE: "`python -I -S -E -c pass`, the interpreter that nspawn runs on",
}
Measured = Mapping[str, Sequence[Start]]


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """All kinds of start, in one interleaved run. folder: empty, for rootfs and configurations."""
    with ExitStack() as undo:
        tree = rootfs.make(folder / "tiny", "tiny")
        watch = Stopwatch(tree / "bin/true", folder / "errors")
        undo.callback(watch.close)
        others = peers.all_peers(tree, folder / "peers")
        subjects: dict[str, Callable[[], Start]] = {
            peer.name: lambda p=peer: watch.program(p.argv, p.environ)  # type: ignore[misc]
            for peer in others
        }
        bare = [program.interpreter(), "-I", "-S", "-E", "-c", "pass"]
        alone = [str(program.WRAPPER), str(tree), "/bin/true"]
        quiet, busy = folder / "no-daemon", folder / "daemon"
        subjects[_BARE] = lambda: watch.program(bare, ENVIRON)
        subjects[_SHELL] = lambda: watch.program([str(_STEPS), str(tree), "/bin/true"], ENVIRON)
        plain = [str(_STEPS), "--no-cgroup", str(tree)]
        subjects[_PLAIN] = lambda: watch.program([*plain, "/bin/true"], ENVIRON)
        subjects[_ALONE] = lambda: watch.program(alone, program.environment(quiet))
        failures: dict[str, str] = {}
        try:
            server = undo.enter_context(program.serving(busy))
        except program.NotServingError as error:
            failures |= dict.fromkeys((_SPAWNER, _CHANGED, _HANDED), str(error))
        else:
            control = server.layout.control_socket
            subjects[_SPAWNER] = lambda: _request(watch, control, tree)
            subjects[_CHANGED] = lambda: _request_after_change(watch, control, tree)
            subjects[_HANDED] = lambda: watch.program(alone, program.environment(busy))
        for name in list(subjects):
            try:
                subjects[name]()
            except (OSError, StartFailedError) as error:
                failures[name] = str(error)
                del subjects[name]
        results = interleave(subjects, pairs, seed=seed, settle=_SETTLE)
        mounts = {peer.name: _count_mounts(peer) for peer in others if peer.name in results}
        mounts |= {
            name: _count_mounts_of([*argv, "/bin/cat", "/proc/self/mountinfo"], env)
            for name, argv, env in (
                (_SHELL, [str(_STEPS), str(tree)], ENVIRON),
                (_PLAIN, plain, ENVIRON),
                (_ALONE, alone[:2], program.environment(quiet)),
                (_HANDED, alone[:2], program.environment(busy)),
            )
            if name in results
        }
        return Part(goals=goals(results, failures), tables=[_table(results, failures, mounts, others)])


def _request(watch: Stopwatch, control: str, tree: Path) -> Start:
    """As container.handover does it, from a process that has imported everything already."""
    ends: list[unix.Socket] = []

    def send() -> int:
        end = unix.connect(control)
        ends.append(end)
        record = RunSpec(rootfs=str(tree), argv=["/bin/true"], hostname=tree.name).to_record()
        record.add("op", "run")
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


def _request_after_change(watch: Stopwatch, control: str, tree: Path) -> Start:
    """A request when the mount namespace that the prepared container was copied from has changed."""
    libc.mount("bench", str(tree / "mnt"), "tmpfs", 0)
    libc.umount2(str(tree / "mnt"), libc.MNT_DETACH)
    time.sleep(_SETTLE)
    return _request(watch, control, tree)


def goals(results: Measured, failures: Mapping[str, str]) -> list[Goal]:
    """The targets, from whatever could be measured."""
    executed = {name: [start.executed for start in starts] for name, starts in results.items()}
    done = {name: [start.done for start in starts] for name, starts in results.items()}

    def goal(
        name: str, limit: float, series: Mapping[str, list[float]], ours: str, theirs: Mapping[str, float]
    ) -> Goal:
        missing = [key for key in (ours, *theirs) if key not in series]
        if missing:
            why = "; ".join(f"{key}: {failures.get(key, 'not measured')}" for key in missing)
            return Goal(name=name, limit=limit, why_not=why)
        pairs = ratios(series[ours], weighted(series, theirs))
        return Goal(name=name, limit=limit, figure=spread(pairs))

    return [
        goal("warm start by the spawner, to exec, of crun", 0.4, executed, _SPAWNER, {_CRUN: 1}),
        goal("warm start by the spawner, to the end, of crun", 0.4, done, _SPAWNER, {_CRUN: 1}),
        goal("warm start by the spawner, to exec, of bwrap", 0.75, executed, _SPAWNER, {_BWRAP: 1}),
        goal("warm start by the spawner, to the end, of bwrap", 0.75, done, _SPAWNER, {_BWRAP: 1}),
        goal("`nspawn`, no daemon, of crun + bare Python", 1.25, done, _ALONE, {_CRUN: 1, _BARE: 1}),
        goal("`nspawn`, no daemon, of the shell", 0.35, done, _ALONE, {_SHELL: 1}),
        goal("`nspawn`, no daemon, of the shell, no cgroup", 0.35, done, _ALONE, {_PLAIN: 1}),
        goal(
            "`nspawn` by the spawner, of bare Python + 0.4 crun", 1.1, done, _HANDED, {_BARE: 1, _CRUN: 0.4}
        ),
    ]


def _table(
    results: Measured, failures: Mapping[str, str], mounts: Mapping[str, int], others: Sequence[Peer]
) -> Table:
    versions = {peer.name: peer.version for peer in others}
    differs = {peer.name: peer.differs for peer in others} | _OURS
    rows: list[list[Value]] = []
    for name, starts in sorted(results.items(), key=lambda item: _median(item[1])):
        done = [start.done for start in starts]
        executed: Spread | None = None
        if name != _BARE:
            executed = spread([start.executed for start in starts])
        of: list[Value] = [
            spread(ratios(done, [start.done for start in results[peer]])).median if peer in results else None
            for peer in (_CRUN, _BWRAP, _SHELL)
        ]
        seen = float(mounts[name]) if name in mounts else None
        rows.append([name, versions.get(name, ""), executed, spread(done), *of, seen, differs[name]])
    rows.extend(
        [name, versions.get(name, ""), None, None, None, None, None, None, f"cannot run here: {why}"]
        for name, why in failures.items()
    )
    return Table(
        title="Start of /bin/true",
        columns=[
            Column(title="program"),
            Column(title="version"),
            Column(title="to exec", unit="ms"),
            Column(title="to the end", unit="ms"),
            Column(title="of crun"),
            Column(title="of bwrap"),
            Column(title="of the shell"),
            Column(title="mounts", unit="count"),
            Column(title="what it is, or makes differently"),
        ],
        rows=rows,
        notes=[
            (
                "To exec: until the kernel opened /bin/true of the rootfs for execve(2), seen by inotify. "
                "Ratios are of the times to the end. Mounts: lines of /proc/self/mountinfo inside."
            ),
            (
                "All run in the same rootfs (busybox), with the host's network, in a mount namespace with "
                "cgroup2 alone at /sys/fs/cgroup (crun 1.8 refuses hosts with both versions)."
            ),
        ],
    )


def _median(starts: Sequence[Start]) -> float:
    return spread([start.done for start in starts]).median


def _count_mounts(peer: Peer) -> int:
    return _count_mounts_of(peer.probe, peer.environ)


def _count_mounts_of(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    run = subprocess.run(
        argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return sum(1 for line in run.stdout.splitlines() if " - " in line)
