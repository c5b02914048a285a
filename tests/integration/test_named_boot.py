"""`nspawn boot`, and a Debian with systemd as a named container."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes, rootfs
from tests.support.daemon import Daemon
from tests.support.processes import wait_until
from tests.support.systemd import inside, settled, unexplained


@pytest.fixture
def system(daemon: Daemon, systemd_base: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A container named "system" that boots its own init."""
    with rootfs.layered(systemd_base, tmp_path / "debian") as place:
        daemon.create("system", place, boot="true")
        yield daemon
        daemon.end()


@pytest.mark.slow
def test_a_debian_boots_answers_and_stops_in_order_within_ten_seconds(system: Daemon) -> None:
    pid = system.start("system")
    assert settled(pid) in ("running", "degraded")
    assert not unexplained(pid)
    assert system.nspawn.ok("exec", "system", "systemctl", "is-active", "dbus.service").out == "active\n"
    assert system.nspawn.ok("exec", "system", "hostname").out == "system\n"
    begin = time.monotonic()
    system.nspawn.ok("stop", "system")
    assert time.monotonic() - begin < 10
    assert processes.gone(pid)
    state = system.state("system")
    assert (state["state"], state["exit"]) == ("stopped", "stopped"), state
    assert system.says("system", "Reached target")
    log = system.log("system")
    assert "Power-Off" in log or "System Power Off" in log or "Shutdown" in log, log[-2000:]


@pytest.mark.slow
def test_a_poweroff_from_inside_stops_it_whatever_the_policy(system: Daemon) -> None:
    system.set("system", restart__policy="always", restart__delay="0.1")
    pid = system.start("system")
    settled(pid)
    inside(pid, "systemctl", "poweroff")
    state = system.becomes("system", "stopped", 25)
    assert state["exit"] == "poweroff", state
    time.sleep(0.5)
    assert system.state("system")["state"] == "stopped"


@pytest.mark.slow
def test_a_reboot_from_inside_starts_it_again_without_a_policy(system: Daemon) -> None:
    pid = system.start("system")
    settled(pid)
    inside(pid, "systemctl", "reboot")
    assert wait_until(lambda: system.state("system")["pid"] not in (None, pid), 25, 0.1)
    second = system.pid("system")
    assert settled(second) in ("running", "degraded")
    assert system.state("system")["restarts"] == 1


@pytest.mark.slow
def test_a_systemd_survives_the_spawner_and_is_still_stopped_in_order(system: Daemon) -> None:
    pid = system.start("system")
    settled(pid)
    system.kill_spawner()
    assert system.pid("system") == pid
    system.nspawn.ok("stop", "system")
    assert processes.gone(pid)
    assert system.state("system")["exit"] == "stopped"


def test_boot_starts_what_is_marked_in_order_with_its_delay(daemon: Daemon, busybox: Path) -> None:
    command = "/bin/sh -c 'cut -d\" \" -f1 /proc/uptime >> /$(hostname).start; exec sleep 100000'"
    for name, order, delay, after in (
        ("third", "1", "0", "second"),
        ("first", "0", "0", ""),
        ("second", "0", "0.6", "first"),
        ("never", "0", "0", ""),
    ):
        daemon.create(name, busybox, command=command)
        daemon.set(name, autostart__order=order, autostart__delay=delay, autostart__after=after)
        if name != "never":
            daemon.set(name, autostart__enabled="true")
    daemon.nspawn.ok("boot", timeout=40)
    for name in ("first", "second", "third"):
        assert daemon.becomes(name, "running")
    assert daemon.state("never")["state"] == "stopped"
    assert wait_until((busybox / "third.start").exists, 5)
    times = [float((busybox / f"{name}.start").read_text()) for name in ("first", "second", "third")]
    assert times == sorted(times)
    assert times[1] - times[0] >= 0.5


def test_boot_goes_on_after_one_that_cannot_start(daemon: Daemon, busybox: Path) -> None:
    daemon.create("broken", busybox, command="/not/there", autostart__enabled="true")
    daemon.create("fine", busybox, command="sleep 100000", autostart__enabled="true", autostart__order="5")
    result = daemon.nspawn("boot", timeout=40)
    assert "broken" in result.err + result.out
    assert daemon.becomes("fine", "running")


def test_boot_survives_a_circle(daemon: Daemon, busybox: Path) -> None:
    for name in ("one", "two"):
        daemon.create(name, busybox, command="sleep 100000")
    for name, after in (("one", "two"), ("two", "one")):
        daemon.set(name, autostart__enabled="true", autostart__after=after)
    result = daemon.nspawn("boot", timeout=40)
    assert "Traceback" not in result.err
    for name in ("one", "two"):
        assert daemon.state(name)["state"] in ("running", "stopped")


def test_a_second_boot_changes_nothing(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000", autostart__enabled="true")
    daemon.nspawn.ok("boot", timeout=40)
    pid = daemon.pid("one")
    daemon.nspawn.ok("boot", timeout=40)
    assert daemon.pid("one") == pid
