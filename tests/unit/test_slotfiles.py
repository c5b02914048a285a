"""The slots' files: numbers that stay, numbers that come back, and files that nobody can trust."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nspawn.errors import Busy, Conflict
from nspawn.kernel.slotfiles import SlotFiles, is_gone, name_owner, peek, run_owner
from nspawn.layout import Layout
from nspawn.model.slot import Slot, Subnet

SUBNET = Subnet(0x0A0B0000, 24, 0xFD11 << 112)
SMALL = Subnet(0x0A0B0000, 29, 0xFD11 << 112)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "state"))


def take(layout: Layout, name: str, number: int = -1, subnet: Subnet = SUBNET, hint: int = -1) -> int:
    with SlotFiles(layout) as files:
        return files.take(Slot(number, name_owner(name), host=name), subnet, hint=hint).number


def test_each_container_has_the_lowest_number_that_is_free_and_keeps_it(layout: Layout) -> None:
    assert [take(layout, name) for name in ("a", "b", "c")] == [0, 1, 2]
    assert take(layout, "b") == 1
    assert take(layout, "b", hint=1) == 1
    assert take(layout, "b", hint=2) == 1
    with SlotFiles(layout) as files:
        assert files.release(name_owner("b")) == 1
        assert files.release(name_owner("b")) == -1
    assert take(layout, "d") == 1
    assert take(layout, "c") == 2


def test_what_was_asked_comes_back_whole(layout: Layout) -> None:
    wish = Slot(
        7,
        name_owner("web"),
        host="web",
        pins=("vpn", "wlan*"),
        on_down="fallback",
        forwards=("8080:80/tcp", "53:53/udp"),
        dns=("1.1.1.1", "fd00::1"),
        ipv6="proxy",
    )
    with SlotFiles(layout) as files:
        assert files.take(wish, SUBNET) == wish
        files.remember(SUBNET)
    assert peek(layout) == (SUBNET, [wish], [])


def test_a_fixed_number_that_another_has_is_refused_and_nothing_changes(layout: Layout) -> None:
    take(layout, "a", 5)
    take(layout, "b", 6)
    with pytest.raises(Conflict, match=r"the address 10\.11\.0\.7 is taken: the container a has it"):
        take(layout, "b", 5)
    assert [(slot.number, slot.owner) for slot in peek(layout)[1]] == [(5, "name:a"), (6, "name:b")]
    assert take(layout, "b", 9) == 9
    assert [(slot.number, slot.owner) for slot in peek(layout)[1]] == [(5, "name:a"), (9, "name:b")]


def test_the_slot_of_a_run_that_is_over_is_given_away_again(layout: Layout) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as run:
        owner = run_owner(run.pid)
        with SlotFiles(layout) as files:
            assert files.take(Slot(-1, owner), SMALL).number == 0
        assert [take(layout, name, subnet=SMALL) for name in "abcd"] == [1, 2, 3, 4]
        with pytest.raises(Busy, match="no free address"):
            take(layout, "e", subnet=SMALL)
        with pytest.raises(Conflict, match="a run has it"):
            take(layout, "e", 0, subnet=SMALL)
        assert not is_gone(owner)
        run.communicate(b"\n")
    assert is_gone(owner)
    assert take(layout, "e", subnet=SMALL) == 0
    with pytest.raises(Busy, match=r"all 5 of 10\.11\.0\.0/29 are"):
        take(layout, "f", subnet=SMALL)


def test_another_process_with_the_number_of_a_run_is_not_it(layout: Layout) -> None:
    assert not is_gone(run_owner(os.getpid()))
    for owner in (f"run:{os.getpid()}:1", f"run:{os.getpid()}:0", "run:x:y", "run:", "run:1"):
        assert is_gone(owner), owner
    assert not is_gone(name_owner("run:1:1"))


def test_two_runs_of_one_process_have_two_slots(layout: Layout) -> None:
    with SlotFiles(layout) as files:
        numbers = [files.take(Slot(-1, run_owner(os.getpid())), SUBNET).number for _ in range(2)]
    assert numbers == [0, 1]


def test_a_renamed_container_keeps_its_number(layout: Layout) -> None:
    take(layout, "a")
    take(layout, "b")
    with SlotFiles(layout) as files:
        files.rename("b", "new")
        files.rename("nobody", "x")
    slot = peek(layout)[1][1]
    assert (slot.number, slot.owner, slot.host) == (1, "name:new", "new")


def write(text: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(text)

    return make


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": write(b""),
    "zeros": write(b"\0" * 90),
    "no record": write(b"hello"),
    "cut off": write(b"version=1\0slot=1\0owner=name:x\0host=x\0on-down=block\0ipv6=auto"),
    "of another": write(b"version=1\0slot=3\0owner=name:x\0on-down=block\0end=1"),
    "of nobody": write(b"version=1\0slot=1\0owner=\0on-down=block\0end=1"),
    "newer": write(b"version=9\0slot=1\0owner=name:x\0on-down=block\0end=1"),
    "a folder": Path.mkdir,
    "a fifo": os.mkfifo,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_told_and_harms_no_other(layout: Layout, damage: Callable[[Path], None]) -> None:
    for name in ("a", "b", "c"):
        take(layout, name)
    path = Path(layout.network, "slots", "1")
    path.unlink()
    damage(path)
    _, slots, damaged = peek(layout)
    assert [slot.owner for slot in slots] == ["name:a", "name:c"]
    assert [str(error).partition(":")[0] for error in damaged] == [f"{path} is damaged"]
    assert take(layout, "d") == 3
    assert take(layout, "c") == 2


def test_a_damaged_number_is_given_away_when_no_other_is_left(layout: Layout) -> None:
    for name in "abcde":
        take(layout, name, subnet=SMALL)
    Path(layout.network, "slots", "3").write_bytes(b"junk")
    assert take(layout, "f", subnet=SMALL) == 3
    with pytest.raises(Busy):
        take(layout, "g", subnet=SMALL)


def test_a_damaged_subnet_is_told_and_none(layout: Layout) -> None:
    with SlotFiles(layout) as files:
        assert files.subnet() is None
        files.remember(SUBNET)
        assert files.subnet() == SUBNET
    Path(layout.network, "prefix").write_bytes(b"version=1\0base4=0\0length4=99\0base6=x\0end=1")
    subnet, _, damaged = peek(layout)
    assert subnet is None
    assert len(damaged) == 1


def test_looking_makes_nothing(layout: Layout) -> None:
    assert peek(layout) == (None, [], [])
    assert not os.path.exists(layout.root)


def test_a_folder_that_is_a_link_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "slots").mkdir(parents=True)
    os.makedirs(layout.root)
    os.symlink(tmp_path / "elsewhere", layout.network)
    with pytest.raises(OSError, match="Not a directory"):
        take(layout, "a")
    assert not list((tmp_path / "elsewhere" / "slots").iterdir())


def test_what_a_killed_writer_left_is_no_obstacle(layout: Layout) -> None:
    take(layout, "a")
    Path(layout.network, "slots", ".0.new").write_bytes(b"half")
    Path(layout.network, "slots", ".1.new").write_bytes(b"half")
    assert take(layout, "a", 1) == 1
    assert sorted(os.listdir(f"{layout.network}/slots")) == [".0.new", "1"]


def test_many_at_once_get_many_numbers(layout: Layout) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from nspawn.kernel.slotfiles import SlotFiles\n"
        "from nspawn.layout import Layout\n"
        "from nspawn.model.slot import Slot, Subnet\n"
        "for i in range(8):\n"
        "    with SlotFiles(Layout(sys.argv[2])) as files:\n"
        "        owner = f'name:{sys.argv[3]}{i}'\n"
        "        print(files.take(Slot(-1, owner), Subnet(0x0A0B0000, 24, 1 << 120)).number)\n"
    )
    source = str(Path(__file__).parents[2] / "python")
    runs = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, source, layout.root, name], stdout=subprocess.PIPE
        )
        for name in "abcd"
    ]
    found = [int(line) for run in runs for line in run.communicate(timeout=30)[0].split()]
    assert sorted(found) == list(range(32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_in_a_file_bring_down_its_reader(layout: Layout, data: bytes) -> None:
    take(layout, "a")
    Path(layout.network, "slots", "1").write_bytes(data)
    assert [slot.owner for slot in peek(layout)[1]] == ["name:a"]
