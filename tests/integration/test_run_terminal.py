"""A shell session through a real terminal: job control, size, Ctrl-C."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.command import check, run
from tests.support.processes import wait_until
from tests.support.program import Program

PROMPT = "ready> "


@pytest.fixture
def shell(nspawn: Program, debian: Path) -> Iterator[pexpect.spawn[str]]:
    """An interactive bash of a Debian container at its prompt."""
    (debian / "root" / ".bash_profile").write_text(f"PS1='{PROMPT}'; bind 'set enable-bracketed-paste off'\n")
    with nspawn.terminal("--env", "LANG=C.UTF-8", debian) as child:
        child.expect_exact(PROMPT)
        yield child


def ask(child: pexpect.spawn[str], line: str) -> str:
    """Type a line; what it prints, without the echo."""
    child.sendline(line)
    child.expect_exact(PROMPT)
    return (child.before or "").split("\n", 1)[1].replace("\r", "").rstrip("\n")


def test_the_shell_has_job_control_and_no_complaint(nspawn: Program, debian: Path) -> None:
    with nspawn.terminal(debian, "/bin/bash", "--norc", "-i") as child:
        child.expect(r"[#$] ")
        assert "job control" not in (child.before or "")
        assert "cannot" not in (child.before or "")
        child.sendline("exit 3")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 3


def test_ctrl_z_stops_and_fg_and_bg_go_on(shell: pexpect.spawn[str]) -> None:
    shell.sendline("sleep 333")
    time.sleep(0.5)
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect_exact(PROMPT)
    assert "Stopped" in ask(shell, "jobs")
    ask(shell, "bg")
    assert "Running" in ask(shell, "jobs")
    shell.sendline("fg")
    shell.expect("sleep 333\r\n")
    time.sleep(0.3)
    shell.sendcontrol("c")
    shell.expect_exact(PROMPT)
    assert ask(shell, "echo $?") == "130"
    assert ask(shell, "jobs") == ""


def test_ctrl_c_ends_what_runs_and_not_the_shell(shell: pexpect.spawn[str]) -> None:
    shell.sendline("sleep 333")
    time.sleep(0.5)
    shell.sendcontrol("c")
    shell.expect_exact(PROMPT)
    assert ask(shell, "echo $?") == "130"


def test_ctrl_c_ends_a_command_that_is_no_shell(nspawn: Program, busybox: Path) -> None:
    with nspawn.terminal(busybox, "sleep", "333") as child:
        time.sleep(0.7)
        child.sendcontrol("c")
        child.expect(pexpect.EOF, timeout=8)
        child.close()
        assert 130 in (child.exitstatus, 128 + (child.signalstatus or 0))


def test_ctrl_backslash_ends_a_command_that_is_no_shell(nspawn: Program, busybox: Path) -> None:
    with nspawn.terminal(busybox, "sleep", "333") as child:
        time.sleep(0.7)
        child.send("\x1c")
        child.expect(pexpect.EOF, timeout=8)
        child.close()
        assert 131 in (child.exitstatus, 128 + (child.signalstatus or 0))


def test_ctrl_d_ends_the_shell(shell: pexpect.spawn[str]) -> None:
    ask(shell, "true")
    shell.sendcontrol("d")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0


def test_the_size_is_there_from_the_start(nspawn: Program, busybox: Path) -> None:
    with nspawn.terminal(busybox, "stty", "size", size=(33, 77)) as child:
        child.expect("33 77")


def test_a_new_size_reaches_the_shell_and_its_programs(shell: pexpect.spawn[str]) -> None:
    ask(shell, "trap 'echo resized' WINCH")
    shell.setwinsize(45, 123)
    # bash runs the trap when it handles the next input.
    shell.sendline("")
    shell.expect("resized")
    shell.expect_exact(PROMPT)
    wait_until(lambda: ask(shell, "stty size").endswith("45 123"), 5)
    assert ask(shell, "stty size") == "45 123"
    assert ask(shell, "echo $LINES $COLUMNS") == "45 123"


def test_the_terminal_has_a_name_and_is_the_console(shell: pexpect.spawn[str]) -> None:
    assert ask(shell, "tty").startswith("/dev/")
    assert ask(shell, "test -t 0 -a -t 1 -a -t 2 && echo yes") == "yes"
    assert "said" in ask(shell, "echo said > /dev/console")
    assert "said" in ask(shell, "echo said > /dev/tty")
    major, minor = (int(word, 16) for word in ask(shell, "stat -c '%t %T' -L /dev/console").split())
    assert (major, minor) != (5, 1)


def test_control_characters_and_long_lines_pass(shell: pexpect.spawn[str]) -> None:
    text = "ü€" * 40
    assert ask(shell, f"echo {text}") == text
    long = "x" * 2000
    assert ask(shell, f"echo {long} | wc -c").endswith("2001")


def test_much_output_arrives_whole(shell: pexpect.spawn[str]) -> None:
    lines = ask(shell, "seq 1 20000").split("\n")
    assert len(lines) == 20000
    assert lines[-1] == "20000"


@pytest.fixture
def host_shell(nspawn: Program) -> Iterator[pexpect.spawn[str]]:
    """An interactive bash of the host at its prompt."""
    child: pexpect.spawn[str] = pexpect.spawn(
        "/bin/bash",
        ["--norc", "--noprofile"],
        env={**nspawn.environment, "PS1": "host> "},
        encoding="utf-8",
        timeout=15,
        dimensions=(24, 400),
    )
    try:
        child.expect_exact("host> ")
        yield child
    finally:
        child.close(force=True)


def test_the_callers_terminal_is_as_before_at_the_end(
    nspawn: Program, busybox: Path, host_shell: pexpect.spawn[str]
) -> None:
    host_shell.sendline("before=$(stty -g)")
    host_shell.expect_exact("host> ")
    host_shell.sendline(
        f"{nspawn.path} {busybox} stty raw -echo; after=$(stty -g); stty sane;"
        ' [ "$before" = "$after" ] && echo sa""me || echo diff""erent'
    )
    assert host_shell.expect_exact(["same", "different"]) == 0


def test_the_callers_shell_can_stop_and_go_on_after_it(
    nspawn: Program, busybox: Path, host_shell: pexpect.spawn[str]
) -> None:
    host_shell.sendline(f"{nspawn.path} {busybox} /bin/sh -c 'echo in\"\"side; exec cat'")
    host_shell.expect_exact("inside")
    host_shell.sendline("typed")
    host_shell.expect_exact("typed\r\ntyped")
    host_shell.sendcontrol("d")
    host_shell.expect_exact("host> ")
    host_shell.sendline("sleep 333")
    time.sleep(0.3)
    host_shell.sendcontrol("z")
    host_shell.expect("Stopped")
    host_shell.sendline("kill %1; echo d''one")
    host_shell.expect_exact("done")


def test_a_lost_terminal_ends_the_container(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    token = f"lost{time.monotonic_ns()}"
    with nspawn.terminal(busybox, "/bin/sh", "-c", "echo up; sleep 1000; :", token) as child:
        child.expect("up")
    assert wait_until(lambda: not run(["pgrep", "-f", token]).lines, 8)


def test_output_to_a_pipe_with_a_terminal_for_input_stays_clean(nspawn: Program, busybox: Path) -> None:
    script = f"{nspawn.path} {busybox} /bin/sh -c 'echo a; echo b; test -t 0 && echo tty' | od -c | cat"
    child = pexpect.spawn("/bin/sh", ["-c", script], env=nspawn.environment, encoding="utf-8", timeout=15)
    try:
        child.expect(pexpect.EOF)
        seen = re.sub(r"\s+", " ", child.before or "")
        assert "a \\n b \\n" in seen
        assert "\\r" not in seen
    finally:
        child.close(force=True)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A private tmux server; the function runs one of its commands."""
    socket = str(tmp_path / "tmux")

    def command(*words: str) -> str:
        return check(["tmux", "-S", socket, "-f", "/dev/null", *words]).out

    yield command
    run(["tmux", "-S", socket, "kill-server"])


def test_a_session_in_tmux_works_and_follows_its_size(
    nspawn: Program, busybox: Path, tmux: Callable[..., str]
) -> None:
    words = [f"{key}={value}" for key, value in nspawn.environment.items() if key != "TERM"]
    tmux("new-session", "-d", "-x", "100", "-y", "30", "env", *words, str(nspawn.path), str(busybox))

    def shows(text: str) -> bool:
        return wait_until(lambda: text in tmux("capture-pane", "-p"), 8)

    assert shows(" #"), tmux("capture-pane", "-p")
    tmux("send-keys", "stty size; hostname", "Enter")
    assert shows("30 100")
    assert shows("my-box")
    tmux("resize-window", "-x", "70", "-y", "20")
    tmux("send-keys", "clear; stty size", "Enter")
    assert shows("20 70"), tmux("capture-pane", "-p")
    tmux("send-keys", "clear; sleep 333; echo after", "Enter")
    time.sleep(0.5)
    tmux("send-keys", "C-c", "")
    tmux("send-keys", "echo st''ill here", "Enter")
    assert shows("still here"), tmux("capture-pane", "-p")
