from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from nspawn.errors import Damaged, NspawnError
from nspawn.layout import Layout
from nspawn.model.settings import Autostart, Settings
from nspawn.service.boot import Outcome, boot
from nspawn.service.containers import Container, Containers, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


Results = list[tuple[str, str]]


class Recorder:
    """Stands in for Containers; remembers what was started, and when it was waited before."""

    def __init__(self, *containers: Container, failing: Sequence[str] = ()) -> None:
        self.containers = containers
        self.failing = failing
        self.done: list[str | float] = []

    def list(self) -> Sequence[Container]:
        return self.containers

    def start(self, name: str) -> None:
        if name in self.failing:
            raise NspawnError(f"{name} could not be started")
        self.done.append(name)

    def boot(self, root: Path) -> Results:
        told: list[Outcome] = []
        outcomes = boot(
            Layout(str(root)), told.append, containers=cast("Containers", self), wait=self.done.append
        )
        assert told == outcomes
        assert all((each.error is not None) == (each.result in ("failed", "skipped")) for each in outcomes)
        return [(each.name, each.result) for each in outcomes]


def container(name: str, *after: str, delay: float = 0.0, state: str = "stopped") -> Container:
    wish = Autostart(enabled=True, delay=delay, after=after)
    return Container(name=name, settings=Settings(autostart=wish), state=State(state=state), rootfs="/x")


def test_in_order_with_delays(tmp_path: Path) -> None:
    recorder = Recorder(container("a", "b", delay=2.0), container("b"))
    assert recorder.boot(tmp_path) == [("b", "started"), ("a", "started")]
    assert recorder.done == [0.0, "b", 2.0, "a"]


def test_a_failure_stops_only_what_depends_on_it(tmp_path: Path) -> None:
    recorder = Recorder(
        container("a"), container("b", "a"), container("c", "b"), container("d"), failing=("a",)
    )
    assert recorder.boot(tmp_path) == [("a", "failed"), ("b", "skipped"), ("c", "skipped"), ("d", "started")]


def test_circles_are_skipped_first(tmp_path: Path) -> None:
    recorder = Recorder(container("a", "b"), container("b", "a"), container("c"))
    assert recorder.boot(tmp_path) == [("a", "skipped"), ("b", "skipped"), ("c", "started")]


def test_what_runs_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(container("a", state="running", delay=5.0), container("b", "a"))
    assert recorder.boot(tmp_path) == [("a", "running"), ("b", "started")]
    assert recorder.done == [0.0, "b"]


def test_unusable_settings_are_told(tmp_path: Path) -> None:
    broken = replace(container("a"), settings=Settings(), damaged=Damaged("damaged"), usable=False)
    repaired = replace(container("b"), settings=Settings(), damaged=Damaged("damaged"))
    assert Recorder(broken, repaired).boot(tmp_path) == [("a", "failed")]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "containers/.creating-x/rootfs").mkdir(parents=True)
    (tmp_path / "containers/.removing-y-1234").mkdir()
    assert Recorder().boot(tmp_path) == []
    assert list((tmp_path / "containers").iterdir()) == []
