"""The command: which one runs by default, what it inherits, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.program import Program


@pytest.mark.parametrize("status", [0, 1, 3, 125, 255])
def test_the_exit_status_is_the_commands(nspawn: Program, busybox: Path, status: int) -> None:
    result = nspawn(busybox, "/bin/sh", "-c", f"exit {status}")
    assert result.status == status
    assert result.err == ""


def test_a_command_killed_from_outside_gives_128_and_the_signal(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox) as box:
        assert box.end() == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_program_ends_the_command(
    nspawn: Program, busybox: Path, number: signal.Signals
) -> None:
    with nspawn.box(busybox) as box:
        pid = box.pid
        box.process.send_signal(number)
        box.process.communicate(timeout=15)
        assert processes.gone(pid)
        assert box.process.returncode in (-number, 128 + number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_has_no_handler(
    nspawn: Program, busybox: Path, number: signal.Signals
) -> None:
    """Though the kernel lets a first process without a handler ignore it (pid_namespaces(7))."""
    with subprocess.Popen(
        [nspawn.path, busybox, "sleep", "999.25"],
        stdin=subprocess.DEVNULL,
        env=nspawn.environment,
        start_new_session=True,
    ) as process:
        ours = processes.namespace("self", "mnt")

        def inside() -> list[int]:
            return [
                pid
                for pid in processes.children(process.pid)
                if processes.namespace(pid, "mnt") != ours and processes.command_line(pid)[0] == "sleep"
            ]

        assert processes.wait_until(inside, 5)
        pid = inside()[0]
        process.send_signal(number)
        assert process.wait(timeout=10) in (-number, 128 + number)
        assert processes.gone(pid)


def test_a_signal_that_the_command_handles_reaches_it(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox, start="trap 'exit 42' TERM") as box:
        box.process.send_signal(signal.SIGTERM)

        def ended() -> bool:
            # The shell handles it when its present sleep ends: take that away.
            for pid in processes.children(box.pid):
                os.kill(pid, signal.SIGKILL)
            return box.process.poll() is not None

        assert processes.wait_until(ended, 10)
        assert box.process.returncode == 42


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("/not/there", 127),
        ("no-such-program", 127),
        ("", 127),
        ("/etc", 126),
        ("/etc/passwd", 126),
        ("/not-a-program", 126),
    ],
)
def test_what_cannot_run_gives_126_or_127(nspawn: Program, busybox: Path, command: str, status: int) -> None:
    (busybox / "not-a-program").write_bytes(b"\x7fELF nothing")
    (busybox / "not-a-program").chmod(0o755)
    result = nspawn(busybox, command)
    assert result.status == status, str(result)
    assert result.err.startswith("nspawn"), str(result)
    assert "Traceback" not in result.err


def test_a_script_whose_interpreter_is_missing_says_so(nspawn: Program, busybox: Path) -> None:
    (busybox / "broken-script").write_text("#!/no/interpreter\n")
    (busybox / "broken-script").chmod(0o755)
    result = nspawn(busybox, "/broken-script")
    # bash gives 126 here, dash and env 127.
    assert result.status in (126, 127), str(result)
    assert "interpreter" in result.err


def test_a_command_without_a_slash_is_searched_on_the_path(nspawn: Program, busybox: Path) -> None:
    assert nspawn(busybox, "echo", "found").out == "found\n"


def test_the_default_command_is_bash_as_an_interactive_login_shell(nspawn: Program, debian: Path) -> None:
    result = nspawn(debian, stdin=b"tr '\\0' ' ' </proc/$$/cmdline; echo; echo flags=$-; exit 5\n")
    assert result.status == 5, str(result)
    first, flags = result.lines
    assert first.strip() in ("/bin/bash -il", "bash -il", "-bash -il")
    assert "i" in flags.partition("=")[2]


def test_without_bash_the_default_command_is_sh(nspawn: Program, busybox: Path) -> None:
    result = nspawn(busybox, stdin=b"tr '\\0' ' ' </proc/$$/cmdline; echo; exit 6\n")
    assert result.status == 6, str(result)
    assert "/bin/sh -il" in result.out


def test_a_bash_that_is_not_executable_is_passed_over(nspawn: Program, busybox: Path) -> None:
    (busybox / "bin" / "bash").write_text("")
    result = nspawn(busybox, stdin=b"exit 7\n")
    assert result.status == 7, str(result)


def test_options_after_the_rootfs_belong_to_the_command(nspawn: Program, busybox: Path) -> None:
    assert nspawn(busybox, "echo", "--env", "-h", "-V", "--").out == "--env -h -V --\n"


def test_arguments_pass_unchanged(nspawn: Program, busybox: Path) -> None:
    words = ["", " ", "a b", "$HOME", "'\"", "\\n", "new\nline", "ü€", "*", "-"]
    result = nspawn(busybox, "/bin/sh", "-c", 'for w; do printf "%s|" "$w"; done', "sh", *words)
    assert result.out == "".join(f"{word}|" for word in words)


def test_a_rootfs_named_like_a_subcommand_is_written_as_a_path(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    busybox.rename(tmp_path / "list")
    result = nspawn("./list", "echo", "ran", directory=tmp_path)
    assert result.out == "ran\n", str(result)


def test_a_rootfs_may_be_reached_by_a_link_and_with_a_slash(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(busybox)
    assert nspawn(tmp_path / "link", "echo", "1").out == "1\n"
    assert nspawn(f"{busybox}/", "echo", "2").out == "2\n"


@pytest.mark.parametrize("name", ["a b", "a,b", "a:b", "ü", "a\\b", "-dash", "x" * 200])
def test_a_rootfs_may_have_any_name(nspawn: Program, busybox: Path, tmp_path: Path, name: str) -> None:
    busybox.rename(tmp_path / name)
    assert nspawn(tmp_path / name, "echo", "ran").out == "ran\n"
    ephemeral = nspawn("--ephemeral", tmp_path / name, "echo", "ran")
    assert ephemeral.out == "ran\n", str(ephemeral)


def test_input_and_output_pass_through_unchanged(nspawn: Program, busybox: Path) -> None:
    data = os.urandom(1_000_000)
    result = nspawn(busybox, "cat", stdin=data)
    assert result.stdout == data
    assert result.stderr == b""


def test_the_streams_stay_apart(nspawn: Program, busybox: Path) -> None:
    result = nspawn(busybox, "/bin/sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


def test_a_reader_that_leaves_ends_the_writer(nspawn: Program, busybox: Path) -> None:
    with subprocess.Popen(
        [nspawn.path, busybox, "/bin/sh", "-c", "yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=nspawn.environment,
    ) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.stdout.close()
        process.wait(timeout=10)


def test_closed_streams_are_no_problem(nspawn: Program, busybox: Path) -> None:
    script = f"exec '{nspawn.path}' '{busybox}' /bin/sh -c 'exit 9' <&- >&- 2>&-"
    result = nspawn("-V", prefix=["/bin/sh", "-c", script])
    assert result.status == 9, str(result)


def test_the_command_starts_with_clean_signals(nspawn: Program, busybox: Path) -> None:
    ignoring = ["/bin/sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh"]
    for prefix in ([], ["env", "--block-signal=USR1"]):
        result = nspawn(busybox, "grep", "Sig", "/proc/self/status", prefix=prefix)
        found = dict(line.split(":\t") for line in result.lines)
        assert int(found["SigIgn"], 16) == 0, str(result)
        if not prefix:
            assert int(found["SigBlk"], 16) == 0, str(result)
    assert nspawn(busybox, "true", prefix=ignoring).status == 0


def test_no_descriptor_of_the_host_is_left_open(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        result = nspawn(
            busybox, "/bin/sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done", descriptors=[folder]
        )
    finally:
        os.close(folder)
    # Three streams; what the shell's own expansion opened is gone again.
    assert len(result.lines) == 3, str(result)
    assert str(tmp_path) not in result.out


def test_the_command_has_an_ordinary_umask_and_may_become_root(nspawn: Program, busybox: Path) -> None:
    strict = ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh"]
    result = nspawn(
        busybox,
        "/bin/sh",
        "-c",
        "umask; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj",
        prefix=strict,
    )
    umask, privileges, score = result.lines
    assert umask == "0022"
    assert privileges.split()[1] == "0"
    assert int(score) >= 0


def test_every_process_of_the_container_ends_with_the_command(nspawn: Program, busybox: Path) -> None:
    token = f"token{os.getpid()}x{time.monotonic_ns()}"
    script = f'setsid sh -c "sleep 1000; :" {token} & sh -c "sleep 1000; :" {token} & sleep 0.2; exit 4'
    assert nspawn(busybox, "/bin/sh", "-c", script).status == 4
    assert processes.wait_until(lambda: not processes.with_argument(token), 3)
