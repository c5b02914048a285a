"""The benchmark's arithmetic and tables; nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import netreaction, peers, report, samples, starts
from tests.bench.report import Column, Goal, Part, Report, Table
from tests.bench.samples import Spread
from tests.bench.stopwatch import Start


@pytest.mark.parametrize(
    ("values", "median", "low", "high", "minimum"),
    [
        ([3.0], 3.0, 3.0, 3.0, 3.0),
        ([1.0, 3.0], 2.0, 1.5, 2.5, 1.0),
        ([5.0, 1.0, 3.0, 2.0, 4.0], 3.0, 2.0, 4.0, 1.0),
        ([1.0, 1.0, 1.0, 100.0], 1.0, 1.0, 25.75, 1.0),
    ],
)
def test_spread(values: list[float], median: float, low: float, high: float, minimum: float) -> None:
    assert samples.spread(values) == Spread(
        median=median, low=low, high=high, minimum=minimum, count=len(values)
    )


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        samples.spread([])


def test_ratios_are_taken_within_pairs() -> None:
    assert samples.ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        samples.ratios([1.0], [1.0, 2.0])


def test_weighted_sums_round_by_round() -> None:
    series = {"bare": [10.0, 20.0], "crun": [5.0, 10.0], "other": [0.0, 0.0]}
    assert samples.weighted(series, {"bare": 1, "crun": 0.4}) == [12.0, 24.0]


def test_interleave_shuffles_each_round_and_records_the_second_call() -> None:
    calls: list[str] = []

    def subject(name: str) -> str:
        calls.append(name)
        return f"{name}{calls.count(name)}"

    found = samples.interleave(
        {"a": lambda: subject("a"), "b": lambda: subject("b")},
        2,
        seed=0,
        shuffle=lambda names: names.reverse(),
    )
    assert calls == ["b", "b", "a", "a", "a", "a", "b", "b"]
    assert found == {"a": ["a2", "a4"], "b": ["b2", "b4"]}


@pytest.mark.parametrize(
    ("figure", "limit", "verdict"),
    [
        (None, 1.0, "not measured"),
        (0.4, 0.4, "reached"),
        (0.41, 0.4, "missed"),
        (0.0, 0.0, "reached"),
        (1.0, 0.0, "missed"),
    ],
)
def test_verdict(figure: float | None, limit: float, verdict: str) -> None:
    found = None if figure is None else samples.spread([figure])
    assert Goal(name="x", limit=limit, figure=found).verdict == verdict


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "ms", "12.3"),
        (0.25, "ms", "250"),
        (0.00567, "ms", "5.67"),
        (0.00005, "ms", "0.050"),
        (3.2e6, "MB", "3.20"),
        (0.352, "s", "0.35"),
        (0.0, "MB", "0"),
        (12.0, "count", "12"),
        (-0.029, "", "-0.029"),
    ],
)
def test_number(value: float, unit: str, text: str) -> None:
    assert report.number(value, unit) == text


def test_cells() -> None:
    assert report.cell(None, "ms") == ""
    assert report.cell("a|b\nc", "") == "a\\|b c"
    assert report.cell(samples.spread([0.001, 0.002, 0.003]), "ms") == "2.00 (1.50 to 2.50; min 1.00)"
    assert report.cell(samples.spread([0.5]), "s") == "0.50"


def _report() -> Report:
    table = Table(
        title="Starts",
        columns=[Column(title="program"), Column(title="time", unit="ms")],
        rows=[["crun", samples.spread([0.01, 0.02])], ["lxc", None]],
        notes=["A note."],
    )
    goals = [
        Goal(name="fast", limit=0.4, figure=samples.spread([0.3])),
        Goal(name="small", limit=5e6, unit="MB", figure=samples.spread([6e6])),
        Goal(name="later", limit=1.0, why_not="no spawner"),
    ]
    return Report(machine={"kernel": "6.1"}, pairs=2, parts=[Part(goals=goals), Part(tables=[table])])


def test_markdown() -> None:
    text = report.markdown(_report())
    for line in (
        "| fast | at most 0.40 | 0.30 | reached |",
        "| small | at most 5.00 MB | 6.00 | **missed** |",
        "| later | at most 1.00 | no spawner | not measured |",
        "| program | time [ms] |",
        "| crun | 15.0 (12.5 to 17.5; min 10.0) |",
        "| lxc |  |",
        "A note.",
        "| kernel | 6.1 |",
    ):
        assert line in text.splitlines()


def test_json_keeps_base_units_and_verdicts() -> None:
    found = json.loads(report.as_json(_report()))
    assert [goal["verdict"] for goal in found["goals"]] == ["reached", "missed", "not measured"]
    assert found["goals"][1]["figure"]["median"] == 6e6
    assert found["goals"][2] == {
        "name": "later",
        "limit": 1.0,
        "least": False,
        "unit": "",
        "figure": None,
        "verdict": "not measured",
        "why_not": "no spawner",
    }
    assert found["tables"][0]["rows"][0][1]["minimum"] == 0.01
    assert found["pairs"] == 2


def test_start_goals_use_the_ratio_of_each_round() -> None:
    def run(*times: tuple[float, float]) -> list[Start]:
        return [Start(executed=executed, done=done) for executed, done in times]

    results = {
        "spawner": run((1.0, 2.0), (3.0, 4.0)),
        "crun": run((4.0, 8.0), (10.0, 20.0)),
        "bwrap": run((2.0, 4.0), (3.0, 4.0)),
        "bare Python": run((0.0, 10.0), (0.0, 10.0)),
        "nspawn, no daemon": run((0.0, 18.0), (0.0, 30.0)),
        "shell": run((0.0, 36.0), (0.0, 60.0)),
    }
    found = {goal.name: goal for goal in starts.goals(results, {"nspawn, by the spawner": "no answer"})}
    medians = {name: goal.figure.median for name, goal in found.items() if goal.figure}
    assert medians["warm start by the spawner, to exec, of crun"] == pytest.approx(0.275)
    assert medians["warm start by the spawner, to the end, of bwrap"] == pytest.approx(0.75)
    assert medians["`nspawn`, no daemon, of crun + bare Python"] == pytest.approx(1.0)
    assert medians["`nspawn`, no daemon, of the shell"] == pytest.approx(0.5)
    missing = found["`nspawn` by the spawner, of bare Python + 0.4 crun"]
    assert missing.verdict == "not measured"
    assert missing.why_not == "nspawn, by the spawner: no answer"


def test_oci_configuration_has_every_mount_and_mask() -> None:
    config = peers.oci_config(Path("/r/tiny"), ["/bin/true"])
    text = json.dumps(config)
    for path in ("/proc", "/sys/fs/cgroup", "/tmp", "/run", "/dev/shm", "/dev/mqueue", "/dev/pts"):
        assert f'"destination": "{path}"' in text
    for path in (*peers.MASKED, *peers.READ_ONLY):
        assert f'"{path}"' in text
    assert config["hostname"] == "tiny"


def test_processes_of_an_agent_are_counted_without_threads() -> None:
    agent = 'execve("/python", ["/python", "/python/entry/network.py", "up"], 0x7f /* 3 vars */)'
    trace = f"""\
49    clone3({{flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}}, 88 <unfinished ...>
50    {agent} = 0
49    <... clone3 resumed>) = 50
50    clone3({{flags=CLONE_VM|CLONE_THREAD}} => {{parent_tid=[51]}}, 88) = 51
50    vfork( <unfinished ...>
52    execve("/sbin/iptables-restore", ["iptables-restore"], 0x7f /* 3 vars */) = 0
50    <... vfork resumed>) = 52
52    clone(child_stack=NULL, flags=SIGCHLD) = 53
51    clone3({{flags=CLONE_VM|CLONE_VFORK}}, 88) = 54
53    +++ exited with 0 +++
49    clone3({{flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}}, 88) = 60
60    {agent} = 0
60    vfork() = -1 EAGAIN (Resource temporarily unavailable)
49    clone3({{flags=CLONE_INTO_CGROUP}}, 88) = 61
"""
    assert netreaction._of_agents(trace.splitlines()) == [3, 0]
