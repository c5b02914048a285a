"""A spawner at rest: no cell, few pages, no wake-ups; and at once there again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nspawn.container.client import Client
from nspawn.layout import Layout
from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.processes import wait_until

REST = 1.0  # seconds


@pytest.fixture
def daemon(daemon: Daemon) -> Daemon:
    daemon.nspawn.environment["NSPAWN_REST"] = str(REST)
    return daemon


def switches(pid: int) -> int:
    status = processes.status(pid)
    return int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])


def file_pages(pid: int) -> int:
    """kB of files that it maps."""
    return int(processes.status(pid)["RssFile"].split()[0])


def cells(daemon: Daemon, spawner: int, *containers: int) -> list[int]:
    return [pid for pid in processes.children(spawner) if pid not in containers]


def test_rest_comes_and_wakes_nobody_and_a_start_ends_it(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    first = daemon.start("one")
    keeper, spawner = daemon.keeper, daemon.spawner
    assert wait_until(lambda: cells(daemon, spawner, first), 5)
    mapped = file_pages(keeper), file_pages(spawner)
    assert wait_until(lambda: not cells(daemon, spawner, first), 10)
    assert wait_until(lambda: file_pages(keeper) < mapped[0] / 2 and file_pages(spawner) < mapped[1] / 2, 10)
    time.sleep(0.5)
    before = switches(keeper), switches(spawner)
    time.sleep(3 * REST)
    assert (switches(keeper), switches(spawner)) == before
    # Mounts on the host concern only a cell.
    subprocess.run(["mount", "-t", "tmpfs", "none", str(busybox / "mnt")], check=True)
    subprocess.run(["umount", str(busybox / "mnt")], check=True)
    time.sleep(0.2)
    assert (switches(keeper), switches(spawner)) == before
    # All of it works as before.
    daemon.nspawn.ok("stop", "one", "--time", "0")
    second = daemon.start("one")
    assert processes.alive(second)
    assert wait_until(lambda: cells(daemon, spawner, second), 5)
    assert (daemon.keeper, daemon.spawner) == (keeper, spawner)
    assert wait_until(lambda: not cells(daemon, spawner, second), 10)


def test_a_run_out_of_the_rest_sees_what_was_mounted_meanwhile(daemon: Daemon, busybox: Path) -> None:
    daemon.serve()
    spawner = daemon.spawner
    assert wait_until(lambda: not cells(daemon, spawner), 10)
    place = busybox / "mnt"
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        (place / "fresh").write_text("mounted\n")
        assert daemon.nspawn.ok(busybox, "cat", "/mnt/fresh").out == "mounted\n"
        assert wait_until(lambda: cells(daemon, spawner), 5)
        assert daemon.nspawn.ok(busybox, "cat", "/mnt/fresh").out == "mounted\n"
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert daemon.nspawn(busybox, "cat", "/mnt/fresh").status == 1


def test_who_watches_has_a_cell_made_ready_and_who_looks_has_not(daemon: Daemon, busybox: Path) -> None:
    daemon.serve()
    spawner = daemon.spawner
    assert wait_until(lambda: not cells(daemon, spawner), 10)
    daemon.nspawn.ok("list")
    time.sleep(0.3)
    assert not cells(daemon, spawner)
    with Client(Layout(str(daemon.root))).watch():
        assert wait_until(lambda: cells(daemon, spawner), 5)
    assert wait_until(lambda: not cells(daemon, spawner), 10)


def test_killed_at_rest_and_started_again(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    pid = daemon.start("one")
    spawner = daemon.spawner
    assert wait_until(lambda: not cells(daemon, spawner, pid), 10)
    time.sleep(2)
    daemon.kill_spawner()
    assert daemon.pid("one") == pid
    os.kill(pid, signal.SIGKILL)
    assert daemon.becomes("one", "stopped")["exit_signal"] == signal.SIGKILL
