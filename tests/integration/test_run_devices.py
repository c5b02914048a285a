"""Device nodes and links of /dev, and the terminal as the console."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import rootfs
from tests.support.program import Box, Program

NODES = [
    ("null", 1, 3, {0o666}),
    ("zero", 1, 5, {0o666}),
    ("full", 1, 7, {0o666}),
    ("random", 1, 8, {0o666}),
    ("urandom", 1, 9, {0o666}),
    ("tty", 5, 0, {0o666}),
    ("console", 5, 1, {0o600, 0o620}),
    ("fuse", 10, 229, {0o666, 0o600}),
    ("net/tun", 10, 200, {0o666, 0o600}),
]


@pytest.fixture(scope="module")
def box(debian_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Started with a strict umask, as an installer or a service may have."""
    base = tmp_path_factory.mktemp("devices")
    strict = ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh"]
    with (
        rootfs.layered(debian_base, base / "my_debian") as place,
        Program(base / "state").box(place, prefix=strict) as running,
    ):
        yield running


@pytest.mark.parametrize(("name", "major", "minor", "modes"), NODES, ids=[node[0] for node in NODES])
def test_the_node_has_its_number_and_mode(
    box: Box, name: str, major: int, minor: int, modes: set[int]
) -> None:
    status = os.lstat(box.file(f"/dev/{name}"))
    assert stat.S_ISCHR(status.st_mode)
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (major, minor)
    assert status.st_mode & 0o777 in modes
    assert (status.st_uid, status.st_gid) in ((0, 0), (0, 5))


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("ptmx", {"pts/ptmx", "/dev/pts/ptmx"}),
        ("fd", {"/proc/self/fd"}),
        ("stdin", {"/proc/self/fd/0", "fd/0"}),
        ("stdout", {"/proc/self/fd/1", "fd/1"}),
        ("stderr", {"/proc/self/fd/2", "fd/2"}),
    ],
)
def test_the_link_leads_where_it_should(box: Box, name: str, targets: set[str]) -> None:
    assert os.readlink(box.file(f"/dev/{name}")) in targets


def test_no_device_of_the_host_is_shown(box: Box) -> None:
    allowed = {name.split("/")[0] for name, *_ in NODES}
    allowed |= {"ptmx", "fd", "stdin", "stdout", "stderr", "shm", "mqueue", "pts", "core", "log", "kmsg"}
    assert set(os.listdir(box.file("/dev"))) <= allowed


def test_the_nodes_work(box: Box) -> None:
    assert box.sh("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c") == "3\n5"
    assert box.enter("/bin/sh", "-c", "echo x > /dev/full").status != 0
    assert box.sh("echo through | cat /dev/stdin > /dev/stdout") == "through"


def test_a_new_pseudo_terminal_can_be_opened(box: Box) -> None:
    assert "/dev/pts/0" in box.sh("script -qec tty /dev/null")


def test_a_user_without_rights_can_open_one_too(box: Box) -> None:
    found = box.sh("setpriv --reuid=65534 --regid=65534 --clear-groups script -qec tty /dev/null")
    assert "/dev/pts/" in found


def test_the_callers_terminal_becomes_the_console(nspawn: Program, busybox: Path) -> None:
    with nspawn.terminal(
        busybox, "/bin/sh", "-c", "tty; stat -c %F /dev/console; echo said > /dev/console; tty < /dev/console"
    ) as child:
        child.expect("/dev/")
        child.expect("character special file")
        child.expect("said")
        child.expect("/dev/")
        child.expect_exact(nspawn_end := "\r\n")
        assert nspawn_end
        child.wait()


def test_without_a_terminal_the_console_swallows_what_is_written(nspawn: Program, busybox: Path) -> None:
    # The kernel's own console would print it on the machine's: number 5:1 with no terminal behind it.
    result = nspawn(busybox, "stat", "-c", "%F %t:%T", "/dev/console")
    assert result.out.startswith("character special file"), str(result)
