"""Run-state files that are cut, filled with NUL, from the future, or something else altogether."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.processes import wait_until

FOREVER = "/bin/sh -c 'echo up; exec sleep 100000'"


def spoil(path: Path, kind: str) -> None:
    data = path.read_bytes()
    path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "half":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "nul":
        path.write_bytes(bytes(len(data)))
    elif kind == "noise":
        path.write_bytes(random.Random(1).randbytes(5000))
    elif kind == "future":
        path.write_bytes(data.replace(b"version=1", b"version=999", 1))
    elif kind == "wrong-numbers":
        path.write_bytes(data.replace(b"pid=", b"pid=x").replace(b"started=", b"started=y"))
    elif kind == "another-boot":
        path.write_bytes(data.replace(b"boot-id=", b"boot-id=f"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/shadow")


KINDS = ["empty", "half", "nul", "noise", "future", "wrong-numbers", "folder", "pipe", "link", "missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_state_of_a_stopped_container_harms_nothing(
    daemon: Daemon, busybox: Path, kind: str
) -> None:
    daemon.create("bad", busybox, command=FOREVER)
    daemon.create("good", busybox, command=FOREVER)
    daemon.start("bad")
    good = daemon.start("good")
    daemon.nspawn.ok("stop", "bad", "--time", "0")
    spoil(daemon.root / "containers" / "bad" / "state", kind)
    daemon.kill_both()
    assert "Traceback" not in daemon.nspawn("list").err
    assert daemon.state("bad")["state"] == "stopped"
    assert processes.alive(daemon.start("bad"))
    assert daemon.pid("good") == good


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_a_spoilt_state_of_a_running_container_does_not_kill_it(
    daemon: Daemon, busybox: Path, kind: str
) -> None:
    """Its process goes on under its name, and it never runs twice."""
    daemon.create("bad", busybox, command=FOREVER)
    daemon.create("good", busybox, command=FOREVER)
    pid = daemon.start("bad")
    good = daemon.start("good")
    spoil(daemon.root / "containers" / "bad" / "state", kind)
    daemon.kill_spawner()
    assert daemon.pid("good") == good
    listed = daemon.nspawn("list")
    assert listed.status == 0, str(listed)
    assert not wait_until(lambda: not processes.alive(pid), 1.0), "the running container was killed"
    assert daemon.nspawn("start", "bad").status != 0
    assert daemon.pid("bad") == pid
    daemon.nspawn.ok("stop", "bad", "--time", "1")
    assert processes.gone(pid)


def test_a_state_of_another_boot_means_stopped(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    daemon.kill_both()
    os.kill(pid, 9)
    assert processes.gone(pid)
    spoil(daemon.root / "containers" / "one" / "state", "another-boot")
    assert daemon.state("one")["state"] == "stopped"
    assert daemon.start("one") != pid


def test_a_process_number_that_was_used_again_is_not_adopted(daemon: Daemon, busybox: Path) -> None:
    """The number in the state is a process of somebody else: it is neither shown nor killed."""
    import subprocess

    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    daemon.kill_both()
    os.kill(pid, 9)
    assert processes.gone(pid)
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        state = daemon.root / "containers" / "one" / "state"
        state.write_bytes(state.read_bytes().replace(b"pid=%d\0" % pid, b"pid=%d\0" % stranger.pid))
        assert daemon.state("one")["state"] == "stopped"
        daemon.nspawn("stop", "one", "--time", "0")
        daemon.nspawn("kill", "one")
        assert daemon.start("one") != stranger.pid
        assert stranger.poll() is None
        stranger.kill()


def test_a_control_socket_that_nobody_serves_is_no_obstacle(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    daemon.nspawn.ok("stop", "one", "--time", "0")
    daemon.kill_both()
    assert (daemon.root / "run" / "control.sock").exists()
    assert processes.alive(daemon.start("one"))


def test_a_long_state_folder_still_has_a_socket(busybox: Path, tmp_path: Path) -> None:
    """A unix socket's path has 108 bytes (unix(7))."""
    from tests.support.program import Program

    root = tmp_path / ("x" * 60) / ("y" * 60)
    root.mkdir(parents=True)
    found = Daemon(Program(root))
    try:
        found.create("one", busybox, command=FOREVER)
        assert processes.alive(found.start("one"))
    finally:
        found.end()
