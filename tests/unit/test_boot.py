from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from nspawn.container import bootrecord
from nspawn.container.client import Client
from nspawn.errors import Damaged, NotRunning, NspawnError
from nspawn.kernel import process
from nspawn.layout import Layout
from nspawn.model.record import Record
from nspawn.model.settings import Autostart, Settings
from nspawn.service import daemon
from nspawn.service.boot import Outcome, boot
from nspawn.service.containers import Container, Containers, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


Results = list[tuple[str, str]]


class Recorder:
    """Stands in for Containers and for the spawner's client; remembers what was started and asked."""

    def __init__(self, *containers: Container, failing: Sequence[str] = ()) -> None:
        self.containers = {each.name: each for each in containers}
        self.failing = failing
        self.done: list[str] = []
        self.woken_by: Record | None = None
        self.holds: set[str] = set()
        self.now = 100.0

    @property
    def client(self) -> Client:
        return cast("Client", self)

    def call(self, operation: str, fields: Sequence[tuple[str, str | float]] = ()) -> Record:
        assert operation == "wake"
        self.woken_by = Record(fields)
        if not fields:
            raise NotRunning("there is none")
        return Record()

    def list(self) -> Sequence[Container]:
        return list(self.containers.values())

    def start(self, name: str, *, noted: bool) -> None:
        assert noted
        if name in self.failing:
            raise NspawnError(f"{name} could not be started")
        self.done.append(name)

    def look(self, named: Collection[str]) -> Collection[str]:
        return self.holds.intersection(named)

    def boot(self, root: Path, *, asked: bool = True, again: bool = False) -> Results:
        told: list[Outcome] = []
        outcomes = boot(
            Layout(str(root)),
            told.append,
            asked=asked,
            again=again,
            containers=cast("Containers", self),
            look=self.look,
            clock=lambda: self.now,
        )
        assert told == outcomes
        assert all((each.error is not None) == (each.result in ("failed", "skipped")) for each in outcomes)
        assert all(bool(each.waits) == (each.result == "waits") for each in outcomes)
        return [(each.name, each.result) for each in outcomes]


@pytest.fixture(autouse=True)
def no_spawner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "ensure", lambda _layout, _client: Record())


def container(
    name: str,
    *after: str,
    delay: float = 0.0,
    state: str = "stopped",
    when: tuple[str, ...] = (),
    enabled: bool = True,
    turn: str = "",
) -> Container:
    wish = Autostart(enabled=enabled, delay=delay, after=after, when=when)
    return Container(
        name=name, settings=Settings(autostart=wish), state=State(state=state, turn=turn), rootfs="/x"
    )


def test_in_order(tmp_path: Path) -> None:
    recorder = Recorder(container("a", "b"), container("b"))
    assert recorder.boot(tmp_path) == [("b", "started"), ("a", "started")]
    assert recorder.done == ["b", "a"]


def test_a_delay_counts_from_when_all_else_holds_and_holds_back_only_what_comes_after(tmp_path: Path) -> None:
    recorder = Recorder(container("a", delay=5.0), container("b", "a"), container("c"))
    assert recorder.boot(tmp_path) == [("c", "started"), ("a", "waits"), ("b", "waits")]
    assert recorder.woken_by is not None
    assert recorder.woken_by.number("at") == 105.0
    assert recorder.woken_by.all("waits") == [b"a", b"b"]
    recorder.now = 104.9
    assert recorder.boot(tmp_path, asked=False) == [("a", "waits"), ("b", "waits")]
    recorder.now = 105.0
    assert recorder.boot(tmp_path, asked=False) == [("a", "started"), ("b", "started")]


def test_a_condition_is_waited_for(tmp_path: Path) -> None:
    recorder = Recorder(container("a", when=("uplink", "storage")), container("b", when=("uplink",)))
    recorder.holds = {"uplink"}
    assert recorder.boot(tmp_path, asked=False) == [("b", "started"), ("a", "waits")]
    assert recorder.woken_by is not None
    assert recorder.woken_by.all("on") == [b"storage"]
    recorder.holds = {"uplink", "storage"}
    assert recorder.boot(tmp_path, asked=False) == [("a", "started")]
    assert recorder.boot(tmp_path, asked=False) == []


def test_a_failure_stops_only_what_depends_on_it(tmp_path: Path) -> None:
    recorder = Recorder(
        container("a"), container("b", "a"), container("c", "b"), container("d"), failing=("a",)
    )
    assert sorted(recorder.boot(tmp_path)) == [
        ("a", "failed"),
        ("b", "skipped"),
        ("c", "skipped"),
        ("d", "started"),
    ]


def test_what_failed_is_tried_again_when_a_person_asks(tmp_path: Path) -> None:
    recorder = Recorder(container("a"), failing=("a",))
    assert recorder.boot(tmp_path, asked=False) == [("a", "failed")]
    recorder.failing = ()
    assert recorder.boot(tmp_path, asked=False) == []
    assert recorder.boot(tmp_path) == [("a", "started")]


def test_circles_are_skipped_first(tmp_path: Path) -> None:
    recorder = Recorder(container("a", "b"), container("b", "a"), container("c"))
    assert recorder.boot(tmp_path) == [("a", "skipped"), ("b", "skipped"), ("c", "started")]


def test_what_runs_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(container("a", state="running"), container("b", "a"))
    assert recorder.boot(tmp_path) == [("a", "running"), ("b", "started")]
    assert recorder.done == ["b"]


def test_what_was_stopped_in_this_boot_is_started_only_by_again(tmp_path: Path) -> None:
    recorder = Recorder(container("a", turn=process.boot_id()), container("b", turn="another boot"))
    assert recorder.boot(tmp_path) == [("a", "stopped"), ("b", "started")]
    assert recorder.boot(tmp_path) == []
    assert recorder.boot(tmp_path, again=True) == [("a", "started"), ("b", "started")]


def test_what_is_marked_after_the_boot_began_waits_for_a_person(tmp_path: Path) -> None:
    recorder = Recorder(container("a", when=("storage",)), container("b", enabled=False))
    assert recorder.boot(tmp_path, asked=False) == [("a", "waits")]
    recorder.containers["b"] = container("b")
    assert recorder.boot(tmp_path, asked=False) == [("a", "waits")]
    assert recorder.boot(tmp_path) == [("b", "started"), ("a", "waits")]


def test_a_record_of_another_boot_or_a_damaged_one_is_no_record(tmp_path: Path) -> None:
    recorder = Recorder(container("a"))
    assert recorder.boot(tmp_path) == [("a", "started")]
    layout = Layout(str(tmp_path))
    assert bootrecord.read(layout, process.boot_id()) is not None
    assert bootrecord.read(layout, "another") is None
    (tmp_path / "run/boot").write_bytes(b"version=1\0boot-id")
    assert bootrecord.read(layout, process.boot_id()) is None
    assert recorder.boot(tmp_path) == [("a", "started")]


def test_a_record_that_cannot_be_written_is_told_and_what_waits_is_woken_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "run/boot.new").mkdir(parents=True)  # as no room on the disk
    recorder = Recorder(container("a"), container("b", when=("uplink",)))
    assert recorder.boot(tmp_path) == [("a", "started"), ("b", "waits"), ("", "failed")]
    assert recorder.woken_by is not None
    assert recorder.woken_by.all("on") == [b"uplink"]


def test_unusable_settings_are_told(tmp_path: Path) -> None:
    broken = replace(container("a"), settings=Settings(), damaged=Damaged("damaged"), usable=False)
    repaired = replace(container("b"), settings=Settings(), damaged=Damaged("damaged"))
    assert Recorder(broken, repaired).boot(tmp_path) == [("a", "failed")]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "containers/.creating-x/rootfs").mkdir(parents=True)
    (tmp_path / "containers/.removing-y-1234").mkdir()
    assert Recorder().boot(tmp_path) == []
    assert list((tmp_path / "containers").iterdir()) == []
