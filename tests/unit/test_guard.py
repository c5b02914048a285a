"""The crash guard's decisions by tables, and its file: what is durable, what is damaged, what is refused."""

from __future__ import annotations

import binascii
import errno
import os
import subprocess
from pathlib import Path

import pytest

from nspawn.container import guard as effects
from nspawn.container.guard import Guard
from nspawn.errors import Conflict, Damaged, NspawnError
from nspawn.kernel import process
from nspawn.layout import Layout
from nspawn.model import guard as model
from nspawn.model.guard import Ledger, NewerVersion, Note

ON = {"NSPAWN_GUARD": "1"}


def note(step: str = "start", *, boot: str = "one", container: str = "", feature: str = "") -> Note:
    return Note(step, container=container, feature=feature, boot=boot, holder="7:9", kernel="6.6 #1", when=9)


def ledger(*notes: Note, never: tuple[str, ...] = (), failed: int = 0) -> Ledger:
    made = Ledger()
    made.notes = list(notes)
    made.never = set(never)
    made.failed = failed
    return made


# Which boot


@pytest.mark.parametrize(
    ("boots", "failed", "safe"),
    [
        ("a", 0, False),
        ("aaa", 0, False),
        ("ab", 1, False),
        ("a+b", 0, False),
        ("abc", 2, False),
        ("abcd", 3, True),
        ("abbbccd", 3, True),
        ("ab+cd", 1, False),
        ("abcd+", 3, True),
        ("abcd+ef", 4, True),
    ],
    ids=str,
)
def test_boots_that_do_not_come_up_well_are_counted_once(boots: str, failed: int, safe: bool) -> None:
    """Letters are boot ids, in which a spawner starts; + says that the boot came up well."""
    made = Ledger()
    boot = ""
    for char in boots:
        if char == "+":
            made.came_up(boot)
        else:
            boot = char
            made.begin_boot(boot)
    assert (made.failed, made.safe_mode) == (failed, safe)


@pytest.mark.parametrize(
    ("reason", "orderly"),
    [
        ("reboot,userrequested", True),
        ("shutdown,userrequested", True),
        ("reboot,adb", True),
        ("shutdown,battery", True),
        ("reboot,ota,from_1_to_2", True),
        ("reboot", False),
        ("reboot,longkey", False),
        ("shutdown,thermal", False),
        ("kernel_panic,null", False),
        ("watchdog", False),
        ("cold,powerkey", False),
        ("", False),
    ],
)
def test_an_end_that_somebody_wanted(reason: str, orderly: bool) -> None:
    assert model.is_orderly(reason) is orderly


def test_a_boot_that_somebody_ended_was_a_good_one() -> None:
    made = Ledger()
    for boot in "abcde":
        if made.is_in_doubt(boot):
            made.ended_in_order()
        made.begin_boot(boot)
    assert (made.failed, made.safe_mode) == (0, False)


def test_a_wanted_end_excuses_the_steps_of_that_boot_only() -> None:
    made = Ledger()
    made.begin_boot("a")
    made.notes = [note(model.START, container="older", boot="a")]
    made.begin_boot("b")
    made.notes.append(note(model.START, container="last", boot="b"))
    assert made.is_in_doubt("c")
    assert not made.is_in_doubt("b"), "of its own notes the same boot has no doubt"
    made.ended_in_order()
    assert [each.container for each in made.trips("c")] == ["older"]


def test_only_a_decision_ends_the_safe_mode() -> None:
    made = Ledger()
    for boot in "abcd":
        made.begin_boot(boot)
    before = made.safe_mode
    made.try_again("d")
    assert (before, made.safe_mode) == (True, False)
    made.begin_boot("e")
    assert made.failed == 1


# Which note


@pytest.mark.parametrize(
    ("notes", "text"),
    [
        ([], ""),
        ([note(boot="now", container="web")], ""),
        ([note(container="web")], "the machine went down while web was starting"),
        (
            [note(container="db"), note(container="mail"), note(container="web")],
            "the machine went down while web was starting (in the same seconds: db, mail)",
        ),
        (
            [note("namespace", feature="pid")],
            "the machine went down while pid namespaces were first tried on this kernel",
        ),
        (
            [note("namespace")],
            "the machine went down while all namespaces together were first tried on this kernel",
        ),
        ([note("mount")], "the machine went down while the step 'mount' was under way"),
    ],
)
def test_a_note_of_another_boot_is_a_trip(notes: list[Note], text: str) -> None:
    trips = ledger(*notes).trips("now")
    assert (model.trip_text(trips) if trips else "") == text


@pytest.mark.parametrize(
    ("found", "feature", "resolved"),
    [
        (note("namespace", feature="pid"), "pid", True),
        (note("namespace", feature="pid"), "ipc", False),
        (note("namespace"), "ipc", True),
        (note("start", container="web"), "pid", False),
    ],
)
def test_forbidding_what_was_tried_is_a_decision(found: Note, feature: str, resolved: bool) -> None:
    made = ledger(found)
    made.forbid(feature, "now")
    assert (not made.trips("now")) is resolved
    assert made.never == {feature}


def test_a_decision_leaves_what_is_open_now() -> None:
    made = ledger(note("namespace", feature="pid"), note(boot="now", container="web"))
    made.try_again("now")
    assert [each.container for each in made.notes] == ["web"]


def test_what_is_allowed_again_is_to_be_proven_again() -> None:
    made = Ledger()
    made.prove("k", ["pid", "ipc", "together", "start:web"])
    made.forbid("pid", "now")
    made.allow("pid")
    assert list(made.proven["k"]) == ["ipc", "start:web"]
    made.allow("ipc")  # it never was forbidden
    assert list(made.proven["k"]) == ["ipc", "start:web"]


def test_proofs_are_kept_for_the_last_kernels_and_are_bounded() -> None:
    made = Ledger()
    for kernel in "abcde":
        assert made.prove(kernel, ["pid"])
    assert not made.prove("b", ["pid"])
    assert list(made.proven) == ["c", "d", "e", "b"]
    made.prove("b", [f"start:c{number}" for number in range(2000)])
    assert len(made.proven["b"]) == 512
    assert "pid" in made.proven["b"]
    assert "start:c1999" in made.proven["b"]


def test_what_was_removed_is_unproven_on_every_kernel() -> None:
    made = Ledger()
    made.prove("a", ["pid", "start:web"])
    made.prove("b", ["start:web", "start:db"])
    assert made.unprove("start:web")
    assert not made.unprove("start:web")
    assert {kernel: list(proofs) for kernel, proofs in made.proven.items()} == {
        "a": ["pid"],
        "b": ["start:db"],
    }


@pytest.mark.parametrize(
    ("trips", "safe", "words"),
    [
        ([note(container="web")], False, ["web was starting", "nspawn guard try-again"]),
        ([note("namespace", feature="pid")], True, ["pid namespaces", "nspawn guard never pid"]),
        ([note("namespace")], False, ["together", "nspawn guard never "]),
        ([], True, ["safe mode", "3 times", "nspawn guard try-again"]),
    ],
)
def test_the_refusal_says_what_happened_and_what_next(
    trips: list[Note], safe: bool, words: list[str]
) -> None:
    text = model.refusal(trips, safe_mode=safe).render()
    assert all(word in text for word in words), text


# The value of the file


def full() -> Ledger:
    made = ledger(note("namespace", feature="pid"), note(container="web"), never=("ipc", "time"), failed=2)
    made.prove("6.6 #1 SMP Thu", ["uts", "start:web"])
    made.boot, made.good, made.problem = "one", False, "odd"
    return made


def test_it_comes_back_as_it_was_written() -> None:
    again = Ledger.decode(full().encode())
    assert again.encode() == full().encode()
    assert again.proven == {"6.6 #1 SMP Thu": {"uts": None, "start:web": None}}
    assert (again.never, again.failed, again.boot, again.good) == ({"ipc", "time"}, 2, "one", False)


def test_a_kernels_name_cannot_add_fields() -> None:
    made = Ledger()
    made.prove("6.6\t#1\n\0start:evil", ["pid"])
    made.notes = [note(container="web")]
    made.notes[0].kernel = "a\tb\0never=pid"
    again = Ledger.decode(made.encode())
    assert again.never == set()
    assert list(again.proven.values()) == [{"pid": None}]
    assert again.notes[0].container == "web"


def test_every_cut_and_every_changed_byte_is_damage() -> None:
    data = full().encode()
    for length in range(len(data)):
        with pytest.raises(Damaged):
            Ledger.decode(data[:length])
    for place in range(len(data)):
        with pytest.raises(Damaged):
            Ledger.decode(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"[guard]\n", b"\xff" * 100, b"\0sum=", b"=\0sum=00000000"]
)
def test_what_is_no_ledger_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        Ledger.decode(data)


# The file


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel says is the boot id; a test changes the first."""
    current = ["one"]
    monkeypatch.setattr(process, "boot_id", lambda: current[0])
    return current


def open_guard(root: Path) -> Guard:
    return Guard(Layout(str(root)), ON)


@pytest.mark.parametrize(
    ("environ", "active"),
    [
        ({}, False),
        ({"ANDROID_ROOT": "/system"}, False),
        ({"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}, True),
        ({"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "NSPAWN_GUARD": "0"}, False),
        ({"NSPAWN_GUARD": "1"}, True),
        ({"NSPAWN_GUARD": "yes"}, False),
    ],
)
def test_it_is_for_phones_and_trials(tmp_path: Path, environ: dict[str, str], active: bool) -> None:
    guard = Guard(Layout(str(tmp_path)), environ)
    assert guard.active is active
    guard.note("start", container="web")
    assert os.listdir(tmp_path) == (["guard"] if active else [])
    assert guard.is_proven("pid") is not active
    guard.clear()


def test_a_note_is_found_by_the_next_boot_only(tmp_path: Path, boot: list[str]) -> None:
    guard = open_guard(tmp_path)
    guard.note("start", container="web")
    assert not open_guard(tmp_path).blocked
    boot[0] = "two"
    later = open_guard(tmp_path)
    assert later.blocked
    assert later.trip is not None
    assert (later.trip.step, later.trip.container) == ("start", "web")
    with pytest.raises(Conflict, match="no container is started"):
        later.check()
    boot[0] = "three"
    assert open_guard(tmp_path).blocked, "until somebody decides"
    later.try_again()
    assert not open_guard(tmp_path).blocked


def test_a_cleared_note_is_none(tmp_path: Path, boot: list[str]) -> None:
    guard = open_guard(tmp_path)
    guard.note("start", container="web")
    guard.note("start", container="db")
    assert guard.clear("start", containers=["web"], proven=["start:web"])
    boot[0] = "two"
    later = open_guard(tmp_path)
    assert later.trip is not None
    assert later.trip.container == "db"
    assert later.is_proven("start:web")
    assert not later.is_proven("start:db")


def test_two_writers_keep_each_others_notes(tmp_path: Path, boot: list[str]) -> None:
    one, other = open_guard(tmp_path), open_guard(tmp_path)
    with subprocess.Popen(["sleep", "100"]) as alive:
        other._holder = f"{alive.pid}:{process.start_time(alive.pid)}"
        one.note("start", container="web")
        other.note("start", container="db")
        one.clear()
        assert not one.inherited()
        alive.kill()
    boot[0] = "two"
    found = open_guard(tmp_path).trip
    assert found is not None
    assert found.container == "db"


def test_notes_of_a_process_that_is_gone_are_inherited_in_the_same_boot(
    tmp_path: Path, boot: list[str]
) -> None:
    dead = open_guard(tmp_path)
    dead._holder = "4194305:1"
    dead.note("start", container="web")
    guard = open_guard(tmp_path)
    assert guard.inherited()
    assert guard.clear_inherited()
    boot[0] = "two"
    assert not open_guard(tmp_path).blocked


def test_the_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    guard = open_guard(tmp_path)
    guard.forbid("pid")
    first = os.stat(tmp_path / "guard")
    guard.forbid("ipc")
    assert os.stat(tmp_path / "guard").st_mode & 0o7777 == 0o600
    assert os.stat(tmp_path / "guard.old").st_ino == first.st_ino
    assert sorted(os.listdir(tmp_path)) == ["guard", "guard.old"]


DAMAGE = {
    "empty": b"",
    "NUL-filled": b"\0" * 512,
    "other": b"never = ['pid']\n",
}


@pytest.mark.parametrize("kind", [*DAMAGE, "cut", "folder", "fifo", "link", "missing"])
def test_damage_never_blocks_proves_nothing_new_and_is_told(
    tmp_path: Path, boot: list[str], kind: str
) -> None:
    guard = open_guard(tmp_path)
    guard.forbid("pid")
    guard.clear(proven=["ipc"])
    guard.note("start", container="web")
    path = tmp_path / "guard"
    data = path.read_bytes()
    path.unlink()
    if kind in DAMAGE:
        path.write_bytes(DAMAGE[kind])
    elif kind == "cut":
        path.write_bytes(data[:-20])
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to("elsewhere")
    boot[0] = "two"
    later = open_guard(tmp_path)
    assert not later.blocked
    assert later.never == {"pid"}, "from the copy before it"
    assert later.is_proven("ipc")
    assert not later.is_proven("uts")
    assert "no good" in later.problem
    later.begin_boot(lambda: False)
    assert "no good" in open_guard(tmp_path).problem, "until somebody has seen it"
    if kind != "folder":
        later.try_again()
        assert open_guard(tmp_path).problem == ""
    assert (tmp_path / "elsewhere").read_bytes() == data if kind == "link" else True


def test_without_a_copy_damage_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "guard").write_bytes(b"\0" * 100)
    guard = open_guard(tmp_path)
    assert not guard.blocked
    assert not guard.is_proven("ipc")
    assert "there is no copy" in guard.problem


def test_a_newer_file_keeps_what_is_forbidden(tmp_path: Path) -> None:
    made = full()
    data = made.encode().rpartition(b"\0sum=")[0].replace(b"version=1", b"version=2")
    data += b"\0sum=%08x" % binascii.crc32(data)
    with pytest.raises(NewerVersion):
        Ledger.decode(data)
    (tmp_path / "guard").write_bytes(data)
    guard = open_guard(tmp_path)
    assert not guard.blocked
    assert guard.never == {"ipc", "time"}
    assert not guard.is_proven("uts")
    assert "newer" in guard.problem
    guard.note("start", container="web")
    assert (tmp_path / "guard.newer").read_bytes() == data, "left for that version"


def test_a_full_disk_refuses_the_note_and_keeps_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = open_guard(tmp_path)
    guard.forbid("pid")
    before = (tmp_path / "guard").read_bytes()

    def full_disk(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(NspawnError, match="cannot note that web was starting") as caught:
        guard.note("start", container="web")
    assert "No space left" in caught.value.why
    assert not guard.clear(proven=["uts"])
    monkeypatch.undo()
    assert (tmp_path / "guard").read_bytes() == before
    assert open_guard(tmp_path).never == {"pid"}


def test_a_writer_that_is_stopped_does_not_stop_us_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(effects, "_LOCK_TIMES", 3)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    open_guard(tmp_path).forbid("pid")
    os.close(held)
    assert open_guard(tmp_path).never == {"pid"}
