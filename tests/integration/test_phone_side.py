"""What a container has to do with its phone: storage, wake lock, freezing, power rules, the module."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.daemon import Daemon, free_port, steady
from tests.support.fakephone import FakePhone, tell_of_power
from tests.support.processes import wait_until
from tests.support.program import POOR_KERNEL, Program

SLEEP = "sleep 100000"
COUNTING = "/bin/sh -c 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done'"


# Storage


def warnings(daemon: Daemon) -> list[str]:
    """Of the storage; a fake phone lacks other things too."""
    return [text for text in daemon.state("one")["warnings"] if "storage was" in text]


def mounted(pid: int, place: str) -> bool:
    """Asked of the container's own table of mounts."""
    done = subprocess.run(["findmnt", "-N", str(pid), place], capture_output=True)
    return done.returncode == 0


def test_the_storage_comes_into_a_running_container(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create("one", busybox, command=SLEEP, storage="/sdcard")
    pid = on_phone.start("one")
    assert not mounted(pid, "/sdcard")
    host = Path("/proc/self/mountinfo").read_text()
    (phone.storage / "photo").write_text("picture")
    phone.unlock()
    assert wait_until(lambda: mounted(pid, "/sdcard"), 10)
    assert on_phone.nspawn.ok("exec", "one", "cat", "/sdcard/photo").out == "picture"
    on_phone.nspawn.ok("exec", "one", "touch", "/sdcard/new")
    assert (phone.storage / "new").exists()
    assert Path("/proc/self/mountinfo").read_text() == host
    assert warnings(on_phone) == []
    # And at every later start, by its own bind.
    on_phone.nspawn.ok("restart", "one", "--time", "0")
    assert on_phone.nspawn.ok("exec", "one", "cat", "/sdcard/photo").out == "picture"


def test_an_adopted_container_gets_the_storage_too(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    on_phone.create("one", busybox, command=SLEEP, storage="/mnt/phone/shared")
    pid = on_phone.start("one")
    on_phone.kill_spawner()
    phone.unlock()
    assert wait_until(lambda: mounted(pid, "/mnt/phone/shared"), 10)
    assert on_phone.pid("one") == pid


def test_a_restart_by_policy_after_the_unlock_has_the_storage(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create(
        "one", busybox, command=SLEEP, storage="/sdcard", restart__policy="always", restart__delay="0.1"
    )
    pid = on_phone.start("one")
    phone.unlock()
    assert wait_until(lambda: mounted(pid, "/sdcard"), 10)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: on_phone.state("one")["pid"] not in (None, pid), 10)
    on_phone.becomes("one", "running")
    assert mounted(on_phone.pid("one"), "/sdcard")


def test_a_place_behind_a_hostile_link_stays_in_the_container(
    on_phone: Daemon, phone: FakePhone, busybox: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (busybox / "sdcard").symlink_to(f"../../../../../..{outside}")
    on_phone.create("one", busybox, command=SLEEP, storage="/sdcard/x")
    pid = on_phone.start("one")
    phone.unlock()
    assert wait_until(lambda: mounted(pid, f"{outside}/x"), 10)
    assert list(outside.iterdir()) == []


def test_a_storage_that_cannot_be_mounted_is_told_once(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    (busybox / "sdcard").write_text("a file")
    on_phone.create("one", busybox, command=SLEEP, storage="/sdcard")
    on_phone.start("one")
    phone.unlock()
    assert wait_until(lambda: warnings(on_phone) != [], 10)
    (warning,) = warnings(on_phone)
    assert "a restart shows it" in warning
    assert steady(lambda: warnings(on_phone), 1.0)


def test_a_kernel_before_5_2_says_that_a_restart_shows_it(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create("one", busybox, command=SLEEP, storage="/sdcard")
    on_phone.serve(prefix=[sys.executable, POOR_KERNEL, "--older-than", "424", "--"])
    on_phone.start("one")
    phone.unlock()
    assert wait_until(lambda: warnings(on_phone) != [], 10)
    assert "older than Linux 5.2" in warnings(on_phone)[0]
    on_phone.nspawn.ok("restart", "one", "--time", "0")
    assert mounted(on_phone.pid("one"), "/sdcard")
    assert warnings(on_phone) == []


# Wake lock


def test_the_wake_lock_is_held_while_one_that_asked_for_it_runs(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    for name in ("one", "two"):
        on_phone.create(name, busybox, command=SLEEP, wake_lock="true")
    on_phone.create("other", busybox, command=SLEEP)
    on_phone.start("other")
    assert phone.wake_lock.read_text() == ""
    on_phone.start("one")
    assert phone.wake_lock.read_text() == "nspawn"
    on_phone.start("two")
    on_phone.nspawn.ok("stop", "one", "--time", "0")
    assert phone.wake_unlock.read_text() == ""
    on_phone.kill_spawner()  # the kernel keeps it, and the next one knows
    assert phone.wake_unlock.read_text() == ""
    on_phone.nspawn.ok("stop", "two", "--time", "0")
    assert wait_until(lambda: phone.wake_unlock.read_text() == "nspawn", 5)


def test_a_lock_that_a_dead_spawner_left_is_released(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    phone.wake_lock.write_text("someone nspawn\n")
    on_phone.serve()
    assert wait_until(lambda: phone.wake_unlock.read_text() == "nspawn", 5)


def test_a_machine_without_wake_locks_says_so_once(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    phone.wake_lock.unlink()
    on_phone.create("one", busybox, command=SLEEP, wake_lock="true")
    on_phone.start("one")
    on_phone.nspawn.ok("restart", "one", "--time", "0")
    log = (on_phone.root / "run/spawner.log").read_text()
    assert log.count("the wake lock has no effect here") == 1


# Freezing


def stands_still(rootfs: Path) -> bool:
    return steady((rootfs / "count").read_text, 0.6)


def test_freeze_and_thaw_by_hand(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=COUNTING)
    pid = daemon.start("one")
    assert wait_until((busybox / "count").exists, 5)
    assert not stands_still(busybox)
    daemon.nspawn.ok("freeze", "one")
    time.sleep(0.2)
    assert stands_still(busybox)
    assert daemon.state("one")["frozen"] == "by hand"
    assert " frozen " in daemon.nspawn.ok("list").out
    refused = daemon.nspawn("exec", "one", "true", timeout=5)
    assert refused.status == 1
    assert "nspawn thaw one" in refused.err
    daemon.kill_spawner()
    assert daemon.state("one")["frozen"] == "by hand"
    assert daemon.pid("one") == pid
    assert stands_still(busybox)
    daemon.nspawn.ok("thaw", "one")
    assert not stands_still(busybox)
    assert daemon.state("one")["frozen"] == ""


@pytest.mark.parametrize("words", [("stop", "one"), ("kill", "one"), ("shutdown",)])
def test_what_is_frozen_can_be_ended(daemon: Daemon, busybox: Path, words: tuple[str, ...]) -> None:
    daemon.create("one", busybox, command="/bin/sh -c 'trap \"exit 7\" TERM; while :; do sleep 0.05; done'")
    pid = daemon.start("one")
    daemon.nspawn.ok("freeze", "one")
    begin = time.monotonic()
    daemon.nspawn.ok(*words)
    assert time.monotonic() - begin < 8
    assert processes.gone(pid)
    if words[0] == "stop":
        assert daemon.state("one")["exit_code"] == 7


def test_only_what_runs_can_be_frozen(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP)
    result = daemon.nspawn("freeze", "one")
    assert result.status == 1
    assert "not running" in result.err


# Power rules


def powered(daemon: Daemon) -> None:
    text = "[page]\nport = 0\n[power]\nfreeze_above = 45.0\nthaw_below = 42.0\nfreeze_below_charge = 15\n"
    (daemon.root / "config.toml").write_text(text)


def frozen(daemon: Daemon, name: str) -> str:
    """After an event, and as long as it takes to be answered."""
    tell_of_power()
    time.sleep(2.5)
    found: str = daemon.state(name)["frozen"]
    return found


@pytest.mark.slow
def test_the_power_rules_freeze_what_is_pausable_and_thaw_it(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    powered(on_phone)
    phone.battery(celsius=40, capacity=80)
    on_phone.create("one", busybox, command=SLEEP, pausable="true", wake_lock="true")
    on_phone.create("two", busybox, command=SLEEP)
    on_phone.create("hand", busybox, command=SLEEP, pausable="true")
    for name in ("one", "two", "hand"):
        on_phone.start(name)
    on_phone.nspawn.ok("freeze", "hand")
    assert frozen(on_phone, "one") == ""
    phone.battery(celsius=45.5, capacity=80)
    assert frozen(on_phone, "one") == "the battery is at 45.5 °C; it goes on below 42 °C"
    assert phone.wake_unlock.read_text() == "nspawn"  # what is frozen needs no phone that is awake
    assert on_phone.state("two")["frozen"] == ""
    on_phone.kill_spawner()
    phone.battery(celsius=43, capacity=80)
    assert frozen(on_phone, "one").startswith("the battery is at ")
    phone.battery(celsius=41, capacity=80)
    assert frozen(on_phone, "one") == ""
    assert on_phone.state("hand")["frozen"] == "by hand"
    phone.battery(celsius=41, capacity=10)
    assert "10 %" in frozen(on_phone, "one")
    on_phone.nspawn.ok("thaw", "one")
    assert frozen(on_phone, "one") == ""  # a person knows better, until the reason is gone
    power = on_phone.nspawn.json("doctor", "--json")
    assert isinstance(power, dict)
    assert power["power"]["battery"] == {
        "capacity": 10,
        "celsius": 41.0,
        "status": "Discharging",
        "health": "Good",
        "plugged": False,
    }
    assert power["power"]["rules"]["thaw_above_charge"] == 20


def test_a_container_that_starts_while_it_is_too_hot_is_frozen(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    powered(on_phone)
    phone.battery(celsius=50, capacity=80)
    on_phone.create("one", busybox, command=SLEEP, pausable="true")
    on_phone.start("one")
    assert wait_until(lambda: on_phone.state("one")["frozen"] != "", 5)


def uevent_sockets(pid: int) -> int:
    """How many of NETLINK_KOBJECT_UEVENT (15) a process has, by proc_net(5)."""
    lines = Path("/proc/net/netlink").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[1] == "15"}
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.removeprefix("socket:[").removesuffix("]") in inodes for link in links)


def test_events_are_heard_only_while_a_rule_may_need_them(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    powered(on_phone)
    on_phone.create("one", busybox, command=SLEEP, pausable="true")
    on_phone.create("two", busybox, command=SLEEP)
    on_phone.start("two")
    assert uevent_sockets(on_phone.spawner) == 0
    on_phone.start("one")
    assert uevent_sockets(on_phone.spawner) == 1
    on_phone.nspawn.ok("stop", "one", "--time", "0")
    assert uevent_sockets(on_phone.spawner) == 0


# The module

PROP = """id=nspawn
name=nspawn
version=1
author=someone
description=Containers
updateJson=https://example.org/update.json
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "module.prop").write_text(PROP)
    (folder / "module.prop").chmod(0o640)
    os.chown(folder / "module.prop", 0, 2000)
    return folder


@pytest.fixture
def flashed(module: Path, nspawn: Program) -> Iterator[Daemon]:
    """A daemon that knows the module it came with, with a page."""
    nspawn.environment["NSPAWN_MODULE"] = str(module)
    found = Daemon(nspawn, free_port())
    yield found
    found.end()


def description(module: Path) -> str:
    """The line, and that nothing else has changed."""
    lines = (module / "module.prop").read_text().splitlines()
    assert [line for line in lines if not line.startswith("description=")] == [
        line for line in PROP.splitlines() if not line.startswith("description=")
    ]
    (line,) = (line for line in lines if line.startswith("description="))
    return line.removeprefix("description=")


def tells(module: Path, text: str) -> None:
    """Wait until it does; long, for the disk may be busy."""
    assert wait_until(lambda: description(module) == text, 60, 0.05), description(module)


def test_the_description_tells_the_truth(flashed: Daemon, module: Path, busybox: Path) -> None:
    port = json.loads((flashed.root / "config.toml").read_text().split("=")[1])
    flashed.create("one", busybox, command=SLEEP)
    flashed.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="60")
    flashed.serve("--boot")
    tells(module, f"no container runs, two waits for its delay of 60 s, http://localhost:{port}")
    flashed.start("one")
    tells(module, f"1 container running, two waits for its delay of 60 s, http://localhost:{port}")
    flashed.nspawn.ok("stop", "two")
    tells(module, f"1 container running, http://localhost:{port}")
    found = (module / "module.prop").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 0, 2000)
    flashed.nspawn.ok("shutdown")
    assert description(module) == "stopped"
    assert sorted(os.listdir(module)) == ["module.prop"]


def test_the_description_names_who_has_the_port(flashed: Daemon, module: Path) -> None:
    port = json.loads((flashed.root / "config.toml").read_text().split("=")[1])
    with socket.create_server(("127.0.0.1", port)):
        flashed.serve("--boot")
        comm = Path("/proc/self/comm").read_text().strip()
        tells(module, f"no container runs, port {port} is taken by {comm} (process {os.getpid()})")


def test_a_description_that_cannot_be_written_costs_a_line(flashed: Daemon, module: Path) -> None:
    (module / "module.prop").unlink()
    (module / "module.prop").symlink_to("/etc/hostname")
    before = Path("/etc/hostname").read_bytes()
    flashed.serve("--boot")
    assert wait_until(lambda: "description is not written" in (flashed.root / "serve.log").read_text(), 10)
    assert Path("/etc/hostname").read_bytes() == before


@pytest.mark.parametrize("name", ["disable", "remove"])
def test_disable_and_remove_end_everything_in_order(
    flashed: Daemon, module: Path, busybox: Path, name: str
) -> None:
    trap = "/bin/sh -c 'trap \"echo bye > /bye; exit 0\" TERM; while :; do sleep 0.05; done'"
    flashed.create("one", busybox, command=trap, autostart__enabled="true")
    flashed.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="60")
    flashed.serve("--boot")
    flashed.becomes("one", "running")
    pid = flashed.pid("one")
    (module / name).touch()
    assert wait_until(lambda: not flashed.keeper and not flashed.spawner, 15)
    assert processes.gone(pid)
    assert (busybox / "bye").exists()
    assert description(module).startswith(f"stopped, because the module is {name}d")
