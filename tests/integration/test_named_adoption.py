"""kill -9 of the spawner, of the keeper and of both: containers go on and are taken over again."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.daemon import Daemon, free_port
from tests.support.processes import wait_until
from tests.support.program import Program

COUNTING = "/bin/sh -c 'trap \"exit 0\" TERM; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done'"


@pytest.fixture
def running(daemon: Daemon, busybox: Path) -> Daemon:
    """Two containers: one that talks all the time, one that answers its console."""
    daemon.create("ticker", busybox, command=COUNTING)
    daemon.create("echoer", busybox, command="/bin/cat")
    daemon.start("ticker")
    daemon.start("echoer")
    return daemon


def identity(daemon: Daemon, name: str) -> tuple[object, ...]:
    state = daemon.state(name)
    return (state["state"], state["pid"], round(state["started"], 3), processes.start_time(state["pid"]))


def test_containers_survive_the_spawner(running: Daemon) -> None:
    before = {name: identity(running, name) for name in ("ticker", "echoer")}
    running.kill_spawner()
    assert {name: identity(running, name) for name in ("ticker", "echoer")} == before
    for name in before:
        assert running.state(name)["supervised"]


def test_containers_survive_the_spawner_again_and_again(running: Daemon) -> None:
    before = identity(running, "ticker")
    for _ in range(3):
        running.kill_spawner()
    assert identity(running, "ticker") == before


def test_the_console_works_after_the_spawner_was_killed(running: Daemon) -> None:
    running.kill_spawner()
    with running.nspawn.terminal("console", "echoer") as child:
        child.sendline("hello")
        child.expect("hello\r\n.*hello\r\n")
        child.send("\x1d\x1d\x1d")
        child.wait()
    assert running.says("echoer", "hello")


def test_the_log_goes_on_after_the_spawner_was_killed(running: Daemon) -> None:
    running.kill_spawner()

    def last() -> int:
        ticks = [line for line in running.log("ticker").split() if line.isdigit()]
        return int(ticks[-1]) if ticks else 0

    first = last()
    assert wait_until(lambda: last() > first + 5, 5)


def test_an_end_while_no_spawner_watched_is_still_known_by_its_status(daemon: Daemon, busybox: Path) -> None:
    """The keeper, as the subreaper, keeps it for the next spawner."""
    daemon.create("one", busybox, command="/bin/sh -c 'sleep 1; exit 23'")
    daemon.start("one")
    os.kill(daemon.spawner, signal.SIGSTOP)
    keeper = daemon.keeper
    time.sleep(1.3)
    os.kill(daemon.spawner, signal.SIGKILL)
    assert wait_until(lambda: daemon.spawner != 0, 10)
    assert daemon.keeper == keeper
    state = daemon.becomes("one", "stopped")
    assert state["exit_code"] == 23, state


def test_an_adopted_containers_end_is_seen_with_its_status(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sh -c 'sleep 1.5; exit 24'")
    daemon.start("one")
    daemon.kill_spawner()
    state = daemon.becomes("one", "stopped")
    assert state["exit_code"] == 24, state


def test_an_adopted_container_can_be_stopped_and_started(running: Daemon) -> None:
    old = running.pid("ticker")
    running.kill_spawner()
    running.nspawn.ok("stop", "ticker", "--time", "2")
    assert processes.gone(old)
    assert running.start("ticker") != old


def test_an_adopted_container_keeps_its_restart_policy(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000", restart__policy="always", restart__delay="0.2")
    old = daemon.start("one")
    daemon.kill_spawner()
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: daemon.state("one")["pid"] not in (None, old), 10)
    assert daemon.state("one")["restarts"] == 1


def test_a_container_that_does_not_read_its_console_survives_keeper_and_spawner(running: Daemon) -> None:
    """The terminal is gone with both: who reads from it sees its end, and "echoer" leaves."""
    before = identity(running, "ticker")
    running.kill_both()
    assert processes.alive(running.pid("ticker"))
    running.serve()
    assert identity(running, "ticker") == before
    assert running.state("ticker")["supervised"]
    assert running.state("echoer")["state"] == "stopped"


def test_list_and_info_tell_the_truth_without_a_spawner(running: Daemon) -> None:
    pid = running.pid("ticker")
    running.kill_both()
    state = running.state("ticker")
    assert (state["state"], state["pid"], state["supervised"]) == ("running", pid, False)
    os.kill(pid, signal.SIGKILL)
    assert processes.gone(pid)
    assert running.state("ticker")["state"] == "stopped"


def test_stop_works_though_both_were_killed(running: Daemon) -> None:
    pid = running.pid("ticker")
    running.kill_both()
    running.nspawn.ok("stop", "ticker", "--time", "2")
    assert processes.gone(pid)
    assert running.state("ticker")["state"] == "stopped"


def test_rm_refuses_a_container_that_runs_without_a_spawner(running: Daemon) -> None:
    running.kill_both()
    result = running.nspawn("rm", "ticker")
    assert result.status == 1, str(result)
    assert processes.alive(running.pid("ticker"))


def test_the_containers_go_on_under_the_spawner_when_the_keeper_was_killed(
    daemon: Daemon, busybox: Path
) -> None:
    daemon.create("one", busybox, command="sleep 100000")
    pid = daemon.start("one")
    os.kill(daemon.keeper, signal.SIGKILL)
    time.sleep(0.3)
    assert processes.alive(pid)
    assert daemon.state("one")["pid"] == pid
    assert daemon.nspawn("exec", "one", "true").status == 0


@pytest.mark.slow
def test_a_spawner_that_does_not_answer_is_said_to_be_stuck(running: Daemon) -> None:
    spawner = running.spawner
    os.kill(spawner, signal.SIGSTOP)
    try:
        result = running.nspawn("list", timeout=60)
        assert result.status == 1, str(result)
        assert "spawner" in result.err
        assert "Traceback" not in result.err
    finally:
        os.kill(spawner, signal.SIGCONT)
    assert running.state("ticker")["state"] == "running"


def test_shutdown_stops_everything_in_order(running: Daemon) -> None:
    pids = [running.pid(name) for name in ("ticker", "echoer")]
    running.nspawn.ok("shutdown", timeout=40)
    assert wait_until(lambda: not running.keeper and not running.spawner, 15)
    assert all(processes.gone(pid) for pid in pids)
    assert not (running.root / "run" / "control.sock").exists()


def test_sigterm_to_the_keeper_ends_all_in_order(running: Daemon) -> None:
    pids = [running.pid(name) for name in ("ticker", "echoer")]
    os.kill(running.keeper, signal.SIGTERM)
    assert wait_until(lambda: not running.keeper and not running.spawner, 25)
    assert all(processes.gone(pid) for pid in pids)


def test_a_second_keeper_for_the_same_state_is_refused(running: Daemon) -> None:
    result = running.nspawn("serve", timeout=10)
    assert result.status != 0, str(result)
    assert "Traceback" not in result.err
    assert processes.alive(running.pid("ticker"))


def test_two_first_starts_at_once_make_one_spawner(daemon: Daemon, busybox: Path) -> None:
    import subprocess

    for name in ("one", "two", "three", "four"):
        daemon.create(name, busybox, command="sleep 100000")
    started = [
        subprocess.Popen([daemon.nspawn.path, "start", name], env=daemon.nspawn.environment)
        for name in ("one", "two", "three", "four")
    ]
    assert [process.wait(timeout=40) for process in started] == [0, 0, 0, 0]
    for name in ("one", "two", "three", "four"):
        assert processes.alive(daemon.pid(name))
    assert len(daemon.own()) == 2


@pytest.fixture
def paged(nspawn: Program) -> Iterator[tuple[Daemon, int]]:
    port = free_port()
    found = Daemon(nspawn, port)
    yield found, port
    found.end()


def health(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        status: int = answer.status
        return status


def test_containers_survive_the_web_process_and_it_comes_back(
    paged: tuple[Daemon, int], busybox: Path
) -> None:
    daemon, port = paged
    daemon.create("one", busybox, command="sleep 100000")
    pid = daemon.start("one")
    assert health(port) == 200
    web = daemon.web_processes()
    assert len(web) == 1
    os.kill(web[0], signal.SIGKILL)
    assert processes.gone(web[0])
    assert daemon.pid("one") == pid
    assert health(port) == 200


def test_the_page_answers_again_after_the_spawner_and_the_web_process_were_killed(
    paged: tuple[Daemon, int], busybox: Path
) -> None:
    daemon, port = paged
    daemon.create("one", busybox, command="sleep 100000")
    pid = daemon.start("one")
    assert health(port) == 200
    web = daemon.web_processes()
    os.kill(web[0], signal.SIGKILL)
    daemon.kill_spawner()
    assert health(port) == 200
    assert daemon.pid("one") == pid


def test_a_spawner_killed_while_the_web_process_runs_leaves_one_web_process(
    paged: tuple[Daemon, int], busybox: Path
) -> None:
    daemon, port = paged
    daemon.create("one", busybox, command="sleep 100000")
    daemon.start("one")
    assert health(port) == 200
    daemon.kill_spawner()
    assert health(port) == 200
    assert wait_until(lambda: len(daemon.web_processes()) == 1, 5), daemon.web_processes()
