"""A hostile rootfs under a name: what exec, the console and the store do with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.usefixtures("clean_module")

SECRET = "of the host alone"


def replace(daemon: Daemon, name: str, script: str) -> None:
    """Change the rootfs from inside, as a container's root can at any time."""
    daemon.nspawn.ok("exec", name, "/bin/sh", "-c", script)


@pytest.fixture
def hostile(daemon: Daemon, busybox: Path, tmp_path: Path) -> Daemon:
    (tmp_path / "secret").write_text(SECRET)
    daemon.create("evil", busybox, command="sleep 100000")
    daemon.start("evil")
    return daemon


def test_exec_into_replaced_folders_stays_inside(hostile: Daemon, tmp_path: Path) -> None:
    up = "../" * 30
    replace(hostile, "evil", f"rm -rf /root; ln -s /proc/1/root/{up}{str(tmp_path)[1:]} /root")
    result = hostile.nspawn("exec", "evil", "/bin/cat", "secret")
    assert SECRET not in result.out, str(result)
    for number in range(3, 14):
        replace(hostile, "evil", f"rm -f /root; ln -s /proc/self/fd/{number} /root")
        look = f"cat secret ./{tmp_path}/secret ../secret {up}{tmp_path}/secret; ls -id ."
        result = hostile.nspawn("exec", "evil", "/bin/sh", "-c", look)
        assert SECRET not in result.out, str(result)


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_pipe_or_a_device_for_accounts_does_not_hang_exec(hostile: Daemon, name: str) -> None:
    for make in (f"mkfifo /etc/{name}", f"mknod /etc/{name} c 1 5"):
        replace(hostile, "evil", f"rm -f /etc/{name}; {make}")
        result = hostile.nspawn("exec", "evil", "true", timeout=8)
        assert "Traceback" not in result.err, str(result)
        result = hostile.nspawn("exec", "--user", "guest", "evil", "true", timeout=8)
        assert "Traceback" not in result.err, str(result)


def test_a_shell_on_a_replaced_devpts_is_refused_or_inside(hostile: Daemon) -> None:
    """exec on a terminal opens the container's own ptmx: something else may lie there."""
    before = os.stat("/dev/pts").st_ctime_ns
    replace(hostile, "evil", "umount /dev/pts; rm -rf /dev/pts; ln -s /proc/1/root/dev /dev/pts")
    with hostile.nspawn.terminal("exec", "evil", "/bin/sh", "-c", "tty; exit 4") as child:
        child.wait()
        assert "Traceback" not in (child.before or "")
    assert os.stat("/dev/pts").st_ctime_ns == before


def test_the_console_log_is_safe_from_the_containers_files(hostile: Daemon, busybox: Path) -> None:
    """The rootfs and the log lie in different folders; a name in the rootfs changes nothing."""
    (busybox / "console.log").write_text("fake")
    assert "fake" not in hostile.log("evil")


def test_rm_of_a_builtin_container_follows_no_link(daemon: Daemon, tmp_path: Path) -> None:
    daemon.nspawn.ok("create", "evil", "--image", "builtin")
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "file").write_text(SECRET)
    place = daemon.root / "containers" / "evil" / "rootfs"
    (place / "absolute").symlink_to(outside)
    (place / "relative").symlink_to("../" * 30 + str(outside)[1:])
    (place / "etc" / "deep").symlink_to(outside / "deep")
    daemon.nspawn.ok("rm", "evil")
    assert (outside / "deep" / "file").read_text() == SECRET
    assert not place.parent.exists()


def test_rm_of_a_folder_container_leaves_the_folder(daemon: Daemon, busybox: Path) -> None:
    daemon.create("mine", busybox)
    before = sorted(os.listdir(busybox))
    daemon.nspawn.ok("rm", "mine")
    assert sorted(os.listdir(busybox)) == before


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "-x", "A", "a b", "x" * 64, "ü", ".x", "_x", "a\n", "list\0x"[:4] + "/"],
)
def test_a_name_that_is_no_name_is_refused_everywhere(daemon: Daemon, busybox: Path, name: str) -> None:
    before = sorted(os.listdir(daemon.root.parent))
    for words in (
        ["create", name, "--rootfs", str(busybox)],
        ["start", name],
        ["stop", name],
        ["rm", name],
        ["logs", name],
        ["info", name],
        ["rename", name, "fine"],
        ["set", name, "user=root"],
    ):
        result = daemon.nspawn(*words)
        assert result.status in (1, 2), str(result)
        assert "Traceback" not in result.err, str(result)
    assert sorted(os.listdir(daemon.root.parent)) == before
