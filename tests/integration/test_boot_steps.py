"""`nspawn serve --boot`, and what it does at each event that a container waits for."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from tests.support import processes
from tests.support.daemon import Daemon, steady
from tests.support.processes import wait_until

SLEEP = "sleep 100000"


def test_the_machine_starts_what_is_marked(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true")
    daemon.create("two", busybox, command=SLEEP)
    daemon.serve("--boot")
    assert daemon.becomes("one", "running")
    assert daemon.state("two")["state"] == "stopped"


def test_a_spawner_without_boot_starts_nothing(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true")
    daemon.serve()
    assert steady(lambda: daemon.state("one")["state"], 1.0)
    assert daemon.state("one")["state"] == "stopped"


def test_a_second_spawner_of_the_same_boot_starts_nothing_again(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true")
    daemon.serve("--boot")
    daemon.becomes("one", "running")
    daemon.nspawn.ok("stop", "one", "--time", "0")
    daemon.kill_spawner()
    assert steady(lambda: daemon.state("one")["state"], 1.0)
    assert daemon.state("one")["state"] == "stopped"


def test_a_delay_survives_the_spawner(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="2")
    daemon.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__after="one")
    begin = time.monotonic()
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("one")["waits"] == "waits for its delay of 2 s", 5, 0.05)
    assert daemon.state("two")["waits"] == "waits for one to start"
    daemon.kill_spawner()
    assert daemon.becomes("one", "running")
    assert time.monotonic() - begin >= 2
    assert daemon.becomes("two", "running")
    assert daemon.state("one")["waits"] == ""


def test_stop_ends_the_waiting_for_good(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="1.5")
    daemon.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__after="one")
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("one")["waits"] != "", 5, 0.05)
    daemon.nspawn.ok("stop", "one")
    assert daemon.becomes("two", "running")
    daemon.kill_spawner()
    assert steady(lambda: daemon.state("one")["state"], 2.0)
    assert daemon.state("one")["state"] == "stopped"


def test_stop_stops_what_was_started_by_hand_before_the_boot_program_has_looked(
    daemon: Daemon, busybox: Path
) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="60")
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("one")["waits"] != "", 5, 0.05)
    step = os.open(daemon.root / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(step, fcntl.LOCK_EX)  # no step of the boot while we hold it
        pid = daemon.start("one")
        assert daemon.state("one")["waits"] != ""
        daemon.nspawn.ok("stop", "one", "--time", "0")
        assert processes.gone(pid)
    finally:
        os.close(step)
    assert wait_until(lambda: daemon.state("one")["waits"] == "", 5, 0.05)
    assert daemon.state("one")["state"] == "stopped"


def test_boot_wait_stays_until_all_is_decided(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="1")
    daemon.create("bad", busybox, command="/none", autostart__enabled="true", autostart__after="one")
    result = daemon.nspawn("boot", "--wait")
    assert result.status == 1
    assert result.out.splitlines() == [
        "one: waits for its delay of 1 s",
        "bad: waits for one to start",
        "one: started",
    ]
    assert "there is no command '/none'" in result.err
    assert processes.alive(daemon.pid("one"))


def test_what_is_started_by_hand_waits_no_more_and_lets_others_on(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="60")
    daemon.create("two", busybox, command=SLEEP, autostart__enabled="true", autostart__after="one")
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("one")["waits"] != "", 5, 0.05)
    daemon.start("one")
    assert daemon.becomes("two", "running")
    assert daemon.state("one")["waits"] == ""


def test_settings_that_change_meanwhile_count(daemon: Daemon, busybox: Path) -> None:
    for name in ("one", "two", "three"):
        daemon.create(name, busybox, command=SLEEP, autostart__enabled="true", autostart__delay="60")
    daemon.create("later", busybox, command=SLEEP)
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("three")["waits"] != "", 5, 0.05)
    daemon.set("one", autostart__delay="0")
    assert daemon.becomes("one", "running")
    daemon.set("two", autostart__enabled="false")
    assert wait_until(lambda: daemon.state("two")["waits"] == "", 5, 0.05)
    daemon.set("later", autostart__enabled="true")
    daemon.nspawn.ok("rm", "three")
    assert steady(lambda: daemon.state("later")["state"], 1.0)
    assert [daemon.state(name)["state"] for name in ("two", "later")] == ["stopped", "stopped"]
    assert [each["name"] for each in daemon.nspawn.json("list", "--json")] == ["later", "one", "two"]  # type: ignore[attr-defined]


def test_a_second_service_script_changes_nothing(daemon: Daemon, busybox: Path) -> None:
    """A soft reboot of Android runs service.sh again while all of it lives."""
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true")
    daemon.serve("--boot")
    daemon.becomes("one", "running")
    daemon.nspawn.ok("stop", "one", "--time", "0")
    spawner = daemon.spawner
    daemon.nspawn.ok("serve", "--boot", timeout=10)
    assert steady(lambda: daemon.state("one")["state"], 1.0)
    assert (daemon.state("one")["state"], daemon.spawner) == ("stopped", spawner)


def test_a_spawner_that_dies_in_the_middle_of_a_boot_costs_no_container(
    daemon: Daemon, busybox: Path
) -> None:
    names = [f"c{number}" for number in range(6)]
    for name in names:
        daemon.create(name, busybox, command=SLEEP, autostart__enabled="true")
    daemon.serve("--boot")
    for _time in range(2):
        daemon.kill_spawner()
    for name in names:
        assert daemon.becomes(name, "running", 15)


def test_a_boot_program_that_is_killed_runs_again(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SLEEP, autostart__enabled="true", autostart__delay="1.5")
    daemon.serve("--boot")
    assert wait_until(lambda: daemon.state("one")["waits"] != "", 5, 0.05)
    spawner = daemon.spawner

    def errand() -> int:
        children = (pid for pid in processes.all_processes() if processes.parent(pid) == spawner)
        found = (
            pid
            for pid in children
            if any(word.endswith("entry/boot.py") for word in processes.command_line(pid))
        )
        return next(found, 0)

    assert wait_until(lambda: bool(errand()), 5, 0.002)
    os.kill(errand(), signal.SIGKILL)
    assert daemon.becomes("one", "running")
    assert "the boot program failed" in (daemon.root / "serve.log").read_text()
