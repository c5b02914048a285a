"""What a container may not see or change of the host's kernel; systemd's units that cannot work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import rootfs
from tests.support.program import Box, Program

MASKED = [
    *("/proc/asound", "/proc/sched_debug", "/proc/scsi", "/proc/keys", "/proc/timer_list", "/proc/kmsg"),
    *("/sys/firmware", "/sys/power", "/sys/class/drm"),
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"]
UNITS = ["console-getty.service", "systemd-firstboot.service", "systemd-networkd-wait-online.service"]


@pytest.fixture(scope="module")
def box(systemd_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A Debian that carries systemd, with a shell in it."""
    base = tmp_path_factory.mktemp("masks")
    with (
        rootfs.layered(systemd_base, base / "my_debian") as place,
        Program(base / "state").box(place) as running,
    ):
        yield running


def skip_without(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"this host has no {path}")


@pytest.mark.parametrize("path", MASKED)
def test_the_path_shows_nothing(box: Box, path: str) -> None:
    skip_without(path)
    if os.path.isdir(path):
        assert box.sh(f"ls -A {path}") == ""
        assert box.enter("/bin/sh", "-c", f"touch {path}/x").status != 0
    else:
        assert box.sh(f"cat {path}") == ""


@pytest.mark.parametrize("path", READ_ONLY)
def test_the_path_is_read_only(box: Box, path: str) -> None:
    skip_without(path)
    assert "ro" in box.mounts()[path].options
    if os.path.isdir(path):
        assert box.sh(f"ls {path}") != ""


def test_a_setting_below_a_read_only_path_cannot_be_written(box: Box) -> None:
    path = "/proc/irq/default_smp_affinity"
    skip_without(path)
    before = Path(path).read_text()
    assert box.enter("/bin/sh", "-c", f"echo {before.strip()} > {path}").status != 0


@pytest.mark.parametrize("path", ["kernel/core_pattern", "kernel/modprobe", "vm/swappiness", "fs/file-max"])
def test_a_setting_of_the_hosts_kernel_cannot_be_changed(box: Box, path: str) -> None:
    skip_without(f"/proc/sys/{path}")
    value = Path(f"/proc/sys/{path}").read_text()
    result = box.enter("/bin/sh", "-c", f"cat > /proc/sys/{path}", stdin=value.encode())
    assert result.status != 0, str(result)
    assert Path(f"/proc/sys/{path}").read_text() == value


def test_the_hosts_own_view_stays_whole(box: Box) -> None:
    assert os.listdir("/sys/firmware")
    assert Path("/proc/timer_list").read_text(errors="replace")
    assert os.access("/proc/irq/default_smp_affinity", os.W_OK)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_that_cannot_work_is_masked(box: Box, unit: str) -> None:
    result = box.enter("env", "SYSTEMD_OFFLINE=1", "systemctl", "is-enabled", unit)
    assert result.out.strip() in ("masked", "masked-runtime"), str(result)


def test_other_units_are_not_masked(box: Box) -> None:
    result = box.enter("env", "SYSTEMD_OFFLINE=1", "systemctl", "is-enabled", "systemd-journald.service")
    assert result.out.strip() == "static", str(result)


def test_a_rootfs_without_systemd_gets_no_units(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "test", "!", "-e", "/etc/systemd")
    nspawn.ok(busybox, "test", "!", "-e", "/run/systemd/system")
    assert not (busybox / "etc" / "systemd").exists()
