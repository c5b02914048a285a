"""The box that a part of the tests runs in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import box, places

NAME = f"nspawn-tests-box-{os.getpid()}"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not box.works(), reason="this machine lets us make no boxes"),
]


def in_box(*words: str, own_network: bool = True) -> subprocess.CompletedProcess[str]:
    command = box.command(NAME, words, own_network=own_network)
    done = subprocess.run(command, cwd=places.HOME, capture_output=True, text=True, timeout=60)
    assert box.remove_cgroups(NAME) == []
    return done


def test_the_status_and_the_output_are_the_commands() -> None:
    done = in_box("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert in_box("sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_namespaces_are_its_own() -> None:
    names = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    script = f"cd /proc/self/ns; for name in {' '.join(names)}; do readlink $name; done"
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    inside = in_box("sh", "-c", script).stdout.split()
    assert len(inside) == len(names)
    assert not set(inside) & set(outside)
    shared = in_box("sh", "-c", script, own_network=False).stdout.split()
    assert set(shared) & set(outside) == {outside[2]}


def test_it_shows_its_own_network_and_the_loopback_answers() -> None:
    done = in_box("sh", "-c", "ls /sys/class/net; ip -o addr show lo")
    assert done.stdout.splitlines()[0] == "lo"
    assert "127.0.0.1/8" in done.stdout
    assert "eth0" not in done.stdout


def test_cgroups_that_it_leaves_are_taken_away() -> None:
    """Also when a process that outlives the command is in one."""
    script = """
    grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5 | while read place; do
        mkdir -p $place/nspawn/deep
    done
    sleep 100 &
    ls -d /sys/fs/cgroup/nspawn /sys/fs/cgroup/*/nspawn
    """
    assert "/nspawn\n" in in_box("sh", "-c", script).stdout
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{NAME}"))


def test_nothing_of_it_outlives_who_started_it(tmp_path: Path) -> None:
    life = tmp_path / "life"
    script = f"while :; do date +%N >{life}; sleep 0.05; done"
    command = box.command(NAME, ["sh", "-c", script], own_network=True)
    starter = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
    process = subprocess.Popen(starter, cwd=places.HOME)
    try:
        end = time.monotonic() + 20
        while not life.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert box.remove_cgroups(NAME) == []  # which they could not be with a process in them
