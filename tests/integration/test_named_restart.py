"""Restart policies with back-off, seen by the PIDs that come and go."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, steady
from tests.support.processes import wait_until


def starts(place: Path) -> list[float]:
    """When the container began, each time."""
    file = place / "starts"
    return [float(line) for line in file.read_text().split()] if file.exists() else []


def command(end: str) -> str:
    """Writes the uptime at each start and ends so."""
    return f"/bin/sh -c 'cut -d\" \" -f1 /proc/uptime >> /starts; {end}'"


@pytest.mark.parametrize(
    ("policy", "end", "again"),
    [
        ("no", "sleep 0.1; exit 1", False),
        ("no", "sleep 0.1; exit 0", False),
        ("on-failure", "sleep 0.1; exit 0", False),
        ("on-failure", "sleep 0.1; exit 1", True),
        ("always", "sleep 0.1; exit 0", True),
        ("always", "sleep 0.1; exit 1", True),
    ],
)
def test_the_policy_decides_about_another_start(
    daemon: Daemon, busybox: Path, policy: str, end: str, again: bool
) -> None:
    daemon.create("one", busybox, command=command(end), restart__policy=policy, restart__delay="0.1")
    daemon.start("one")
    if again:
        assert wait_until(lambda: len(starts(busybox)) >= 3, 10)
        assert daemon.state("one")["restarts"] >= 2
    else:
        daemon.becomes("one", "stopped")
        assert steady(lambda: len(starts(busybox)), 0.6)
        assert len(starts(busybox)) == 1


def test_the_waits_grow_up_to_the_longest(daemon: Daemon, busybox: Path) -> None:
    daemon.create(
        *("one", busybox),
        command=command("exit 1"),
        restart__policy="on-failure",
        restart__delay="0.2",
        restart__max_delay="0.9",
    )
    daemon.start("one")
    assert wait_until(lambda: len(starts(busybox)) >= 6, 15)
    times = starts(busybox)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] < 0.6
    assert gaps[1] > gaps[0] * 1.3
    assert max(gaps) < 2.0
    assert gaps[4] > 0.8


def test_after_so_many_tries_it_gives_up(daemon: Daemon, busybox: Path) -> None:
    daemon.create(
        *("one", busybox),
        command=command("exit 1"),
        restart__policy="always",
        restart__delay="0.05",
        restart__max_tries="3",
    )
    daemon.start("one")
    daemon.becomes("one", "stopped", 15)
    assert len(starts(busybox)) == 4
    assert steady(lambda: len(starts(busybox)), 0.5)


def test_a_killed_container_counts_as_failed(daemon: Daemon, busybox: Path) -> None:
    daemon.create(
        *("one", busybox), command=command("sleep 1000"), restart__policy="on-failure", restart__delay="0.1"
    )
    old = daemon.start("one")
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: daemon.state("one")["pid"] not in (None, old), 10)


def test_stop_ends_the_restarts(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=command("exit 1"), restart__policy="always", restart__delay="0.3")
    daemon.start("one")
    assert wait_until(lambda: len(starts(busybox)) >= 2, 10)
    daemon.nspawn.ok("stop", "one", "--time", "1")
    assert daemon.state("one")["state"] == "stopped"
    assert steady(lambda: len(starts(busybox)), 1.0)


def test_stop_while_it_waits_ends_the_wait(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=command("exit 1"), restart__policy="always", restart__delay="60")
    daemon.start("one")
    daemon.becomes("one", "backoff")
    begin = time.monotonic()
    daemon.nspawn.ok("stop", "one")
    assert time.monotonic() - begin < 3
    assert daemon.state("one")["state"] == "stopped"


def test_start_while_it_waits_starts_at_once(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=command("exit 1"), restart__policy="always", restart__delay="60")
    daemon.start("one")
    daemon.becomes("one", "backoff")
    daemon.nspawn("start", "one")
    assert wait_until(lambda: len(starts(busybox)) == 2, 3)


def test_a_wait_goes_on_under_the_next_spawner(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=command("exit 1"), restart__policy="always", restart__delay="1.5")
    daemon.start("one")
    daemon.becomes("one", "backoff")
    count = len(starts(busybox))
    daemon.kill_spawner()
    assert wait_until(lambda: len(starts(busybox)) > count, 10)


def test_restart_gives_another_process(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=command("sleep 1000"))
    old = daemon.start("one")
    daemon.nspawn.ok("restart", "one")
    assert daemon.pid("one") != old
    assert len(starts(busybox)) == 2
