"""The crash guard for real: power cuts in the middle of a step, and what the next boot makes of them."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bootable import Bootable
from tests.support.daemon import free_port
from tests.support.processes import wait_until
from tests.support.program import POOR_KERNEL

SLEEP = "sleep 100000"
QUIET_STRACE = ("strace", "-f", "-qqq", "-o", "/dev/null")
KINDS = ("uts", "ipc", "cgroup", "time", "net", "pid")


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Bootable]:
    made = Bootable(tmp_path, free_port())
    made.power_on()
    yield made
    made.end()


def settled(phone: Bootable) -> bool:
    """Wait until nothing is open: three seconds after the last step."""
    return wait_until(lambda: b"note=" not in (phone.root / "guard").read_bytes(), 10, 0.1)


def cut_off_in_start(phone: Bootable, rootfs: Path) -> None:
    """A machine whose power went while its autostart container "web" was starting."""
    phone.create("web", rootfs, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    phone.becomes("web", "running")
    assert settled(phone)
    phone.reboot()
    phone.becomes("web", "running")
    assert b"note=start\tweb" in (phone.root / "guard").read_bytes()
    phone.reboot()


def page(phone: Bootable, method: str = "GET", body: object = None) -> Any:
    origin = f"http://127.0.0.1:{phone.port}"
    request = urllib.request.Request(f"{origin}/api/v1/guard", method=method)
    request.add_header("Authorization", f"Bearer {phone.ok('token').out.strip()}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
        request.add_header("X-Nspawn", "1")
        request.add_header("Origin", origin)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)


# A start


def test_after_a_crash_in_a_start_no_container_starts_and_everything_else_works(
    phone: Bootable, busybox: Path
) -> None:
    cut_off_in_start(phone, busybox)
    told = phone("guard")
    assert told.status == 1
    assert "The machine went down while web was starting." in told.out
    assert "nspawn guard try-again" in told.out
    for refused in (phone("start", "web"), phone(busybox, "true"), phone("boot", "--wait")):
        assert refused.status == 1, str(refused)
        assert "web was starting" in refused.err
        assert "nspawn guard try-again" in refused.err
    assert phone.state("web") == "stopped"
    assert "the machine restarted" in phone.json("info", "web", "--json")["state"]["exit"]
    for words in (("list",), ("logs", "web"), ("set", "web", "env.A=1"), ("doctor",)):
        phone.ok(*words)
    assert "web was starting" in phone("list").err
    assert "crash guard: the machine went down while web was starting" in phone("doctor").out
    found = page(phone)
    assert found["blocked"] is True
    assert (found["trip"]["step"], found["trip"]["container"]) == ("start", "web")
    assert found["trip"]["kernel"] == f"{os.uname().release} {os.uname().version}"
    assert found == phone.guard()
    # No cell was made either: no process of ours has other namespaces than the machine.
    spaces = {os.readlink(path) for path in Path("/proc").glob("[0-9]*/ns/mnt") if _of(phone, path)}
    assert len(spaces) == 1


def _of(phone: Bootable, path: Path) -> bool:
    try:
        return f"NSPAWN_ROOT={phone.root}".encode() in (path.parent.parent / "environ").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("how", ["command", "page"])
def test_try_again_starts_what_was_kept_back(phone: Bootable, busybox: Path, how: str) -> None:
    cut_off_in_start(phone, busybox)
    if how == "command":
        phone.ok("guard", "try-again")
    else:
        assert page(phone, "POST", {"action": "try-again"})["blocked"] is False
    phone.becomes("web", "running")
    assert settled(phone)
    phone.reboot()
    phone.becomes("web", "running")
    assert phone.guard()["trip"] is None


def test_without_a_spawner_the_decision_counts_for_the_next(phone: Bootable, busybox: Path) -> None:
    cut_off_in_start(phone, busybox)
    phone.ok("shutdown")
    phone.ok("guard", "try-again")
    phone.serve("--boot")
    phone.becomes("web", "running")


def test_a_trip_stays_over_boots_until_somebody_decides(phone: Bootable, busybox: Path) -> None:
    cut_off_in_start(phone, busybox)
    phone.reboot()
    assert phone.guard()["blocked"] is True
    assert phone.state("web") == "stopped"


def test_a_power_cut_later_is_no_trip(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    phone.becomes("web", "running")
    assert settled(phone)
    phone.reboot()
    phone.becomes("web", "running")
    assert phone.guard()["trip"] is None


def test_of_several_starts_all_are_named(phone: Bootable, busybox: Path) -> None:
    for name in ("one", "two"):
        phone.create(name, busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    phone.becomes("two", "running")
    phone.reboot()
    trip = phone.guard()["trip"]
    assert trip["container"] == "two"
    assert trip["text"].endswith("(in the same seconds: one)")


def test_a_start_by_hand_is_noted_once_a_kernel(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP)
    phone.serve("--boot")
    phone.ok("start", "web")
    assert b"note=start\tweb" in (phone.root / "guard").read_bytes()
    assert settled(phone)
    phone.ok("restart", "--time", "0", "web")
    assert b"note=" not in (phone.root / "guard").read_bytes()
    phone.ok("stop", "--time", "0", "web")
    phone.ok("rm", "web")
    phone.create("web", busybox, command=SLEEP)
    phone.ok("start", "web")
    assert b"note=start\tweb" in (phone.root / "guard").read_bytes(), "another container of that name"
    assert settled(phone)
    phone.reboot()
    assert phone.guard()["trip"] is None


def test_a_spawner_that_dies_is_no_machine_that_went_down(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP)
    phone.serve("--boot")
    phone.ok("start", "web")
    before = phone.json("doctor", "--json")["spawner"]["pid"]
    phone("kill-by-test", prefix=["sh", "-c", f"kill -9 {before}"])
    assert wait_until(lambda: phone.json("doctor", "--json")["spawner"].get("pid") not in (None, before), 10)
    assert b"note=start\tweb" in (phone.root / "guard").read_bytes()
    assert phone.guard()["blocked"] is False
    assert settled(phone)
    phone.reboot()
    assert phone.guard()["trip"] is None


def test_an_orderly_end_leaves_nothing_open(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    phone.becomes("web", "running")
    phone.ok("shutdown")
    phone.reboot()
    assert phone.guard()["trip"] is None
    assert phone.guard()["failed_boots"] == 0


# A namespace


def hang_in_clone3(number: int) -> list[str]:
    """strace that keeps the nth clone3 of each process from being made."""
    return [*QUIET_STRACE, "-e", "trace=clone3", "-e", f"inject=clone3:delay_enter=60000000:when={number}"]


def cut_off_in_probe(phone: Bootable, kind: str) -> None:
    """A machine that went down when this namespace's first process was made."""
    # The cgroup namespace is unshared, as a cell does it, and needs no clone3.
    number = [each for each in KINDS if each != "cgroup"].index(kind) + 1
    phone.begin("serve", prefix=hang_in_clone3(number))
    noted = f"note=namespace\t\t{kind}\t".encode()
    assert wait_until(lambda: noted in _guard_file(phone), 15), _guard_file(phone)
    phone.reboot()


def _guard_file(phone: Bootable) -> bytes:
    try:
        return (phone.root / "guard").read_bytes()
    except FileNotFoundError:
        return b""


def test_a_kernel_that_dies_of_a_pid_namespace_is_used_without(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.create("init", busybox, boot="true")
    cut_off_in_probe(phone, "pid")
    found = page(phone)
    assert (found["trip"]["step"], found["trip"]["feature"]) == ("namespace", "pid")
    assert phone.state("web") == "stopped"
    assert "nspawn guard never pid" in phone("guard").out
    refused = phone("start", "web")
    assert refused.status == 1
    assert "nspawn guard never pid" in refused.err

    assert page(phone, "POST", {"action": "never", "feature": "pid"})["never"] == ["pid"]
    phone.becomes("web", "running")
    inside, outside = phone.namespace("web", "pid")
    assert inside == outside
    inside, outside = phone.namespace("web", "uts")
    assert inside != outside
    alone = phone(busybox, "readlink", "/proc/self/ns/pid")
    assert alone.status == 0
    assert (
        alone.out.strip() == outside.replace("uts", "pid")
        or alone.out.strip() == phone.namespace("web", "pid")[1]
    )
    booted = phone("start", "init")
    assert booted.status == 1
    assert "you chose never to use pid namespaces" in booted.err
    assert "nspawn guard allow pid" in booted.err
    assert "pid: you chose never to use it" in phone("doctor").out

    phone.ok("guard", "allow", "pid")
    phone.ok("restart", "--time", "0", "web")
    inside, outside = phone.namespace("web", "pid")
    assert inside != outside
    assert settled(phone)


def test_to_forbid_another_feature_is_no_decision_about_the_trip(phone: Bootable) -> None:
    cut_off_in_probe(phone, "net")
    assert phone("guard", "never", "ipc").status == 1
    assert phone.guard()["blocked"] is True
    phone.ok("guard", "never", "net")
    assert sorted(phone.guard()["never"]) == ["ipc", "net"]


def test_a_run_without_a_spawner_is_guarded_too(phone: Bootable, busybox: Path) -> None:
    phone.begin(busybox, "true", prefix=hang_in_clone3(1))
    assert wait_until(lambda: b"note=namespace\t\tuts" in _guard_file(phone), 15)
    phone.power_off()
    phone.power_on()
    refused = phone(busybox, "true")
    assert refused.status == 1
    assert "uts namespaces were first tried" in refused.err
    phone.ok("guard", "never", "uts")
    result = phone(busybox, "readlink", "/proc/self/ns/uts")
    assert result.out.strip() == os.readlink("/proc/self/ns/uts")
    assert b"note=" not in _guard_file(phone)


def test_what_is_refused_is_left_out_and_not_taken_for_proven(phone: Bootable, busybox: Path) -> None:
    """A `su` shell's seccomp filter says nothing about what service.sh may do."""
    filtered = [sys.executable, str(POOR_KERNEL), "--without", "pid,ipc", "--"]
    for _ in range(2):
        assert phone(busybox, "true", prefix=filtered).status == 0
        assert b"\tuts" in _guard_file(phone)
        assert b"\tpid" not in _guard_file(phone)
        assert b"note=" not in _guard_file(phone)
    phone.ok("guard")
    inside = phone(busybox, "readlink", "/proc/self/ns/ipc").out.strip()
    assert inside != os.readlink("/proc/self/ns/ipc")
    assert b"\tpid" in _guard_file(phone)


def test_without_the_guard_there_is_none(phone: Bootable, busybox: Path) -> None:
    phone.environment["NSPAWN_GUARD"] = "0"
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    phone.becomes("web", "running")
    assert not (phone.root / "guard").exists()
    refused = phone("guard", "never", "pid")
    assert refused.status == 1
    assert "no crash guard here" in refused.err


# Boots


def test_three_boots_that_do_not_come_up_are_the_safe_mode(phone: Bootable, busybox: Path) -> None:
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot")
    for count in (1, 2):
        phone.becomes("web", "running")
        assert settled(phone)
        phone.reboot()
        assert phone.guard()["failed_boots"] == count
        assert phone.guard()["blocked"] is False
    phone.becomes("web", "running")
    assert settled(phone)
    phone.reboot()
    found = page(phone)
    assert (found["safe_mode"], found["blocked"], found["trip"]) == (True, True, None)
    assert phone.state("web") == "stopped"
    assert "safe mode" in phone("start", "web").err
    phone.ok("guard", "try-again")
    phone.becomes("web", "running")


def test_a_spawner_that_is_started_again_in_a_boot_counts_nothing(phone: Bootable) -> None:
    for _ in range(4):
        phone.serve("--boot")
        phone.power_off()
        _same_boot(phone)
    phone.serve("--boot")
    assert phone.guard()["failed_boots"] == 0


def test_a_soft_reboot_starts_no_second_spawner(phone: Bootable) -> None:
    """Android's system server is started again, and service.sh with it."""
    phone.serve("--boot")
    pid = phone.json("doctor", "--json")["spawner"]["pid"]
    again = phone("serve", "--boot")
    assert (again.status, again.out, again.err) == (0, "", "")
    assert phone.json("doctor", "--json")["spawner"]["pid"] == pid
    assert phone("serve").status == 1


def _same_boot(phone: Bootable) -> None:
    phone.power_on()
    first = phone.folder / "boot_id.1"
    (phone.folder / f"boot_id.{phone.boots}").write_bytes(first.read_bytes())


@pytest.mark.slow
def test_a_minute_makes_a_boot_a_good_one(phone: Bootable) -> None:
    phone.serve("--boot")
    phone.reboot()
    assert phone.guard()["failed_boots"] == 1
    assert wait_until(lambda: b"good=1" in _guard_file(phone), 65, 1.0)
    phone.reboot()
    assert phone.guard()["failed_boots"] == 0


# The file


@pytest.mark.parametrize("damage", [b"\0" * 600, b"version=1"], ids=["NUL", "cut"])
def test_a_damaged_file_is_told_and_blocks_nothing(phone: Bootable, busybox: Path, damage: bytes) -> None:
    cut_off_in_start(phone, busybox)
    phone.power_off()
    (phone.root / "guard").write_bytes(damage)
    phone.power_on()
    phone.serve("--boot")
    phone.becomes("web", "running")
    assert "no good" in phone.guard()["problem"]
    assert "no good" in phone("guard").out
    assert "no good" in phone.log


def full_disk() -> list[str]:
    """strace that makes each fsync fail: in the spawner only the guard calls it."""
    return [*QUIET_STRACE, "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC"]


def test_on_a_full_disk_what_is_new_is_refused_and_what_is_proven_starts(
    phone: Bootable, busybox: Path
) -> None:
    phone.create("web", busybox, command=SLEEP, autostart__enabled="true")
    phone.serve("--boot", prefix=full_disk())
    assert wait_until(lambda: "No space left" in phone.log, 10)
    refused = phone("start", "web")
    assert refused.status == 1
    assert "cannot note" in refused.err
    assert "free some space" in refused.err
    assert phone.state("web") == "stopped"
    phone.reboot()
    phone.becomes("web", "running")
    assert settled(phone)
    phone.power_off()
    phone.power_on()
    phone.serve("--boot", prefix=full_disk())
    phone.becomes("web", "running")
    assert "it has run on this kernel before" in phone.log
    phone.create("new", busybox, command=SLEEP)
    assert "cannot note that new was starting" in phone("start", "new").err


def test_the_note_is_on_the_disk_before_the_step_and_a_proven_start_has_none(
    phone: Bootable, busybox: Path
) -> None:
    phone.create("web", busybox, command=SLEEP)
    trace = phone.folder / "trace"
    watched = ["strace", "-f", "-qqq", "-o", str(trace), "-e", "trace=fsync,clone3,unshare,rename,renameat"]
    phone.serve(prefix=watched)
    assert wait_until(lambda: b"together" in _guard_file(phone), 15)
    calls = re.findall(r"^\d+ +(fsync|clone3|unshare|rename\w*)\(.*= [^-?]", trace.read_text(), re.MULTILINE)
    steps = [place for place, call in enumerate(calls) if call in ("clone3", "unshare")][: len(KINDS)]
    assert len(steps) == len(KINDS)
    for begin, end in zip([-1, *steps], steps, strict=False):
        # Its file, then its name, then the folder that has the name: and then the step.
        note = calls[begin + 1 : end]
        assert (note[0], note[-1], note.count("fsync")) == ("fsync", "fsync", 2), calls
        assert note[-2].startswith("rename"), calls
    phone.ok("start", "web")
    assert settled(phone)
    synced = trace.read_text().count("fsync(")
    assert synced
    for _ in range(3):
        phone.ok("restart", "--time", "0", "web")
    assert trace.read_text().count("fsync(") == synced


# The kernel's last words


def test_the_kernels_last_words_are_shown_as_plain_text(phone: Bootable, busybox: Path) -> None:
    words = phone.folder / "pstore"
    words.mkdir()
    (words / "console-ramoops-0").write_bytes(b"[  1.5] Kernel panic - not syncing\x1b]0;owned\x07\x00\xff\n")
    phone.pstore = words
    cut_off_in_start(phone, busybox)
    (said,) = page(phone)["pstore"]
    assert said["name"] == "console-ramoops-0"
    assert said["text"] == "[  1.5] Kernel panic - not syncing?]0;owned??\ufffd"
    told = phone("guard").out
    assert "Kernel panic - not syncing?" in told
    assert "\x1b" not in told
