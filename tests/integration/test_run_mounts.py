"""Every mount of the container with its options, as findmnt sees it from the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import rootfs
from tests.support.command import check, run
from tests.support.program import Box, Program


@pytest.fixture(scope="module")
def box(debian_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    base = tmp_path_factory.mktemp("mounts")
    with (
        rootfs.layered(debian_base, base / "my_debian") as place,
        Program(base / "state").box(place) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("target", "kind", "present", "absent"),
    [
        ("/", None, {"rw"}, {"nosuid", "nodev", "noexec"}),
        ("/proc", "proc", {"rw", "nosuid", "nodev", "noexec"}, set()),
        ("/sys", "sysfs", {"ro", "nosuid", "nodev", "noexec"}, set()),
        ("/tmp", "tmpfs", {"rw", "nosuid", "nodev"}, set()),
        ("/run", "tmpfs", {"rw", "nosuid", "nodev", "mode=755"}, set()),
        ("/dev", "tmpfs", {"nosuid"}, {"nodev"}),
        ("/dev/shm", "tmpfs", {"rw", "nosuid", "nodev", "size=524288k"}, set()),
        ("/dev/mqueue", "mqueue", {"rw", "nosuid", "nodev", "noexec"}, set()),
        ("/dev/pts", "devpts", {"gid=5", "mode=620", "ptmxmode=666", "nosuid", "noexec"}, {"nodev"}),
    ],
)
def test_the_mount_has_its_type_and_options(
    box: Box, target: str, kind: str | None, present: set[str], absent: set[str]
) -> None:
    mount = box.mounts()[target]
    assert kind is None or mount.kind == kind
    assert present <= mount.options, mount
    assert not absent & mount.options, mount


def test_cgroup2_is_there_when_the_host_has_it(box: Box) -> None:
    if run(["findmnt", "-t", "cgroup2"]).status:
        pytest.skip("this host has no cgroup2 mounted")
    mount = box.mounts()["/sys/fs/cgroup"]
    assert mount.kind == "cgroup2", mount
    assert {"nosuid", "nodev", "noexec"} <= mount.options
    # The container's own cgroup is its top: there is nothing of the host to see.
    assert "nspawn" not in box.sh("ls /sys/fs/cgroup")


@pytest.mark.parametrize(
    ("path", "mode"),
    [("/tmp", 0o1777), ("/run", 0o755), ("/dev", 0o755), ("/dev/shm", 0o1777), ("/dev/pts", 0o755)],
)
def test_the_folder_has_its_mode(box: Box, path: str, mode: int) -> None:
    assert os.lstat(box.file(path)).st_mode & 0o7777 == mode


def test_the_pseudo_terminals_are_the_containers_own(box: Box) -> None:
    assert os.stat(box.file("/dev/pts")).st_dev != os.stat("/dev/pts").st_dev
    assert os.listdir(box.file("/dev/pts")) == ["ptmx"]


def test_the_hosts_pseudo_terminals_keep_their_options(nspawn: Program, busybox: Path) -> None:
    before = check(["findmnt", "-n", "-o", "OPTIONS", "/dev/pts"]).out
    nspawn.ok(busybox, "true")
    assert check(["findmnt", "-n", "-o", "OPTIONS", "/dev/pts"]).out == before


def test_nothing_of_the_hosts_tree_is_left_in_the_mount_table(box: Box) -> None:
    allowed = ("/proc", "/sys", "/dev", "/run", "/tmp")
    for target in box.mounts():
        assert target == "/" or target.startswith(allowed), target
    text = Path(f"/proc/{box.pid}/mountinfo").read_text()
    assert "//deleted" not in text
    assert str(box.file("/")) not in text


def test_the_root_of_the_process_is_the_rootfs_and_has_no_way_out(box: Box) -> None:
    assert os.readlink(f"/proc/{box.pid}/root") == "/"
    assert os.readlink(f"/proc/{box.pid}/cwd") in ("/", "/root")
    assert box.sh("cd /; ls -id . | cut -d' ' -f1") == box.sh("cd /..; ls -id . | cut -d' ' -f1")
    assert not os.path.exists(box.file("/work"))


def test_mounts_made_inside_stay_inside(box: Box) -> None:
    box.sh("mount -t tmpfs inside /mnt && echo x > /mnt/x")
    try:
        assert "inside" not in check(["findmnt", "-n", "-l"]).out
    finally:
        box.sh("umount /mnt")


def test_mounts_made_below_the_rootfs_on_the_host_stay_outside(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox) as box:
        check(["mount", "-t", "tmpfs", "outside", busybox / "mnt"])
        try:
            assert "outside" not in box.sh("cat /proc/mounts")
        finally:
            check(["umount", busybox / "mnt"])


def test_suid_and_devices_work_on_a_rootfs_below_nosuid_and_nodev(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "data", data])
    try:
        place = rootfs.copy(busybox, data / "box")
        (place / "bin" / "busybox").chmod(0o4755)
        check(["mknod", place / "zero", "c", "1", "5"])
        script = "head -c 1 /zero | wc -c; id -u; grep -c . /etc/passwd"
        assert nspawn("--user", "guest", place, "head", "-c", "1", "/etc/passwd").status == 0
        result = nspawn(place, "/bin/sh", "-c", script)
        assert result.lines[0] == "1", str(result)
        with nspawn.box(place) as box:
            assert not {"nosuid", "nodev"} & box.mounts()["/"].options
        options = check(["findmnt", "-n", "-o", "OPTIONS", data]).out.split(",")
        assert {"nosuid", "nodev"} <= {option.strip() for option in options}
    finally:
        check(["umount", data])


def test_tmp_run_and_shm_can_be_written(box: Box) -> None:
    for folder in ("/tmp", "/run", "/dev/shm"):
        box.sh(f"echo x > {folder}/probe && rm {folder}/probe")


def test_sys_cannot_be_written(box: Box) -> None:
    assert box.enter("/bin/sh", "-c", "echo 0 > /sys/kernel/profiling").status != 0
    assert box.enter("/bin/sh", "-c", "mkdir /sys/x").status != 0


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "run", "tmp"])
def test_a_mount_point_that_is_missing_is_made(nspawn: Program, busybox: Path, name: str) -> None:
    (busybox / name).rmdir()
    nspawn.ok(busybox, "test", "-d", f"/{name}")
