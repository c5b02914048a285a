"""Poorer kernels and hosts: what is missing degrades, and the command still runs.

The kernel is made poorer by a seccomp filter, the host by a private mount namespace.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.program import POOR_KERNEL, Program


def poor(*options: str) -> list[str]:
    return [sys.executable, str(POOR_KERNEL), *options, "--"]


NO_PID = poor("--older-than", "424", "--without", "pid")
OLD = poor("--older-than", "424")
STOCK = poor("--older-than", "424", "--without", "pid,ipc,time,cgroup")
BARE = poor("--older-than", "424", "--without", "pid,ipc,time,cgroup,uts,net")


@pytest.mark.parametrize(
    "prefix",
    [OLD, NO_PID, poor("--without", "pid"), STOCK, BARE],
    ids=["older", "older-no-pid", "no-pid", "stock-gki", "mount-only"],
)
def test_the_command_runs_and_its_status_comes_back(
    nspawn: Program, busybox: Path, prefix: list[str]
) -> None:
    result = nspawn(busybox, "/bin/sh", "-c", "echo ran; exit 3", prefix=prefix)
    assert (result.status, result.out) == (3, "ran\n"), str(result)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "cgroup", "time"])
def test_each_namespace_alone_may_be_missing(nspawn: Program, busybox: Path, kind: str) -> None:
    result = nspawn(busybox, "readlink", "/proc/self/ns/mnt", prefix=poor("--without", kind))
    assert result.status == 0, str(result)
    assert result.out.strip() != processes.namespace("self", "mnt")
    inside = nspawn(busybox, "readlink", f"/proc/self/ns/{kind}", prefix=poor("--without", kind))
    assert inside.out.strip() == processes.namespace("self", kind)


@pytest.mark.parametrize("kind", ["ipc", "uts", "cgroup", "net", "pid"])
def test_an_older_kernel_still_gives_the_namespaces_it_has(nspawn: Program, busybox: Path, kind: str) -> None:
    result = nspawn("--net=none", busybox, "readlink", f"/proc/self/ns/{kind}", prefix=OLD)
    assert result.status == 0, str(result)
    assert result.out.strip() != processes.namespace("self", kind)


def test_net_without_network_namespaces_is_an_error_and_not_the_hosts_network(
    nspawn: Program, busybox: Path
) -> None:
    result = nspawn("--net", busybox, "true", prefix=poor("--without", "net"))
    assert result.status == 1, str(result)
    assert "network" in result.err
    assert "Traceback" not in result.err


def test_without_a_uts_namespace_the_hosts_name_stays(nspawn: Program, busybox: Path) -> None:
    before = os.uname().nodename
    for prefix in (poor("--without", "uts"), BARE):
        nspawn("--hostname", f"not-{before}"[:60], busybox, "true", prefix=prefix)
        assert os.uname().nodename == before


def test_without_pid_namespaces_background_processes_end_with_the_command(
    nspawn: Program, busybox: Path
) -> None:
    token = f"token{os.getpid()}x{time.monotonic_ns()}"
    script = f'setsid sh -c "sleep 1000; :" {token} & sh -c "sleep 1000; :" {token} & sleep 0.3; exit 4'
    result = nspawn(busybox, "/bin/sh", "-c", script, prefix=NO_PID)
    assert result.status == 4, str(result)
    assert processes.wait_until(lambda: not processes.with_argument(token), 3)


def test_without_pid_namespaces_a_signal_gives_128_and_its_number(nspawn: Program, busybox: Path) -> None:
    result = nspawn(busybox, "/bin/sh", "-c", "kill -TERM $$", prefix=NO_PID)
    assert result.status == 143, str(result)


def test_without_pid_namespaces_no_process_of_the_host_is_harmed(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    with nspawn.box(busybox) as other:
        nspawn(busybox, "/bin/sh", "-c", "sleep 1000 & exit 0", prefix=NO_PID)
        assert processes.alive(other.pid)


def test_without_pid_namespaces_the_program_says_what_is_missing(nspawn: Program, busybox: Path) -> None:
    result = nspawn("--boot", busybox, prefix=NO_PID, timeout=10)
    assert result.status == 1, str(result)
    assert "PID" in result.err


@pytest.mark.parametrize("prefix", [[], NO_PID], ids=["pid", "no-pid"])
def test_a_host_with_version_1_cgroups_only(nspawn: Program, busybox: Path, prefix: list[str]) -> None:
    token = f"token{os.getpid()}x{time.monotonic_ns()}"
    only_v1 = 'for m in $(findmnt -n -l -t cgroup2 -o TARGET); do umount $m || exit 99; done; exec "$@"'
    script = f'cat /proc/self/cgroup; ls /sys/fs/cgroup; sh -c "sleep 1000; :" {token} & sleep 0.2; exit 5'
    result = nspawn(
        busybox, "/bin/sh", "-c", script, prefix=["unshare", "-m", "sh", "-c", only_v1, "sh", *prefix]
    )
    assert result.status == 5, str(result)
    assert processes.wait_until(lambda: not processes.with_argument(token), 3)


@pytest.mark.parametrize("prefix", [[], NO_PID], ids=["pid", "no-pid"])
def test_a_host_without_any_cgroup(nspawn: Program, busybox: Path, prefix: list[str]) -> None:
    token = f"token{os.getpid()}x{time.monotonic_ns()}"
    none = 'umount -R /sys/fs/cgroup || exit 99; exec "$@"'
    script = f'echo ran; sh -c "sleep 1000; :" {token} >/dev/null 2>&1 & sleep 0.2; exit 6'
    result = nspawn(
        busybox, "/bin/sh", "-c", script, prefix=["unshare", "-m", "sh", "-c", none, "sh", *prefix]
    )
    assert (result.status, result.out) == (6, "ran\n"), str(result)
    assert "Traceback" not in result.err
    left = processes.with_argument(token)
    for pid in left:
        for child in (*processes.children(pid), pid):
            os.kill(child, 9)
    # With neither, nothing can find it.
    assert not left or prefix == NO_PID


def test_a_host_with_pure_version_2_cgroups(nspawn: Program, busybox: Path) -> None:
    pure = 'umount -R /sys/fs/cgroup && mount -t cgroup2 c /sys/fs/cgroup || exit 99; exec "$@"'
    result = nspawn(
        busybox, "cat", "/sys/fs/cgroup/cgroup.procs", prefix=["unshare", "-m", "sh", "-c", pure, "sh"]
    )
    assert result.status == 0, str(result)
    assert result.out.split(), str(result)


def test_a_root_that_cannot_pivot(nspawn: Program, busybox: Path) -> None:
    """As on the initial ramfs, where pivot_root answers EINVAL."""
    with nspawn.box(busybox, prefix=poor("--refuse", "pivot_root")) as box:
        assert box.sh("hostname") == "my-box"
        assert not os.path.exists(box.file("/work"))
    result = nspawn(busybox, "/bin/sh", "-c", "ls -d /etc/apt; exit 8", prefix=poor("--refuse", "pivot_root"))
    assert result.status == 8, str(result)
    assert result.out == ""


def test_a_caller_in_a_chroot(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    """Its root is a plain folder, no mount point, so pivot_root refuses."""
    place = tmp_path / "chroot"
    place.mkdir()
    script = f"""
    set -e
    mount -t tmpfs base {place}
    mkdir {place}/root
    cd {place}/root
    for path in /*; do
        name=${{path#/}}
        if [ -L "$path" ]; then cp -a "$path" "$name"
        elif [ -d "$path" ] && [ "$name" != lost+found ]; then mkdir "$name"; mount --rbind "$path" "$name"
        fi
    done
    exec chroot . "$@"
    """
    prefix = ["unshare", "-m", "sh", "-c", script, "sh"]
    result = nspawn(busybox, "/bin/sh", "-c", "ls /; exit 7", prefix=prefix)
    assert result.status == 7, str(result)
    assert "work" not in result.lines


def test_a_caller_in_a_shared_mount_namespace_sees_nothing(nspawn: Program, busybox: Path) -> None:
    """Where / is shared, as systemd makes it, no mount of the container comes back."""
    script = 'mount --make-rshared /; "$@"; findmnt -n -l -o TARGET'
    before = nspawn("-V", prefix=["unshare", "-m", "sh", "-c", script, "sh"]).lines[1:]
    result = nspawn(busybox, "true", prefix=["unshare", "-m", "sh", "-c", script, "sh"])
    assert result.lines == before, str(result)


@pytest.mark.parametrize("target", ["dev/mqueue", "sys"])
def test_an_optional_mount_that_fails_is_reported_once_and_skipped(
    nspawn: Program, busybox: Path, target: str
) -> None:
    """strace makes this one mount(2) fail as on a kernel without the file system."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    inject = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", target]
    inject += ["-e", "trace=mount", "-e", "inject=mount:error=ENODEV:when=1"]
    result = nspawn(busybox, "echo", "ran", prefix=inject)
    assert (result.status, result.out) == (0, "ran\n"), str(result)
    said = result.err.splitlines()
    assert len(said) == len(set(said)), str(result)
    assert len([line for line in said if f" {target} " in line]) == 1, str(result)
