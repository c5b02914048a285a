"""What is done on Android only, in a private mount namespace that has a phone's /data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.command import Result
from tests.support.program import Program

ANDROID = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
#: With a process 1 of its own: commands join the mount namespace of process 1.
UNSHARE = ("unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child")
#: A tmpfs with what the runtime looks for; then the rest of the command line.
PHONE = """
set -e
mount -t tmpfs -o nosuid,nodev phone /data
mkdir -p /data/media/0/DCIM /data/media/0/Android /data/misc/net /data/adb/modules
echo photo > /data/media/0/DCIM/photo
echo 1010 wlan0 > /data/misc/net/rt_tables
exec "$@"
"""


@pytest.fixture(scope="module", autouse=True)
def data_folder() -> Iterator[None]:
    """An empty /data to mount over, in the tests' own mount namespaces only."""
    if os.path.exists("/data"):
        yield
        return
    os.mkdir("/data")
    yield
    os.rmdir("/data")


def on_phone(
    nspawn: Program, *arguments: str | Path, environment: Mapping[str, str | None] | None = None
) -> Result:
    prefix = [*UNSHARE, "sh", "-c", PHONE, "sh"]
    return nspawn(*arguments, prefix=prefix, environment={**ANDROID, **(environment or {})})


def test_the_shared_storage_is_at_mnt_storage(nspawn: Program, busybox: Path) -> None:
    result = on_phone(nspawn, busybox, "cat", "/mnt/storage/DCIM/photo")
    assert (result.status, result.out) == (0, "photo\n"), str(result)


def test_the_shared_storage_can_be_written(nspawn: Program, busybox: Path) -> None:
    result = on_phone(nspawn, busybox, "/bin/sh", "-c", "echo x > /mnt/storage/new && cat /mnt/storage/new")
    assert (result.status, result.out) == (0, "x\n"), str(result)


def test_a_locked_storage_is_not_shown(nspawn: Program, busybox: Path) -> None:
    locked = PHONE.replace("/data/media/0/Android", "/data/media/0/aWJ5dGVz")
    prefix = [*UNSHARE, "sh", "-c", locked, "sh"]
    result = nspawn(busybox, "/bin/sh", "-c", "ls /mnt; echo end", prefix=prefix, environment=ANDROID)
    assert (result.status, result.out) == (0, "end\n"), str(result)


def test_the_routing_tables_names_are_the_phones(nspawn: Program, busybox: Path) -> None:
    result = on_phone(nspawn, busybox, "cat", "/etc/iproute2/rt_tables")
    assert (result.status, result.out) == (0, "1010 wlan0\n"), str(result)


def test_with_an_own_network_the_routing_tables_names_are_not_the_phones(
    nspawn: Program, busybox: Path
) -> None:
    result = on_phone(nspawn, "--net=none", busybox, "cat", "/etc/iproute2/rt_tables")
    assert "wlan0" not in result.out, str(result)


@pytest.mark.parametrize("options", [[], ["--net=none"]])
def test_everybody_may_ping(nspawn: Program, busybox: Path, options: list[str]) -> None:
    result = on_phone(nspawn, *options, busybox, "cat", "/proc/sys/net/ipv4/ping_group_range")
    assert result.out.split() == ["0", "2147483647"], str(result)


def test_a_phone_without_shared_storage_is_no_error(nspawn: Program, busybox: Path) -> None:
    bare = 'mount -t tmpfs phone /data; exec "$@"'
    result = nspawn(busybox, "echo", "ran", prefix=[*UNSHARE, "sh", "-c", bare, "sh"], environment=ANDROID)
    assert (result.status, result.out) == (0, "ran\n"), str(result)
    assert "Traceback" not in result.err


def test_the_loader_of_termux_is_not_passed_on(nspawn: Program, busybox: Path) -> None:
    termux = {
        "LD_PRELOAD": "/data/data/com.termux/files/usr/lib/libtermux-exec.so",
        "LD_LIBRARY_PATH": "/data/data/com.termux/files/usr/lib",
        "PREFIX": "/data/data/com.termux/files/usr",
        "TERMUX_VERSION": "0.118",
    }
    result = on_phone(nspawn, busybox, "env", environment=termux)
    assert result.status == 0, str(result)
    assert "termux" not in result.out


def test_off_android_none_of_this_happens(nspawn: Program, busybox: Path) -> None:
    before = Path("/proc/sys/net/ipv4/ping_group_range").read_text()
    result = nspawn(
        busybox,
        "/bin/sh",
        "-c",
        "ls /mnt/storage /etc/iproute2; cat /proc/sys/net/ipv4/ping_group_range",
        prefix=[*UNSHARE, "sh", "-c", PHONE, "sh"],
    )
    assert "photo" not in result.out
    assert "DCIM" not in result.out
    assert "rt_tables" not in result.out
    assert result.lines[-1].split() == ["1", "0"], str(result)
    assert Path("/proc/sys/net/ipv4/ping_group_range").read_text() == before


def test_one_android_variable_alone_is_not_android(nspawn: Program, busybox: Path) -> None:
    result = nspawn(
        busybox,
        "ls",
        "/mnt",
        prefix=[*UNSHARE, "sh", "-c", PHONE, "sh"],
        environment={"ANDROID_ROOT": "/system"},
    )
    assert "storage" not in result.out, str(result)
