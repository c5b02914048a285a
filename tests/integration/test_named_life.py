"""A named container from start to end, as seen by /proc and not only by its own report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.program import Program

FOREVER = "/bin/sh -c 'echo up; exec sleep 100000'"


def test_the_reported_process_is_the_containers_first(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    assert processes.alive(pid)
    assert processes.status(pid)["NSpid"].split()[-1] == "1"
    for kind in ("mnt", "pid", "uts", "ipc", "cgroup"):
        assert processes.namespace(pid, kind) != processes.namespace("self", kind)
    assert daemon.state("one")["state"] == "running"
    assert abs(daemon.state("one")["started"] - time.time()) < 20


def test_the_host_name_is_the_containers_name(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one_two", busybox, command=FOREVER)
    daemon.start("one_two")
    assert daemon.nspawn.ok("exec", "one_two", "hostname").out == "one-two\n"


def test_exec_joins_every_namespace_and_the_cgroup(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    for kind in ("mnt", "pid", "uts", "ipc", "cgroup", "time", "net"):
        inside = daemon.nspawn.ok("exec", "one", "readlink", f"/proc/self/ns/{kind}").out.strip()
        assert inside == processes.namespace(pid, kind), kind
    inner = daemon.nspawn.ok("exec", "one", "cat", "/proc/self/cgroup").out
    first = daemon.nspawn.ok("exec", "one", "cat", "/proc/1/cgroup").out
    assert inner == first


@pytest.mark.parametrize("status", [0, 3, 255])
def test_exec_gives_the_commands_status(daemon: Daemon, busybox: Path, status: int) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    assert daemon.nspawn("exec", "one", "sh", "-c", f"exit {status}").status == status


def test_exec_passes_streams_and_signals_and_errors(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    data = os.urandom(300_000)
    assert daemon.nspawn("exec", "one", "cat", stdin=data).stdout == data
    assert daemon.nspawn("exec", "one", "sh", "-c", "kill -TERM $$").status == 143
    assert daemon.nspawn("exec", "one", "/not/there").status == 127
    assert daemon.nspawn("exec", "one", "/etc/passwd").status == 126
    missing = daemon.nspawn("exec", "two", "true")
    assert missing.status == 1
    assert "two" in missing.err


def test_exec_leaves_no_descriptor_of_the_host_open(daemon: Daemon, busybox: Path, tmp_path: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        result = daemon.nspawn(
            *("exec", "one", "/bin/sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done"),
            descriptors=[folder],
        )
    finally:
        os.close(folder)
    assert len(result.lines) == 3, str(result)
    first = daemon.nspawn.ok("exec", "one", "ls", "-l", "/proc/1/fd").out
    assert str(tmp_path) not in first
    assert "socket:" not in first


def test_what_exec_started_ends_with_the_container(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    token = f"token{time.monotonic_ns()}"
    daemon.nspawn.ok("exec", "one", "sh", "-c", f'setsid sh -c "sleep 1000; :" {token} >/dev/null 2>&1 &')
    assert processes.with_argument(token)
    daemon.nspawn.ok("stop", "one", "--time", "1")
    assert processes.wait_until(lambda: not processes.with_argument(token), 3)


@pytest.mark.parametrize("abandoned", [True, False])
def test_a_stop_needs_nobody_to_reap_what_exec_started(
    daemon: Daemon, busybox: Path, *, abandoned: bool
) -> None:
    """As where process 1 takes orphans and leaves them: a container ends when nothing of it is a zombie."""
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    words = [[str(daemon.nspawn.path), "exec", "one", "sh", "-c", f"sleep 1000; : {i}"] for i in range(12)]
    script = f"""if True:
        import ctypes, subprocess
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        clients = [subprocess.Popen(words, stdin=subprocess.DEVNULL) for words in {words!r}]
        input()
        if {abandoned}:
            for client in clients:
                client.kill()
        print("now", flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=daemon.nspawn.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            assert parent.stdin is not None
            assert parent.stdout is not None
            inside = "ls -d /proc/[0-9]* | wc -l"
            assert processes.wait_until(
                lambda: int(daemon.nspawn.ok("exec", "one", "sh", "-c", inside).out) > 24, 20
            )
            parent.stdin.write("\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == "now\n"
            daemon.nspawn.ok("stop", "one", "--time", "0")
        finally:
            parent.kill()


def test_stop_asks_first_and_kills_after_the_time(daemon: Daemon, busybox: Path) -> None:
    polite = "/bin/sh -c 'trap \"echo asked; exit 0\" TERM; echo up; while :; do sleep 0.1; done'"
    deaf = "/bin/sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done'"
    daemon.create("polite", busybox, command=polite)
    daemon.start("polite")
    assert daemon.says("polite", "up")
    daemon.nspawn.ok("stop", "polite", "--time", "8")
    assert daemon.says("polite", "asked")
    daemon.nspawn.ok("rm", "polite")
    daemon.create("deaf", busybox, command=deaf)
    pid = daemon.start("deaf")
    assert daemon.says("deaf", "up")
    begin = time.monotonic()
    daemon.nspawn.ok("stop", "deaf", "--time", "1")
    assert 0.8 < time.monotonic() - begin < 5
    assert processes.gone(pid)
    assert daemon.state("deaf")["state"] == "stopped"


def test_a_command_without_a_handler_is_stopped_at_once(daemon: Daemon, busybox: Path) -> None:
    """Process 1 would ignore SIGTERM; nobody should wait ten seconds for that."""
    daemon.create("one", busybox, command="sleep 100000")
    pid = daemon.start("one")
    begin = time.monotonic()
    daemon.nspawn.ok("stop", "one")
    assert time.monotonic() - begin < 5
    assert processes.gone(pid)


@pytest.mark.parametrize("name", ["KILL", "SIGKILL", "9"])
def test_kill_ends_it(daemon: Daemon, busybox: Path, name: str) -> None:
    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    result = (
        daemon.nspawn("kill", "one") if name == "KILL" else daemon.nspawn("kill", "one", "--signal", name)
    )
    assert result.status == 0, str(result)
    assert processes.gone(pid)
    daemon.becomes("one", "stopped")


@pytest.mark.parametrize(
    ("script", "code", "word"),
    [("exit 0", 0, "exit code 0"), ("exit 7", 7, "exit code 7")],
)
def test_the_reason_of_an_end_is_recorded(
    daemon: Daemon, busybox: Path, script: str, code: int, word: str
) -> None:
    daemon.create("one", busybox, command=f"/bin/sh -c 'sleep 0.3; {script}'")
    daemon.start("one")
    state = daemon.becomes("one", "stopped")
    assert state["exit_code"] == code
    assert state["exit"] == word


def test_a_signal_from_outside_is_recorded_as_the_reason(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    os.kill(daemon.start("one"), signal.SIGKILL)
    state = daemon.becomes("one", "stopped")
    assert state["exit_signal"] == signal.SIGKILL
    assert state["exit"] == "signal SIGKILL"


def test_running_out_of_memory_is_recorded_as_the_reason(daemon: Daemon, busybox: Path) -> None:
    hog = "/bin/sh -c 'sleep 1; exec tail /dev/zero'"
    daemon.create("hog", busybox, command=hog)
    pid = daemon.start("hog")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        for place, limit in (
            (f"/sys/fs/cgroup/memory{path}", "memory.limit_in_bytes"),
            (f"/sys/fs/cgroup{path}", "memory.max"),
        ):
            file = Path(place) / limit
            if "nspawn" in path and file.exists() and ("memory" in controllers or number == "0"):
                file.write_text("20000000")
                break
        else:
            continue
        break
    else:
        pytest.skip("no memory controller counts this container")
    state = daemon.becomes("hog", "stopped", 20)
    assert state["exit"] == "out of memory"


def test_a_command_that_cannot_run_is_told_at_the_start(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command="/not/there")
    result = daemon.nspawn("start", "one")
    assert result.status != 0
    assert "/not/there" in result.err
    assert daemon.state("one")["state"] == "stopped"


def test_a_second_start_is_a_clear_error(daemon: Daemon, busybox: Path) -> None:
    daemon.create("one", busybox, command=FOREVER)
    pid = daemon.start("one")
    result = daemon.nspawn("start", "one")
    assert result.status == 1
    assert "one" in result.err
    assert daemon.pid("one") == pid


def test_fifty_containers_start_at_the_same_time(daemon: Daemon, busybox: Path) -> None:
    import subprocess

    names = [f"box{number}" for number in range(50)]
    for name in names:
        daemon.create(name, busybox, command=FOREVER)
    running = [
        subprocess.Popen(
            [daemon.nspawn.path, "start", name],
            env=daemon.nspawn.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in names
    ]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = daemon.nspawn.json("list", "--json")
    assert isinstance(found, list)
    pids = {entry["state"]["pid"] for entry in found if entry["state"]["state"] == "running"}
    assert len(pids) == 50
    assert all(processes.alive(pid) for pid in pids)


def test_runs_with_a_spawner_behave_like_runs_without(daemon: Daemon, busybox: Path) -> None:
    """`nspawn ROOTFS COMMAND` hands itself over to the spawner when there is one."""
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    place = busybox.with_name("other_box")
    from tests.support import rootfs

    rootfs.copy(busybox, place)
    nspawn: Program = daemon.nspawn
    result = nspawn(place, "/bin/sh", "-c", "hostname; cat; echo err >&2; exit 5", stdin=b"in\n")
    assert (result.status, result.out, result.err) == (5, "other-box\nin\n", "err\n")
    assert nspawn(place, "/not/there").status == 127
    assert nspawn(place, "/etc/passwd").status == 126
    assert nspawn("--env", "A=ü", place, "/bin/sh", "-c", "echo $A").out == "ü\n"
    assert nspawn("./other_box", "pwd", directory=place.parent).status == 0
    seen = nspawn(place, "grep", "Sig", "/proc/self/status").out
    assert "SigIgn:\t0000000000000000" in seen
    fds = nspawn(place, "/bin/sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done")
    assert len(fds.lines) == 3, str(fds)
    with nspawn.box(place) as box:
        pid = box.pid
        box.process.kill()
        box.process.wait(timeout=5)
        assert processes.gone(pid)


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (["--user", "guest"], "id -u", "1000"),
        (["--workdir", "/usr/bin"], "pwd", "/usr/bin"),
        (["--hostname", "chosen"], "hostname", "chosen"),
        (["--read-only"], "touch /x 2>/dev/null || echo refused", "refused"),
        (["--ephemeral"], "touch /gone && echo written", "written"),
        (["--net=none"], "ls /sys/class/net | grep -c eth", "0"),
        (
            ["--bind", "/etc/debian_version:/mnt/v:ro"],
            "echo x 2>/dev/null > /mnt/v || echo refused",
            "refused",
        ),
        (["--env", "A=1", "--env", "TERM=dumb"], "echo $A$TERM$container", "1dumbnspawn"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_option_works_with_a_spawner_too(
    daemon: Daemon, busybox: Path, options: list[str], script: str, expected: str
) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    result = daemon.nspawn(*options, busybox, "/bin/sh", "-c", script)
    assert result.out == f"{expected}\n", str(result)
    assert not (busybox / "gone").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_handed_over_run_ends_with_its_caller(
    daemon: Daemon, busybox: Path, number: signal.Signals
) -> None:
    daemon.create("one", busybox, command=FOREVER)
    daemon.start("one")
    with daemon.nspawn.box(busybox, start="trap 'exit 9' INT TERM") as box:
        pid = box.pid
        box.process.send_signal(number)

        def ended() -> bool:
            """The shell runs its trap when its present sleep ends: take that away."""
            for child in processes.children(pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            return box.process.poll() is not None

        assert processes.wait_until(ended, 10, 0.1)
        assert processes.gone(pid)
