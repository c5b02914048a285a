"""What autostart waits for, by real events: a fake phone's properties and storage, real routes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.daemon import Daemon, steady
from tests.support.fakephone import FakePhone, daemon_on
from tests.support.processes import wait_until
from tests.support.program import REPOSITORY, Program

SLEEP = "sleep 100000"


def waits(daemon: Daemon, name: str, text: str) -> bool:
    return wait_until(lambda: daemon.state(name)["waits"] == text, 10, 0.05)


def switches(pid: int) -> int:
    """How often a process was scheduled out, by its own will and not."""
    text = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)


def waiter(daemon: Daemon) -> int:
    """The child that sleeps for a property: a fork of the spawner, by its command line and parent."""
    spawner = daemon.spawner
    found = [pid for pid in daemon.own() if processes.parent(pid) == spawner]
    return found[0] if found else 0


def test_a_boot_that_completes_and_a_storage_that_is_unlocked(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create(
        "one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="storage,boot-completed"
    )
    on_phone.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__after="one")
    on_phone.create("now", busybox, command=SLEEP, autostart__enabled="true", autostart__order="9")
    on_phone.serve("--boot")
    assert on_phone.becomes("now", "running")
    assert waits(on_phone, "one", "waits for the storage to be unlocked and the phone to have booted")
    assert on_phone.state("two")["waits"] == "waits for one to start"
    assert " waiting " in on_phone.nspawn.ok("list").out
    phone.set("sys.boot_completed", "1")
    assert waits(on_phone, "one", "waits for the storage to be unlocked")
    phone.set("sys.user.0.ce_available", "true")
    assert on_phone.becomes("one", "running")
    assert on_phone.becomes("two", "running")
    assert wait_until(lambda: not waiter(on_phone), 5)


def test_waiting_costs_nothing_while_nothing_happens(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create(
        "one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="storage,boot-completed"
    )
    on_phone.serve("--boot")
    assert wait_until(lambda: bool(waiter(on_phone)) and phone.looks > 0, 10)
    time.sleep(2)
    watched = [on_phone.keeper, on_phone.spawner, waiter(on_phone)]
    before = [switches(pid) for pid in watched], phone.looks
    time.sleep(5)
    assert ([switches(pid) for pid in watched], phone.looks) == before


def test_a_storm_of_properties_costs_few_looks(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    on_phone.create(
        "one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="boot-completed"
    )
    on_phone.serve("--boot")
    assert wait_until(lambda: bool(waiter(on_phone)), 10)
    for number in range(400):
        phone.set(f"persist.x{number % 7}", str(number))
        time.sleep(0.005)
    assert phone.looks < 12
    phone.set("sys.boot_completed", "1")
    assert on_phone.becomes("one", "running")


def test_a_storage_that_appears_without_a_property(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    phone.storage.rmdir()
    phone.storage.parent.rmdir()
    on_phone.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="storage")
    on_phone.serve("--boot")
    assert waits(on_phone, "one", "waits for the storage to be unlocked")
    phone.storage.parent.mkdir()
    time.sleep(0.2)
    phone.storage.mkdir()
    time.sleep(0.2)
    (phone.storage / "Android").mkdir()
    assert on_phone.becomes("one", "running")


def test_a_phone_without_the_count_of_properties_is_looked_at_now_and_then(
    nspawn: Program, tmp_path: Path, busybox: Path
) -> None:
    phone = FakePhone(tmp_path / "phone", serial=False)
    with daemon_on(phone, nspawn) as daemon:
        daemon.create(
            "one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="boot-completed"
        )
        daemon.serve("--boot")
        assert waits(daemon, "one", "waits for the phone to have booted")
        (phone.root / "properties/sys.boot_completed").write_text("1\n")
        assert daemon.becomes("one", "running", 15)
        assert "looked at now and then" in (daemon.root / "serve.log").read_text()


def test_what_waits_survives_the_death_of_the_spawner_and_its_waiter(
    on_phone: Daemon, phone: FakePhone, busybox: Path
) -> None:
    on_phone.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="storage")
    on_phone.serve("--boot")
    assert waits(on_phone, "one", "waits for the storage to be unlocked")
    assert wait_until(lambda: bool(waiter(on_phone)), 5)
    old = waiter(on_phone)
    on_phone.kill_spawner()
    assert processes.gone(old)
    assert waits(on_phone, "one", "waits for the storage to be unlocked")
    assert wait_until(lambda: bool(waiter(on_phone)), 5)
    os.kill(waiter(on_phone), signal.SIGKILL)
    time.sleep(0.3)
    phone.unlock()  # seen by the folder that appears
    assert on_phone.becomes("one", "running")


def test_a_waiter_that_is_killed_is_replaced(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    on_phone.create(
        "one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="boot-completed"
    )
    on_phone.serve("--boot")
    assert wait_until(lambda: bool(waiter(on_phone)), 10)
    old = waiter(on_phone)
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: waiter(on_phone) not in (0, old), 10)
    phone.set("sys.boot_completed", "1")
    assert on_phone.becomes("one", "running")


def held(pid: int) -> set[str]:
    """What a process has open besides its standard streams."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(each) if int(each.name) > 2 else "")
    return found - {""}


def test_the_spawners_children_hold_nothing_of_it(on_phone: Daemon, phone: FakePhone, busybox: Path) -> None:
    """A lock or a control socket in one of them would outlive the spawner."""
    on_phone.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="storage")
    on_phone.serve("--boot")
    assert waits(on_phone, "one", "waits for the storage to be unlocked")
    assert wait_until(lambda: bool(waiter(on_phone)), 5)
    assert wait_until(lambda: held(waiter(on_phone)) == set(), 5)
    lock = f"{on_phone.root}/run/lock"
    assert lock in held(on_phone.spawner)
    step = os.open(on_phone.root / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(step, fcntl.LOCK_EX)  # the boot program waits for us
        phone.unlock()

        def errand() -> int:
            found = processes.with_argument(f"{REPOSITORY}/python/entry/boot.py")
            return next((pid for pid in found if processes.parent(pid) == on_phone.spawner), 0)

        assert wait_until(lambda: (pid := errand()) and f"{on_phone.root}/run" in held(pid), 10)
        assert held(errand()) & held(on_phone.spawner) == set()
    finally:
        os.close(step)
    assert on_phone.becomes("one", "running")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def offline() -> Iterator[list[str | Path]]:
    """A network namespace without an uplink, as the prefix of a command line."""
    name = f"nspawn-test-{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield ["nsenter", f"--net=/run/netns/{name}"]
    finally:
        ip("netns", "del", name)


def test_an_uplink_in_a_table_of_its_own(daemon: Daemon, busybox: Path, offline: list[str | Path]) -> None:
    name = str(offline[-1]).rpartition("/")[2]
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="uplink")
    daemon.serve("--boot", prefix=offline)
    assert waits(daemon, "one", "waits for an uplink")
    # Android's default route through dummy0 leads nowhere, and one of an interface that is down neither.
    ip("-n", name, "link", "add", "dummy0", "type", "veth", "peer", "name", "nowhere")
    ip("-n", name, "link", "set", "nowhere", "up")
    ip("-n", name, "link", "set", "dummy0", "up")
    ip("-n", name, "route", "add", "default", "dev", "dummy0", "table", "1002")
    ip("-n", name, "link", "add", "wlan0", "type", "veth", "peer", "name", "air")
    ip("-n", name, "addr", "add", "192.0.2.2/24", "dev", "wlan0")
    ip("-n", name, "link", "set", "wlan0", "up")
    assert steady(lambda: daemon.state("one")["waits"], 1.5)
    ip("-n", name, "link", "set", "air", "up")
    ip("-n", name, "route", "add", "default", "via", "192.0.2.1", "dev", "wlan0", "table", "1021")
    assert daemon.becomes("one", "running")


def test_an_uplink_of_ipv6_alone(daemon: Daemon, busybox: Path, offline: list[str | Path]) -> None:
    name = str(offline[-1]).rpartition("/")[2]
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__when="uplink")
    daemon.serve("--boot", prefix=offline)
    assert waits(daemon, "one", "waits for an uplink")
    ip("-n", name, "link", "add", "rmnet_data0", "type", "veth", "peer", "name", "air")
    ip("-n", name, "link", "set", "air", "up")
    ip("-n", name, "link", "set", "rmnet_data0", "up")
    assert steady(lambda: daemon.state("one")["waits"], 1.0)
    ip("-n", name, "-6", "route", "add", "default", "dev", "rmnet_data0", "table", "1034")
    assert daemon.becomes("one", "running")
