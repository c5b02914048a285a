"""Consoles: a terminal of its own, always drained, kept in a ring on disk."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from tests.support.daemon import Daemon
from tests.support.processes import wait_until

DETACH = "\x1d\x1d\x1d"
SHELL = "/bin/sh -i"


@pytest.fixture
def shell(daemon: Daemon, busybox: Path) -> Daemon:
    """A container whose command is a shell on its console."""
    daemon.create("one", busybox, command=SHELL)
    daemon.start("one")
    return daemon


def test_what_is_typed_is_answered_and_detaching_leaves_it_running(shell: Daemon) -> None:
    pid = shell.pid("one")
    with shell.nspawn.terminal("console", "one") as child:
        child.sendline("echo $((6*7))")
        child.expect("42")
        child.send(DETACH)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    assert shell.pid("one") == pid


def test_ctrl_closing_bracket_once_or_twice_goes_to_the_container(shell: Daemon) -> None:
    with shell.nspawn.terminal("console", "one") as child:
        child.send("\x1d\x1d")
        time.sleep(0.2)
        child.sendline("")
        child.sendline("echo still $((1+1))")
        child.expect("still 2")
        child.send(DETACH)
        child.expect(pexpect.EOF)


def test_the_console_is_a_controlling_terminal_with_job_control(shell: Daemon) -> None:
    with shell.nspawn.terminal("console", "one", size=(31, 91)) as child:
        child.sendline("tty; test -t 0 && echo yes$((0))")
        child.expect("yes0")
        assert "not a tty" not in (child.before or "")
        child.sendline("stty size")
        child.expect("31 91")
        child.sendline("sleep 333")
        time.sleep(0.5)
        child.sendcontrol("c")
        child.sendline("echo status $?")
        child.expect("status 130")
        child.setwinsize(40, 120)
        time.sleep(0.3)
        child.sendline("stty size")
        child.expect("40 120")
        child.send(DETACH)
        child.expect(pexpect.EOF)
    assert "job control" not in shell.log("one")


def test_two_viewers_see_the_same(shell: Daemon) -> None:
    with shell.nspawn.terminal("console", "one") as first, shell.nspawn.terminal("console", "one") as second:
        time.sleep(0.5)
        first.sendline("echo both $((2+3))")
        first.expect("both 5")
        second.expect("both 5")
        first.send(DETACH)
        first.expect(pexpect.EOF)
        second.sendline("echo alone $((3+4))")
        second.expect("alone 7")


def test_the_console_ends_when_the_container_ends(shell: Daemon) -> None:
    with shell.nspawn.terminal("console", "one") as child:
        child.sendline("exit 5")
        child.expect(pexpect.EOF, timeout=10)
    assert shell.becomes("one", "stopped")["exit_code"] == 5


def test_a_console_of_a_stopped_container_is_a_clear_error(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=SHELL)
    with daemon.nspawn.terminal("console", "one") as child:
        child.expect(pexpect.EOF)
        assert "nspawn" in (child.before or "")
        assert "Traceback" not in (child.before or "")
        child.close()
        assert child.exitstatus == 1


def test_output_nobody_watches_does_not_block_the_container(daemon: Daemon, busybox: Path) -> None:
    much = "/bin/sh -c 'seq 1 200000; echo finished; sleep 1000'"
    daemon.create("one", busybox, command=much)
    daemon.start("one")
    assert daemon.says("one", "finished", 20)


def test_the_ring_on_disk_stays_below_its_size_and_keeps_the_end(daemon: Daemon, busybox: Path) -> None:
    much = "/bin/sh -c 'seq 1 1500000; echo finished; sleep 1000'"
    daemon.create("one", busybox, command=much)
    daemon.start("one")
    assert daemon.says("one", "finished", 40)
    folder = daemon.root / "containers" / "one"
    files = [path for path in folder.iterdir() if path.name.startswith("console.log")]
    assert sum(path.stat().st_size for path in files) <= (2 << 20) + (256 << 10)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    lines = daemon.log("one").replace("\r", "").split("\n")
    assert "1499999" in lines
    numbers = [int(line) for line in lines[1:] if line.isdigit()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_a_viewer_that_does_not_read_does_not_block_the_container(daemon: Daemon, busybox: Path) -> None:
    much = "/bin/sh -c 'sleep 1; seq 1 300000; echo finished; sleep 1000'"
    daemon.create("one", busybox, command=much)
    daemon.start("one")
    with daemon.nspawn.terminal("console", "one"):
        assert daemon.says("one", "finished", 30)


def test_logs_follow_shows_what_comes(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sh -c 'echo early; sleep 1; echo late; sleep 1000'")
    daemon.start("one")
    with subprocess.Popen(
        [daemon.nspawn.path, "logs", "-f", "one"],
        env=daemon.nspawn.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert b"early" in process.stdout.readline()
            assert b"late" in process.stdout.readline()
        finally:
            process.terminate()
            process.wait(timeout=5)


def test_the_log_stays_after_the_container_and_over_its_starts(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/bin/sh -c 'echo run; exit 0'")
    for _ in range(2):
        daemon.nspawn.ok("start", "one")
        daemon.becomes("one", "stopped")
    assert daemon.log("one").count("run") == 2


def test_the_log_is_not_read_through_a_link(daemon: Daemon, busybox: Path, tmp_path: Path) -> None:
    daemon.create("one", busybox, command="/bin/sh -c 'echo run; exit 0'")
    (tmp_path / "secret").write_text("of the host")
    (daemon.root / "containers" / "one" / "console.log").symlink_to(tmp_path / "secret")
    daemon.nspawn("start", "one")
    assert "of the host" not in daemon.nspawn("logs", "one").out
    assert (tmp_path / "secret").read_text() == "of the host"


def test_shell_gives_an_own_terminal_of_the_container(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000")
    daemon.start("one")
    with daemon.nspawn.terminal("shell", "one", size=(28, 88)) as child:
        child.expect("# ")
        child.sendline("tty; stty size; hostname")
        child.expect("/dev/pts/")
        child.expect("28 88")
        child.expect("one")
        child.setwinsize(35, 99)
        time.sleep(0.3)
        child.sendline("stty size")
        child.expect("35 99")
        child.sendline("sleep 333")
        time.sleep(0.5)
        child.sendcontrol("c")
        child.sendline("echo status $?")
        child.expect("status 130")
        child.sendline("exit 6")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 6


def test_shell_leaves_the_callers_terminal_as_it_was(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000")
    daemon.start("one")
    program = daemon.nspawn.path
    script = f"a=$(stty -g); {program} exec one stty raw -echo; b=$(stty -g); stty sane; "
    script += 'test "$a" = "$b" && echo sa""me || echo diff""erent'
    child = pexpect.spawn(
        "/bin/bash", ["-c", script], env=daemon.nspawn.environment, encoding="utf-8", timeout=15
    )
    try:
        assert child.expect_exact(["same", "different"]) == 0
    finally:
        child.close(force=True)


def test_exec_on_a_terminal_has_the_size_and_the_status(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000")
    daemon.start("one")
    with daemon.nspawn.terminal("exec", "one", "/bin/sh", "-c", "stty size; exit 9", size=(22, 66)) as child:
        child.expect("22 66")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 9


def test_keys_typed_during_the_start_are_not_lost(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="sleep 100000")
    daemon.start("one")
    for pause in (0.0, 0.04, 0.08, 0.12):
        with daemon.nspawn.terminal("exec", "one", "/bin/sh", "-c", "read x; echo got-$x") as child:
            child.delaybeforesend = None
            time.sleep(pause)
            child.sendline("early")
            child.expect("got-early", timeout=5)


def test_a_detached_console_process_leaves_nothing(shell: Daemon) -> None:
    before = len(os.listdir(f"/proc/{shell.spawner}/fd"))
    for _ in range(5):
        with shell.nspawn.terminal("console", "one") as child:
            child.expect("# ")
            child.send(DETACH)
            child.expect(pexpect.EOF)
    assert wait_until(lambda: len(os.listdir(f"/proc/{shell.spawner}/fd")) <= before, 5)
