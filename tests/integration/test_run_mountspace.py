"""On a phone, commands from a shell with mounts of its own (Magisk's su) use the mounts of process 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Result
from tests.support.program import Program

ANDROID = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
#: Process 1 has `init` mounted at $1; the shell that runs the rest of the line has `shell` there instead.
PHONE = """
set -e
place=$1; shift
mount -t tmpfs init "$place"; mkdir -p "$place/both/root" "$place/inits"; echo init > "$place/who"
mount --bind "$ROOTFS" "$place/both/root"
unshare -m sh -c '
    set -e
    place=$1; shift
    mount -t tmpfs shell "$place"; mkdir "$place/both" "$place/shells"; echo shell > "$place/who"
    cd "$place/$FOLDER"
    exec "$@"' sh "$place" "$@"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "place").mkdir()
    yield tmp_path / "place"
    assert not os.path.ismount(tmp_path / "place")


def su(
    nspawn: Program,
    place: Path,
    *words: str | Path,
    folder: str = "both",
    phone: bool = True,
    rootfs: Path | None = None,
) -> Result:
    unshare = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "-n"]
    environment = {"FOLDER": folder, "ROOTFS": str(rootfs or place), **(ANDROID if phone else {})}
    return nspawn(*words, prefix=[*unshare, "sh", "-c", PHONE, "sh", str(place)], environment=environment)


def bind(place: Path) -> tuple[str, str]:
    return ("--bind", f"{place}:/mnt")


def seen(result: Result) -> tuple[int, str]:
    """Status and output; it may tell on standard error only that this phone has no shared storage."""
    assert all("skipped: the bind /data/" in line for line in result.err.splitlines()), str(result)
    return result.status, result.out


def test_inits_mounts_are_used(nspawn: Program, busybox: Path, place: Path) -> None:
    assert seen(su(nspawn, place, *bind(place), busybox, "cat", "/mnt/who")) == (0, "init\n")


def test_elsewhere_the_callers_are(nspawn: Program, busybox: Path, place: Path) -> None:
    assert seen(su(nspawn, place, *bind(place), busybox, "cat", "/mnt/who", phone=False)) == (0, "shell\n")


def test_the_working_folder_stays(nspawn: Program, busybox: Path, place: Path) -> None:
    """A rootfs beside the caller, which only process 1 sees."""
    result = su(nspawn, place, *bind(place), "./root", "cat", "/mnt/who", rootfs=busybox)
    assert seen(result) == (0, "init\n")


def test_a_working_folder_of_the_shell_alone_is_told(nspawn: Program, busybox: Path, place: Path) -> None:
    result = su(nspawn, place, *bind(place), busybox, "cat", "/mnt/who", folder="shells")
    assert (result.status, result.out) == (0, "init\n"), str(result)
    assert "shells is only in this shell's mounts" in result.err


def test_a_chroot_is_left(nspawn: Program, busybox: Path, place: Path) -> None:
    """setns(2) moves to the root of the namespace, also of the one that we are in."""
    chroot = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "-n", "sh", "-c"]
    inside = """
        mount -t tmpfs new "$0"; mkdir "$0/mnt"
        for each in /*; do
            [ "$each" = /mnt ] && continue
            if [ -h "$each" ]; then cp -P "$each" "$0$each"
            elif [ -d "$each" ]; then mkdir "$0$each"; mount --rbind "$each" "$0$each"; fi
        done
        chroot "$0" "$@"; exit"""
    for environment, shown in ((ANDROID, False), ({}, True)):
        words: list[str | Path] = [
            "--bind",
            "/mnt:/seen",
            busybox,
            "grep",
            "-c",
            " /seen .* new ",
            "/proc/self/mountinfo",
        ]
        result = nspawn(*words, prefix=[*chroot, inside, str(place)], environment=environment)
        assert result.out.strip() == str(int(shown)), str(result)
