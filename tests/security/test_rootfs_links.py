"""A rootfs made by an attacker: links, pipes and devices where the runtime works.

Refused or harmless: nothing of the host changes, is read, or hangs.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Result, check
from tests.support.program import Program

pytestmark = pytest.mark.usefixtures("clean_module")

SECRET = "of the host alone"
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def tree(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything about each path below a folder that a write would change."""
    found: dict[str, tuple[int, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            status = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (
                status.st_ino,
                status.st_mode,
                status.st_uid,
                status.st_nlink,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that looks like a prize; at the end of the test it is as it was."""
    place = tmp_path / "outside"
    for folder in ("etc", "shm", "mqueue", "pts", "net", "systemd", "deep/er", "fs/cgroup"):
        (place / folder).mkdir(parents=True)
    for name in ("hostname", "hosts", "passwd", "etc/hostname", "etc/hosts", "etc/passwd", "null", "file"):
        (place / name).write_text(SECRET)
    (place / "sh").write_text(f"#!/bin/sh\ntouch {place}/pwned\n")
    (place / "sh").chmod(0o755)
    host = [Path("/etc/hostname"), Path("/etc/hosts"), Path("/etc")]
    before = tree(place), [os.stat(path).st_ctime_ns for path in host]
    yield place
    assert (tree(place), [os.stat(path).st_ctime_ns for path in host]) == before


def harmless(result: Result) -> None:
    """It ran, or was refused by a clear error."""
    assert "Traceback" not in result.err, str(result)
    assert SECRET not in result.out + result.err, str(result)
    if result.status:
        assert result.err.startswith("nspawn"), str(result)


def replace(path: Path, target: str | Path) -> None:
    """Put a symbolic link where the rootfs has something."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        check(["rm", "-r", path])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


PLACES = ["dev", "proc", "sys", "run", "tmp", "etc", "mnt", "root"]
FILES = ["etc/hostname", "etc/hosts", "etc/passwd", "etc/group", "etc/iproute2", "etc/systemd"]
KINDS = ["absolute", "relative", "init-root", "working-folder", "dangling", "itself"]


def target(kind: str, outside: Path, path: str) -> str:
    name = Path(path).name if (outside / Path(path).name).exists() else ""
    below = "/".join(part for part in (str(outside), name) if part)
    return {
        "absolute": below,
        "relative": "../" * 30 + below.lstrip("/"),
        "init-root": f"/proc/1/root{below}",
        "working-folder": "/proc/self/cwd/" + "../" * 30 + below.lstrip("/"),
        "dangling": "/no/such/place",
        "itself": f"/{path}",
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PLACES + FILES)
def test_a_link_leads_nowhere_outside(
    nspawn: Program, busybox: Path, outside: Path, path: str, kind: str
) -> None:
    replace(busybox / path, target(kind, outside, path))
    script = f"echo ran; cat /{path}/file /{path}/hostname /{path} 2>/dev/null; echo x > /{path}/file; true"
    harmless(nspawn(busybox, "/bin/sh", "-c", script))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["mnt", "etc"])
def test_a_bind_below_a_link_makes_nothing_outside(
    nspawn: Program, busybox: Path, outside: Path, tmp_path: Path, path: str, kind: str
) -> None:
    replace(busybox / path, target(kind, outside, path))
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("shared\n")
    binds = [f"{shared}:/{path}/made", f"{shared}/file:/{path}/made.file", f"{shared}:/{path}/deep/er/more"]
    for bind in binds:
        harmless(nspawn("--bind", bind, busybox, "true"))
    harmless(nspawn(*[word for bind in binds for word in ("--bind", bind)], busybox, "true"))
    assert os.listdir(shared) == ["file"]


@pytest.mark.parametrize("number", range(3, 16))
def test_a_descriptor_of_the_start_is_no_way_out(
    nspawn: Program, busybox: Path, outside: Path, tmp_path: Path, number: int
) -> None:
    """Links through /proc/self/fd: what the start holds open leads to the host (as in CVE-2024-21626)."""
    up = "/".join([".."] * 30)
    for way in (f"/proc/self/fd/{number}/{up}", f"/proc/self/fd/{number}/.."):
        for path in ("root", "way", "mnt"):
            replace(busybox / path, way)
        shared = tmp_path / "outside" / "deep"
        look = f"cat outside/file ./{outside}/file ../outside/file 2>/dev/null; ls -di / . .."
        for options in ([], ["--workdir", "/way"], ["--workdir", "/way/outside"], ["--user", "guest"]):
            harmless(nspawn(*options, busybox, "/bin/sh", "-c", look))
        harmless(nspawn("--bind", f"{shared}:/mnt/made", busybox, "true"))
        harmless(nspawn("--bind", f"{shared}:/mnt/outside/made", busybox, "true"))
        harmless(nspawn("--bind", f"{shared}:/mnt{outside}/made", busybox, "true"))
        harmless(nspawn("--bind", f"{outside}/file:/mnt{outside}/made.file", busybox, "true"))
        assert not (tmp_path / "made").exists()
        assert not Path("/made").exists()


@pytest.mark.parametrize("command", [[], ["sh"], ["/bin/sh"]])
def test_a_program_of_the_host_is_not_run(
    nspawn: Program, busybox: Path, outside: Path, command: list[str]
) -> None:
    for way in (outside / "sh", "../" * 30 + str(outside / "sh")[1:], f"/proc/1/root{outside}/sh"):
        replace(busybox / "bin" / "sh", way)
        result = nspawn(busybox, *command)
        assert result.status in (1, 126, 127), str(result)
        harmless(result)
    assert not (outside / "pwned").exists()


def test_the_hosts_proc_left_mounted_in_the_rootfs_is_no_way_out(
    nspawn: Program, busybox: Path, outside: Path
) -> None:
    """A forgotten mount of an earlier chroot: /proc/1/root is the host's root through it."""
    for path in ("etc", "mnt", "root"):
        replace(busybox / path, f"/proc/1/root{outside}/etc")
    check(["mount", "--bind", "/proc", busybox / "proc"])
    try:
        harmless(nspawn(busybox, "/bin/sh", "-c", "cat hostname /etc/hostname; true"))
        harmless(nspawn("--bind", f"{outside}/deep:/mnt/made", busybox, "true"))
    finally:
        check(["umount", busybox / "proc"])


@pytest.mark.parametrize("name", ["hostname", "hosts"])
def test_a_hard_link_of_a_hosts_file_keeps_its_content(
    nspawn: Program, busybox: Path, outside: Path, name: str
) -> None:
    (busybox / "etc" / name).unlink(missing_ok=True)
    (outside.parent / "linked").write_text(SECRET)
    os.link(outside.parent / "linked", busybox / "etc" / name)
    assert nspawn(busybox, "true").status == 0
    assert (outside.parent / "linked").read_text() == SECRET


def make_odd(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zeros":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind == "terminal":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(5, 2))
    elif kind == "disk":
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200))
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "huge":
        path.write_bytes(b"root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n")
        os.truncate(path, 8 << 30)
    elif kind == "long-line":
        path.write_bytes(b"x" * 50_000_000)
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 4000)


@pytest.mark.parametrize(
    "kind", ["pipe", "zeros", "terminal", "disk", "folder", "huge", "long-line", "binary"]
)
@pytest.mark.parametrize("name", ["hostname", "hosts", "passwd", "group"])
def test_an_odd_file_neither_hangs_nor_fills_the_memory(
    nspawn: Program, busybox: Path, name: str, kind: str
) -> None:
    make_odd(busybox / "etc" / name, kind)
    # 400 MB of address space: enough for the interpreter, not for an endless file.
    limited = ["prlimit", "--as=400000000"]
    harmless(nspawn(busybox, "true", prefix=limited, timeout=5))
    for user in ("guest", "1000", "1000:1000", "nobody:games"):
        result = nspawn("--user", user, busybox, "true", prefix=limited, timeout=5)
        assert "Traceback" not in result.err, str(result)
        assert "MemoryError" not in result.err, str(result)


def test_a_device_in_place_of_an_account_file_is_not_opened(nspawn: Program, busybox: Path) -> None:
    """Opening some devices does something: a watchdog would restart the machine.  Here a new terminal."""
    make_odd(busybox / "etc" / "passwd", "terminal")
    before = int(Path("/proc/sys/kernel/pty/nr").read_text())
    nspawn("--user", "guest", busybox, "true")
    assert int(Path("/proc/sys/kernel/pty/nr").read_text()) == before


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "run", "tmp"])
def test_a_file_in_place_of_a_mount_point_is_refused_clearly(
    nspawn: Program, busybox: Path, name: str
) -> None:
    (busybox / name).rmdir()
    (busybox / name).write_text("")
    result = nspawn(busybox, "true")
    assert result.status == 1, str(result)
    assert f"/{name}" in result.err
    harmless(result)


def test_a_rootfs_that_cannot_be_written_still_runs(nspawn: Program, busybox: Path) -> None:
    check(["mount", "--bind", busybox, busybox])
    try:
        check(["mount", "-o", "remount,bind,ro", busybox])
        result = nspawn(busybox, "echo", "ran")
        assert (result.status, result.out) == (0, "ran\n"), str(result)
    finally:
        check(["umount", busybox])


def test_a_folder_that_turns_into_a_link_during_the_start_leads_nowhere(
    nspawn: Program, busybox: Path, outside: Path
) -> None:
    """An attacker who can write the rootfs swaps etc and mnt as fast as it can."""
    stop = threading.Event()
    pairs = []
    for name in ("etc", "mnt"):
        (busybox / f"{name}.link").symlink_to(f"{'../' * 30}{str(outside)[1:]}/etc")
        pairs.append((os.fsencode(busybox / name), os.fsencode(busybox / f"{name}.link")))
    libc = ctypes.CDLL(None)

    def swap() -> None:
        while not stop.is_set():
            for one, other in pairs:
                libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(25):
            result = nspawn(
                *("--hostname", f"name{number}", "--bind", f"{outside}/deep:/mnt/made"),
                *(busybox, "true"),
            )
            assert "Traceback" not in result.err, str(result)
    finally:
        stop.set()
        thread.join()
