"""The plan of a container's mounts and devices, as data."""

from __future__ import annotations

import pytest

from nspawn.container.stage import parse_options
from nspawn.kernel import libc
from nspawn.model.mounts import MOVED, Operation, assembly, masked_units

ALL = ("mnt", "pid", "ipc", "uts", "cgroup", "time", "net")


def described(**options: object) -> list[str]:
    arguments: dict[str, object] = {"own": ALL, "cgroup": 2} | options
    return [step.describe() for step in assembly(**arguments)]  # type: ignore[arg-type]


def test_the_mounts_of_the_issue_with_their_options() -> None:
    steps = described()
    for line in (
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys",
        "mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup",
        "mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs run",
        "mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=524288k tmpfs dev/shm",
        "mount -t mqueue -o nosuid,nodev,noexec mqueue dev/mqueue",
        "mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts",
        "mknod -m 0666 dev/null c 1 3",
        "mknod -m 0666 dev/net/tun c 10 200",
        "ln -s pts/ptmx dev/ptmx",
        "mount -o bind /dev/null proc/keys",
        "mount -o bind,ro proc/irq proc/irq",
    ):
        assert line in steps


def test_everything_lies_in_a_folder_that_is_moved_in() -> None:
    for step in assembly(own=ALL, cgroup=2):
        assert step.target.split("/")[0] in (*MOVED, "root")


@pytest.mark.parametrize(
    ("own", "absent"),
    [
        (("mnt",), ["-t mqueue", "bind,rw"]),
        (("mnt", "uts"), ["bind,rw proc/sys/net"]),
        (("mnt", "net"), ["bind,rw proc/sys/kernel"]),
    ],
)
def test_what_a_missing_namespace_takes_away(own: tuple[str, ...], absent: list[str]) -> None:
    steps = described(own=own)
    assert not [step for step in steps if any(text in step for text in absent)]


def test_a_host_without_cgroups_gets_none() -> None:
    assert not [step for step in described(cgroup=0) if "cgroup" in step]


def test_a_version_1_host_gets_its_own_hierarchies() -> None:
    steps = described(cgroup=1, controllers=[("freezer", "freezer"), ("systemd", "none,name=systemd")])
    at = steps.index("mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs sys/fs/cgroup")
    assert steps[at + 1 : at + 5] == [
        "mkdir -m 0755 sys/fs/cgroup/freezer",
        "mount -t cgroup -o nosuid,nodev,noexec,freezer cgroup sys/fs/cgroup/freezer",
        "mkdir -m 0755 sys/fs/cgroup/systemd",
        "mount -t cgroup -o nosuid,nodev,noexec,none,name=systemd cgroup sys/fs/cgroup/systemd",
    ]


def test_pings_are_allowed_in_a_network_of_its_own() -> None:
    line = "echo '0 2147483647' > proc/sys/net/ipv4/ping_group_range"
    without = [name for name in ALL if name != "net"]
    assert line in described()
    assert line not in described(own=without)


def test_only_what_a_kernel_may_lack_is_optional() -> None:
    optional = {step.target for step in assembly(own=ALL, cgroup=2) if step.optional}
    pings = "proc/sys/net/ipv4/ping_group_range"
    assert optional == {"sys", "sys/fs/cgroup", "dev/mqueue", pings}


def test_network_units_are_masked_with_the_hosts_network_only() -> None:
    assert "systemd-networkd.service" in masked_units("host")
    assert "systemd-networkd.service" not in masked_units("none")
    assert "console-getty.service" in masked_units("none")


def test_every_verb_describes_itself() -> None:
    steps = [
        Operation("folder", "a", numbers=(0o755,)),
        Operation("link", "a", source="b"),
        Operation("mask", "a"),
        Operation("readonly", "a"),
        Operation("writable", "a"),
        Operation("write", "a", source="b"),
    ]
    assert [step.describe() for step in steps] == [
        "mkdir -m 0755 a",
        "ln -s b a",
        "mount -o bind /dev/null a",
        "mount -o bind,ro a a",
        "mount -o bind,rw a a",
        "echo 'b' > a",
    ]


@pytest.mark.parametrize(
    ("options", "flags", "data"),
    [
        ("ro,nosuid", libc.MS_RDONLY | libc.MS_NOSUID, ""),
        ("nodev,mode=755,size=1k", libc.MS_NODEV, "mode=755,size=1k"),
        ("strictatime,noatime,noexec", libc.MS_STRICTATIME | libc.MS_NOATIME | libc.MS_NOEXEC, ""),
    ],
)
def test_options_become_flags_and_data(options: str, flags: int, data: str) -> None:
    assert parse_options(options) == (flags, data)
