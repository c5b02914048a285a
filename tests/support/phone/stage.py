"""Becomes PID 1 of an emulated phone: `python -m tests.support.phone.stage CONFIGURATION` (JSON; see Stage).

It makes the namespaces and the child that will be init, prints the child's PID, waits for a line (the bench
moves the network card in meanwhile), closes its output when init runs, and ends as init ends: by SIGHUP after
a reboot(2), by SIGINT after a power-off (pid_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.support import poor_kernel

_NEW_NAMESPACES = 0x00020000 | 0x20000000 | 0x40000000 | 0x04000000 | 0x08000000 | 0x02000000
_NOSUID, _NODEV, _NOEXEC, _REMOUNT, _RDONLY, _NOATIME = 2, 4, 8, 32, 1, 1024
_BIND, _REC, _PRIVATE, _SHARED, _DETACH = 4096, 16384, 1 << 18, 1 << 20, 2
_PDEATHSIG = 1
_TELLS = 100  # the descriptor of our output, which the exec of init closes
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_CHARACTER_DEVICES = (
    *(("null", 0o666, 1, 3), ("zero", 0o666, 1, 5), ("full", 0o666, 1, 7), ("random", 0o666, 1, 8)),
    *(("urandom", 0o666, 1, 9), ("kmsg", 0o600, 1, 11), ("tty", 0o666, 5, 0), ("console", 0o600, 5, 1)),
    *(("fuse", 0o666, 10, 229), ("tun", 0o660, 10, 200), ("loop-control", 0o600, 10, 237)),
)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What phone this is.

    tree: tree.build's folder.  shared: the folder by which the bench and the phone see the same files.
    data: the block device with userdata.  cgroups: groups of the phone, to enter before it gets its
    own view of them.  kernel: arguments of poor_kernel.program, or nothing for a whole kernel.
    """

    tree: str
    shared: str
    root: str
    data: str
    cgroups: list[str]
    properties: dict[str, str]
    kernel: dict[str, object]


_libc = ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    _must(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        target,
    )


def main(configuration: str) -> NoReturn:
    stage = Stage(**json.loads(Path(configuration).read_text()))
    # The phone ends when the bench does, however that comes.
    _libc.prctl(_PDEATHSIG, signal.SIGKILL)
    for group in stage.cgroups:
        Path(group, "cgroup.procs").write_text("0")
    _must(_libc.unshare(_NEW_NAMESPACES), "unshare")
    child = os.fork()
    if not child:
        try:
            _libc.prctl(_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            sys.stdin.readline()
            _become(stage)
        except Exception as error:  # noqa: BLE001 (it must not go on as a second bench)
            os.write(2, f"stage: {error!r}\n".encode())
            os._exit(1)
    os.write(1, f"{child}\n".encode())
    os.close(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def _become(stage: Stage) -> NoReturn:
    root, shared = stage.root, Path(stage.shared)
    os.umask(0)
    mount("none", "/", flags=_REC | _PRIVATE)
    mount(stage.tree, root, flags=_BIND)
    mount(stage.tree, root, flags=_BIND | _REMOUNT | _RDONLY)
    mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC, "hidepid=2,gid=3009")
    mount("sysfs", f"{root}/sys", "sysfs", _NOSUID | _NODEV | _NOEXEC)
    mount("tmpfs", f"{root}/dev", "tmpfs", _NOSUID, "mode=0755")
    _fill_dev(f"{root}/dev")
    mount(stage.data, f"{root}/data", "ext4", _NOSUID | _NODEV | _NOATIME)
    for source, target in (
        ("properties", "dev/__properties__"),
        ("socket/fake_events", "dev/socket/fake_events"),
        ("socket/fake_init", "dev/socket/fake_init"),
        ("boot_id", "proc/sys/kernel/random/boot_id"),
        ("power_supply", "sys/class/power_supply"),
        ("thermal", "sys/class/thermal"),
        ("power", "sys/power"),
    ):
        place = Path(root, target)
        if target.startswith("dev/"):
            place.parent.mkdir(exist_ok=True)
            place.mkdir() if target == "dev/__properties__" else place.touch()
        mount(str(shared / source), str(place), flags=_BIND)
    text = "".join(f"{key}={value}\n" for key, value in stage.properties.items())
    Path(root, "dev/fake.properties").write_text(text)
    os.chdir(root)
    # Both in one place: the old root then lies on top, and is taken away (pivot_root(2), NOTES).
    _must(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _must(_libc.umount2(b".", _DETACH), "the old root")
    os.chdir("/")
    mount("none", "/", flags=_REC | _SHARED)
    with open("/dev/null", "rb") as nothing, open("/dev/fake.init.log", "ab") as log:
        os.dup2(1, _TELLS, inheritable=False)
        for target_fd, file in enumerate((nothing, log, log)):
            os.dup2(file.fileno(), target_fd)
    os.closerange(3, _TELLS)
    os.closerange(_TELLS + 1, 1024)
    if stage.kernel:
        poor_kernel.install(poor_kernel.program(**stage.kernel))  # type: ignore[arg-type]
    os.execve("/system/bin/sh", ["init", "/system/bin/init"], {})


def _fill_dev(folder: str) -> None:
    for name, mode, major, minor in _CHARACTER_DEVICES:
        os.mknod(f"{folder}/{name}", stat.S_IFCHR | mode, os.makedev(major, minor))
    os.mkdir(f"{folder}/block")
    for number in range(8):
        os.mknod(f"{folder}/block/loop{number}", stat.S_IFBLK | 0o600, os.makedev(7, number))
    os.mkdir(f"{folder}/pts")
    os.symlink("/dev/pts/ptmx", f"{folder}/ptmx")
    options = "newinstance,mode=600,ptmxmode=666"
    mount("devpts", f"{folder}/pts", "devpts", _NOSUID | _NOEXEC, options)


if __name__ == "__main__":
    main(sys.argv[1])
