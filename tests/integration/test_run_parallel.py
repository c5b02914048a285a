"""Fifty starts at the same time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import machine, rootfs
from tests.support.program import Program

COUNT = 50


def start(nspawn: Program, *arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [nspawn.path, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=nspawn.environment,
        start_new_session=True,
    )


@pytest.mark.parametrize("options", [[], ["--ephemeral"]], ids=["plain", "ephemeral"])
def test_fifty_starts_of_one_rootfs_all_work(nspawn: Program, busybox: Path, options: list[str]) -> None:
    running = [
        start(nspawn, *options, busybox, "/bin/sh", "-c", f"echo {number}; exit {number}")
        for number in range(COUNT)
    ]
    for number, process in enumerate(running):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (number, b"%d\n" % number), err
    assert (busybox / "etc" / "hosts").read_text().count("127.0.1.1") <= 1


def test_fifty_starts_of_fifty_rootfs_with_their_own_state(
    nspawn: Program, busybox_base: Path, tmp_path: Path
) -> None:
    places = [rootfs.copy(busybox_base, tmp_path / f"box{number}") for number in range(COUNT)]
    running = [start(nspawn, place, "hostname") for place in places]
    for place, process in zip(places, running, strict=True):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.decode()) == (0, f"{place.name}\n"), err


def test_starts_that_are_killed_do_not_disturb_the_others(
    nspawn: Program, busybox: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = machine.look(tmp_path_factory.getbasetemp())
    running = [start(nspawn, busybox, "/bin/sh", "-c", "sleep 0.5; exit 7") for _ in range(20)]
    for process in running[::2]:
        process.kill()
    for process in running[1::2]:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 7, err
    for process in running[::2]:
        process.communicate(timeout=60)
    nspawn.ok(busybox, "true")
    assert not machine.leaks(before, tmp_path_factory.getbasetemp())
