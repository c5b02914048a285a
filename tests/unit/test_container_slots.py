"""What containers ask of the network: checked against the others, kept, given to the spawner, taken away."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from nspawn.errors import Conflict, NotRunning, NspawnError, UsageError
from nspawn.kernel.slotfiles import SlotFiles, name_owner, peek, run_owner
from nspawn.layout import Layout
from nspawn.model import settings
from nspawn.model.record import Record
from nspawn.model.slot import Slot, Subnet
from nspawn.service import daemon, slots
from nspawn.service.containers import Containers, CreateRequest, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.container.client import Client

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers are root's")

SUBNET = Subnet(10 << 24 | 11 << 16, 24, 0xFD11 << 112)


class FakeClient:
    """A spawner that remembers what it was asked; `net ready` chooses the subnet, as the agent does."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.asked: list[Record] = []

    def call(self, operation: str, fields: Iterable[tuple[str, Any]] = ()) -> Record:
        record = Record([("op", operation), *fields])
        self.asked.append(record)
        if operation == "net":
            remember(self.layout)
        if operation == "forget":
            raise NotRunning("there is none")
        return Record((("ok", 1),))

    def call_many(self, _operation: str, _fields: Iterable[tuple[str, Any]] = ()) -> list[Record]:
        return []

    @property
    def start(self) -> Record:
        return next(each for each in reversed(self.asked) if each.text("op") == "start")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "root"))


@pytest.fixture
def client(layout: Layout) -> FakeClient:
    return FakeClient(layout)


@pytest.fixture
def containers(layout: Layout, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Containers:
    monkeypatch.setattr(daemon, "ensure", lambda _layout, _client: None)
    return Containers(layout, cast("Client", client))


def remember(layout: Layout) -> None:
    with SlotFiles(layout) as held:
        held.remember(SUBNET)


def make(containers: Containers, name: str, **changes: str) -> None:
    """A container of a folder; changes of the table `network`."""
    tree = Path(containers.layout.root).parent / f"tree-{name}"
    (tree / "bin").mkdir(parents=True, exist_ok=True)
    (tree / "bin/sh").write_text("#!")
    (tree / "bin/sh").chmod(0o755)
    chosen = settings.apply(
        settings.Settings(),
        {"network.mode": "nat"} | {f"network.{key}": text for key, text in changes.items()},
    )
    request = CreateRequest(name=name, source=Folder(str(tree)), settings=chosen)
    containers.create(request, lambda _step: None, lambda: False)


def owners(layout: Layout) -> dict[int, str]:
    return {slot.number: slot.owner for slot in peek(layout)[1]}


def test_the_first_start_asks_for_the_network_and_each_container_keeps_its_address(
    containers: Containers, client: FakeClient, layout: Layout
) -> None:
    make(containers, "a", pin="wifi", ports="80:8080", on_down="fallback")
    make(containers, "b")
    assert owners(layout) == {}
    containers.start("a")
    containers.start("b")
    assert [each.text("verb") for each in client.asked if each.text("op") == "net"] == ["ready"]
    assert owners(layout) == {0: "name:a", 1: "name:b"}
    containers.start("a")
    start = client.start
    assert (start.text("network"), start.integer("slot", -1), start.text("owner")) == ("nat", 0, "name:a")
    assert (start.text("pin"), start.text("forward"), start.text("on-down"), start.text("host")) == (
        "wifi",
        "80:8080/tcp",
        "fallback",
        "a",
    )
    network = containers.get("a").as_dict()["network"]
    assert (network["slot"], network["ip4"], network["ip6"]) == (0, "10.11.0.2", "fd11::2")
    assert network["mac"] == "02:6e:73:70:00:00"
    assert network["forwards"] == ["80:8080/tcp"]


def test_a_start_writes_the_settings_of_now(
    containers: Containers, client: FakeClient, layout: Layout
) -> None:
    make(containers, "a", ports="80:80")
    containers.start("a")
    containers.update("a", {"network.ports": "81:80", "network.dns": "9.9.9.9"})
    containers.start("a")
    (slot,) = peek(layout)[1]
    assert (slot.forwards, slot.dns) == (("81:80/tcp",), ("9.9.9.9",))
    assert client.start.text("dns") == "9.9.9.9"


def test_containers_of_the_host_have_no_slot(
    containers: Containers, client: FakeClient, layout: Layout
) -> None:
    make(containers, "a")
    containers.update("a", {"network.mode": "host"})
    containers.start("a")
    assert client.start.get("slot") is None
    assert containers.get("a").as_dict()["network"] is None
    assert not os.path.exists(f"{layout.network}/prefix")


def test_a_fixed_address_is_taken_when_it_is_set(containers: Containers, layout: Layout) -> None:
    remember(layout)
    make(containers, "a", ip="10.11.0.2")
    make(containers, "b")
    containers.start("b")
    assert owners(layout) == {0: "name:a", 1: "name:b"}
    containers.update("b", {"network.ip": "10.11.0.9"})
    assert owners(layout) == {0: "name:a", 7: "name:b"}
    containers.update("b", {"network.ip": ""})
    containers.start("b")
    assert owners(layout)[7] == "name:b"  # what it had stays its own


@pytest.mark.parametrize("first", [True, False])
def test_an_address_of_another_is_refused_and_nothing_changes(
    containers: Containers, layout: Layout, *, first: bool
) -> None:
    if first:
        remember(layout)
    make(containers, "a", ip="10.11.0.5")
    with pytest.raises(Conflict, match=r"^network\.ip: 10\.11\.0\.5 is the address of a"):
        make(containers, "b", ip="10.11.0.5")
    assert os.listdir(layout.containers) == ["a"]
    make(containers, "b")
    before = Path(layout.settings("b")).read_bytes()
    with pytest.raises(Conflict, match=r"^network\.ip: 10\.11\.0\.5 is the address of a"):
        containers.update("b", {"network.ip": "10.11.0.5"})
    assert Path(layout.settings("b")).read_bytes() == before


def test_an_address_that_another_got_by_itself_is_refused_too(containers: Containers) -> None:
    make(containers, "a")
    containers.start("a")
    with pytest.raises(Conflict, match=r"^network\.ip: 10\.11\.0\.2 is the address of a"):
        make(containers, "b", ip="10.11.0.2")


@pytest.mark.parametrize("address", ["10.11.0.0", "10.11.0.1", "10.11.0.255", "192.168.1.5"])
def test_an_address_outside_of_the_network_is_refused(
    containers: Containers, layout: Layout, address: str
) -> None:
    remember(layout)
    with pytest.raises(UsageError) as caught:
        make(containers, "a", ip=address)
    assert str(caught.value).startswith(f"network.ip: {address} is not an address of a container")
    assert "10.11.0.2 to 10.11.0.254" in caught.value.why
    assert os.listdir(layout.containers) == []


@pytest.mark.parametrize(
    ("theirs", "mine", "key"),
    [
        ({"ports": "80:80"}, {"ports": "80:8080"}, "ports"),
        ({"ports": "80:80"}, {"ports": "127.0.0.1:80:8080"}, "ports"),
        ({"port_range": "100:200"}, {"ports": "150:80/udp"}, "ports"),
        ({"ports": "150:80/udp"}, {"port_range": "100:200"}, "port_range"),
    ],
)
def test_a_port_of_another_is_refused_and_nothing_changes(
    containers: Containers, layout: Layout, theirs: dict[str, str], mine: dict[str, str], key: str
) -> None:
    make(containers, "a", **theirs)
    with pytest.raises(Conflict) as caught:
        make(containers, "b", **mine)
    assert str(caught.value).startswith(f"network.{key}: port")
    assert caught.value.why.startswith("a has ")
    assert os.listdir(layout.containers) == ["a"]
    make(containers, "b")
    with pytest.raises(Conflict):
        containers.update("b", {f"network.{name}": text for name, text in mine.items()})
    assert containers.get("b").settings.network == settings.Network(mode="nat")


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ({"ports": "80:80"}, {"ports": "80:80/udp"}),
        ({"ports": "192.0.2.1:80:80"}, {"ports": "192.0.2.2:80:80"}),
        ({"ports": "80:80"}, {"ports": "81:80"}),
    ],
)
def test_what_does_not_overlap_is_taken(
    containers: Containers, theirs: dict[str, str], mine: dict[str, str]
) -> None:
    make(containers, "a", **theirs)
    make(containers, "b", **mine)


def test_ports_of_a_container_with_another_mode_are_free_until_it_wants_them_again(
    containers: Containers,
) -> None:
    make(containers, "a", ports="80:80")
    containers.update("a", {"network.mode": "host"})
    make(containers, "b", ports="80:80")
    with pytest.raises(Conflict, match=r"^network\.ports: port 80/tcp cannot be forwarded: b has"):
        containers.update("a", {"network.mode": "nat"})
    assert containers.get("a").settings.network.mode == "host"


def test_ports_of_a_run_in_the_foreground_count_at_the_start(
    containers: Containers, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "is_link", lambda name: name == "nsp0")
    with SlotFiles(layout) as held:
        held.remember(SUBNET)
        held.take(Slot(-1, run_owner(os.getpid()), forwards=["80:80/tcp"]), SUBNET)
    make(containers, "a", ports="80:80")
    with pytest.raises(Conflict, match=rf"a run \(process {os.getpid()}\) has 80:80/tcp"):
        containers.start("a")


def test_a_rename_keeps_the_address_and_a_removal_gives_it_back(
    containers: Containers, layout: Layout
) -> None:
    make(containers, "a")
    containers.start("a")
    containers.rename("a", "z")
    assert owners(layout) == {0: "name:z"}
    assert peek(layout)[1][0].host == "z"
    containers.remove("z")
    assert owners(layout) == {}


def test_a_container_whose_folder_was_removed_by_hand_loses_its_address(
    containers: Containers, layout: Layout
) -> None:
    make(containers, "a")
    containers.start("a")
    shutil.rmtree(layout.container("a"))
    make(containers, "b", ip="10.11.0.2")
    assert owners(layout) == {0: "name:b"}


def test_a_failed_creation_leaves_no_slot(
    containers: Containers, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(layout)

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(NspawnError):
        make(containers, "a", ip="10.11.0.7")
    assert owners(layout) == {}


def test_many_at_once_want_the_same_port_and_one_gets_it(layout: Layout) -> None:
    """In processes of their own, as commands are."""
    Path(layout.root).mkdir()
    tree = Path(layout.root).parent / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/sh").write_text("#!")
    (tree / "bin/sh").chmod(0o755)
    program = Path(__file__).resolve().parents[2] / "system/bin/nspawn"
    commands = [
        subprocess.Popen(
            [program, "create", f"c{number}", "--rootfs", tree, "-p", "80:80"],
            env={**os.environ, "NSPAWN_ROOT": layout.root},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(6)
    ]
    said = [command.communicate()[0].decode() for command in commands]
    assert sorted(command.returncode for command in commands) == [0, 1, 1, 1, 1, 1], said
    assert len(os.listdir(layout.containers)) == 1


def test_owner_names() -> None:
    assert slots.owner_text(name_owner("box")) == "box"
