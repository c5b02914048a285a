"""What a review found: each was a way to lose a container, the spawner, or what somebody typed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from tests.support import processes
from tests.support.daemon import Daemon, free_port
from tests.support.processes import gone, wait_until
from tests.support.program import Program


def test_a_follower_that_reads_slowly_still_gets_the_last_line(daemon: Daemon, busybox: Path) -> None:
    burst = "sleep 2; head -c 6000000 /dev/zero | tr '\\0' z | fold -w 99; echo; echo THE-FINISH; sleep 1000"
    daemon.create("loud", busybox, command=f'["/bin/sh", "-c", "{burst}"]'.replace("\\0", "\\\\0"))
    daemon.start("loud")
    with subprocess.Popen(
        [daemon.nspawn.path, "logs", "-f", "loud"],
        stdout=subprocess.PIPE,
        env=daemon.nspawn.environment,
        start_new_session=True,
    ) as follower:
        try:
            assert follower.stdout is not None
            time.sleep(5)  # it does not read while the burst comes
            tail = b""
            end = time.monotonic() + 20
            while b"THE-FINISH" not in tail and time.monotonic() < end:
                tail = (tail + os.read(follower.stdout.fileno(), 65536))[-200_000:]
            assert b"THE-FINISH" in tail
        finally:
            follower.kill()


def test_a_long_paste_does_not_block_the_terminal(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    daemon.start("one")
    with daemon.nspawn.terminal(
        "exec", "one", "/bin/sh", "-c", "stty raw -echo; echo go; head -c 300000 | wc -c"
    ) as child:
        child.expect("go")
        for _ in range(100):
            child.send("x" * 3000)
        child.expect("300000", timeout=20)
        child.expect(pexpect.EOF)


def test_containers_nest_cgroups_as_they_like_and_are_still_ended(daemon: Daemon, busybox: Path) -> None:
    deep = "cd /sys/fs/cgroup; for n in $(seq 1500); do mkdir a && cd a || break; done; echo deep; sleep 1000"
    daemon.create("deep", busybox, command=f'["/bin/sh", "-c", "{deep}"]')
    daemon.start("deep")
    assert daemon.says("deep", "deep")
    spawner = daemon.spawner
    daemon.nspawn.ok("stop", "--time", "1", "deep")
    assert daemon.spawner == spawner
    assert daemon.state("deep")["state"] == "stopped"


def test_a_container_whose_keeper_dies_after_its_spawner_can_still_be_stopped(
    daemon: Daemon, busybox: Path
) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    pid = daemon.start("one")
    keeper = daemon.keeper
    daemon.kill_spawner()
    assert daemon.pid("one") == pid
    os.kill(keeper, signal.SIGKILL)
    assert gone(keeper)
    daemon.nspawn.ok("stop", "--time", "1", "one")
    assert gone(pid)
    assert daemon.state("one")["state"] == "stopped"


def test_failed_starts_leave_no_descriptors(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    daemon.start("one")
    daemon.nspawn.ok("stop", "one")
    log = daemon.root / "containers" / "one" / "console.log"
    log.unlink()
    log.mkdir()
    spawner = daemon.spawner
    before = len(os.listdir(f"/proc/{spawner}/fd"))
    for _ in range(4):
        assert daemon.nspawn("start", "one").status == 1
    assert len(os.listdir(f"/proc/{spawner}/fd")) <= before + 1
    log.rmdir()


def test_a_dead_cell_costs_nobody_a_start(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sleep 1000")
    daemon.start("one")
    daemon.nspawn.ok("stop", "one")
    spawner = daemon.spawner
    assert wait_until(lambda: processes.children(spawner), 5)
    (cell,) = processes.children(spawner)
    os.kill(spawner, signal.SIGSTOP)
    with subprocess.Popen([daemon.nspawn.path, "start", "one"], env=daemon.nspawn.environment) as start:
        time.sleep(0.5)
        os.kill(cell, signal.SIGKILL)
        assert wait_until(lambda: not processes.alive(cell), 5)
        os.kill(spawner, signal.SIGCONT)
        assert start.wait(15) == 0
    assert daemon.state("one")["state"] == "running"


def test_containers_get_the_usual_limit_of_descriptors(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command='["/bin/sh", "-c", "ulimit -n; sleep 1000"]')
    daemon.start("one")
    here = subprocess.run(
        ["sh", "-c", "ulimit -n"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert daemon.says("one", here)


def test_serve_with_a_port_that_is_taken_ends_with_an_error(nspawn: Program) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        result = nspawn("serve", "--port", str(port))
    assert result.status == 1
    assert f"127.0.0.1:{port}" in result.err
    assert "another port" in result.err


@pytest.mark.parametrize("user", ["0", "65534"])
def test_a_run_ends_with_a_killed_caller_whoever_runs_it(nspawn: Program, busybox: Path, user: str) -> None:
    with nspawn.box(busybox, "--user", user) as box:
        os.kill(box.process.pid, signal.SIGKILL)
        assert gone(box.pid)


def test_a_terminal_that_is_not_ours_is_no_obstacle(nspawn: Program, busybox: Path) -> None:
    child: pexpect.spawn[str] = pexpect.spawn(
        "setsid",
        ["-w", str(nspawn.path), str(busybox), "/bin/echo", "well"],
        env=nspawn.environment,
        encoding="utf-8",
        timeout=15,
    )
    child.expect("well")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
