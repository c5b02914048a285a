"""Nothing remains: no mount, cgroup, process or file, however a run ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine, processes
from tests.support.program import Program


@pytest.fixture(autouse=True)
def nothing_remains(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before and after each test of this module the machine is the same."""
    base = tmp_path_factory.getbasetemp()
    before = machine.look(base)
    yield
    found = machine.leaks(before, base)
    machine.tidy(before, base)
    assert not found, "\n".join(found)


def paths(folder: Path) -> set[str]:
    return {
        os.path.join(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)
    }


def test_after_a_normal_end(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "true")
    before = paths(busybox)
    nspawn.ok(busybox, "/bin/sh", "-c", "mount -t tmpfs x /mnt; echo x > /tmp/x; echo y > /run/y; sleep 99 &")
    assert paths(busybox) == before


def test_the_rootfs_gets_no_file_but_the_hosts_name(nspawn: Program, busybox: Path) -> None:
    before = paths(busybox)
    nspawn.ok(busybox, "true")
    assert paths(busybox) - before <= {str(busybox / "etc" / "hostname")}


def test_the_state_folder_holds_no_trace_of_the_run(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "true")
    before = paths(nspawn.root)
    nspawn.ok("--ephemeral", busybox, "true")
    nspawn(busybox, "/not/there")
    assert paths(nspawn.root) == before
    if nspawn.root.exists():
        assert nspawn.root.stat().st_mode & 0o777 == 0o700


def test_no_temporary_file_is_left(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    result = nspawn(busybox, "true", environment={"TMPDIR": str(private)})
    assert result.status == 0
    assert paths(private) == set()


def test_after_a_command_that_cannot_run(nspawn: Program, busybox: Path) -> None:
    assert nspawn(busybox, "/not/there").status == 127


def test_after_an_error_in_the_middle(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    result = nspawn(
        *("--bind", f"{tmp_path}/folder:/mnt", "--bind", f"{tmp_path}/folder:/etc/passwd"),
        *(busybox, "true"),
    )
    assert result.status == 1


def test_after_a_user_that_does_not_exist(nspawn: Program, busybox: Path) -> None:
    assert nspawn("--ephemeral", "--user", "stranger", busybox, "true").status == 1


@pytest.mark.parametrize("options", [[], ["--ephemeral"], ["--net=none"]], ids=["plain", "ephemeral", "net"])
def test_after_kill_9_of_the_program(nspawn: Program, busybox: Path, options: list[str]) -> None:
    with nspawn.box(busybox, *options, start="sleep 1000 & setsid sleep 1000 &") as box:
        inside = [box.pid, *processes.children(box.pid)]
        box.process.kill()
        box.process.wait(timeout=5)
        for pid in inside:
            assert processes.gone(pid), processes.command_line(pid)
    # Nobody was left to remove the empty cgroup: the next start does it.
    nspawn.ok(busybox, "true")


def test_after_kill_9_during_the_start(nspawn: Program, busybox: Path) -> None:
    """Whenever it comes: the delay grows from nothing to more than a start takes."""
    for step in range(12):
        with subprocess.Popen(
            [nspawn.path, busybox, "sleep", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=nspawn.environment,
            start_new_session=True,
        ) as process:
            processes.wait_until(lambda: False, step * 0.008)
            process.kill()
    nspawn.ok(busybox, "true")


def test_clearing_after_a_killed_run_leaves_other_runs_alone(nspawn: Program, busybox: Path) -> None:
    """Also when seen from a PID namespace, where the other run's process has no number."""
    with nspawn.box(busybox) as box:
        nspawn.ok(busybox, "true")
        result = nspawn(busybox, "true", prefix=["unshare", "-p", "-f", "--mount-proc"])
        assert result.status == 0, str(result)
        assert not processes.wait_until(lambda: not processes.alive(box.pid), 0.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_after_a_signal(nspawn: Program, busybox: Path, number: signal.Signals) -> None:
    with nspawn.box(busybox, start="sleep 1000 &") as box:
        box.process.send_signal(number)
        box.process.communicate(timeout=15)


def test_after_a_container_that_was_killed_from_outside(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox, start="sleep 1000 &") as box:
        box.end()


def test_after_a_container_that_makes_its_own_cgroups(nspawn: Program, busybox: Path) -> None:
    own = "/sys/fs/cgroup/a/b"
    script = f"mkdir -p {own} /sys/fs/cgroup/c; sh -c 'echo 0 > {own}/cgroup.procs; sleep 1000' &"
    script += f" sleep 0.3; ls -d {own}"
    result = nspawn(busybox, "/bin/sh", "-c", script)
    assert result.out == "/sys/fs/cgroup/a/b\n", str(result)


def test_after_a_fork_bomb_with_a_limit(nspawn: Program, busybox: Path) -> None:
    script = "i=0; while [ $i -lt 100 ]; do (setsid sleep 1000 &) ; i=$((i+1)); done"
    nspawn.ok(busybox, "/bin/sh", "-c", script)


def test_after_a_container_that_nests_its_cgroups_as_deep_as_it_may(nspawn: Program, busybox: Path) -> None:
    """Not deeper than what looks at it later can follow, nor without end."""
    script = "cd /sys/fs/cgroup; i=0; while [ $i -lt 1200 ]; do mkdir a && cd a || break; i=$((i+1)); done"
    result = nspawn(busybox, "/bin/sh", "-c", f"{script} 2>/dev/null; echo $i")
    assert result.status == 0, str(result)
    assert int(result.out) >= 10
