"""A private place to measure in: nothing that runs in it is left on the machine afterwards.

Every process that the benchmark starts lives below one version 2 cgroup and in one PID namespace, in a
mount namespace with that cgroup alone at /sys/fs/cgroup (crun 1.8 refuses hosts with both versions) and
a /run of its own. PID 1 and its cgroup are inside, too, because lxc and systemd-nspawn look where PID 1
is. The parent stays outside and, however the child ended, kills the cgroup and removes it. The
machine's own /sys/fs/cgroup, /proc and /run are never touched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWPID = 0x20000000
_MS_REC_PRIVATE = 0x4000 | 1 << 18
_MNT_DETACH = 2
_CGROUPS = "/sys/fs/cgroup"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None), target
    )


def inside(work: Callable[[Path], int]) -> int:
    """Run `work(folder)` in a child, in such a place; its status, or 1 when it died.

    folder: an empty folder, removed afterwards. Raises OSError when the place cannot be made.
    """
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="nspawn-bench-"))
        undo.callback(_remove, folder)
        view = folder / "cgroup"
        view.mkdir()
        _unshare(_CLONE_NEWNS)
        _mount("none", "/", None, _MS_REC_PRIVATE)
        _mount("cgroup2", str(view), "cgroup2", 0)
        undo.callback(_libc.umount2, str(view).encode(), _MNT_DETACH)
        group = view / folder.name
        group.mkdir()
        undo.callback(_end_group, group)
        room = folder / "work"
        room.mkdir(mode=0o755)
        folder.chmod(0o755)
        _unshare(_CLONE_NEWPID)
        return _wait(spawn(lambda: _first(group, lambda: work(room))))


def spawn(work: Callable[[], int]) -> int:
    """Fork a child that ends with what `work` returns and never runs our undo."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = work()
        except KeyboardInterrupt:
            status = 130
        except BaseException:  # noqa: BLE001 - whatever it was, the parent goes on
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid


def _first(group: Path, work: Callable[[], int]) -> int:
    """PID 1 of the place: prepare it, reap everything, end with the status of `work`."""
    _enter(group)
    worker = spawn(work)
    while True:
        try:
            pid, status = os.wait()
        except KeyboardInterrupt:
            continue
        if pid == worker:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _enter(group: Path) -> None:
    """Become a leaf below the group, which is the root of our own cgroup namespace."""
    (group / "cgroup.procs").write_text("0")
    _unshare(_CLONE_NEWCGROUP | _CLONE_NEWNS)
    while _libc.umount2(_CGROUPS.encode(), _MNT_DETACH) == 0:
        continue
    _mount("cgroup2", _CGROUPS, "cgroup2", 0)
    _mount("proc", "/proc", "proc", 0)
    _mount("tmpfs", "/run", "tmpfs", 0)
    leaf = Path(_CGROUPS, "benchmark")  # controllers are handed down only where no process is
    leaf.mkdir()
    (leaf / "cgroup.procs").write_text("0")


def _wait(pid: int) -> int:
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except KeyboardInterrupt:
            continue  # the child has got it, too
        except SystemExit:
            os.kill(pid, signal.SIGTERM)


def _end_group(group: Path) -> None:
    """Kill what is left in the group and remove it, 5 seconds at most."""
    deadline = time.monotonic() + 5
    while True:
        try:
            (group / "cgroup.kill").write_text("1")
        except OSError:  # before Linux 5.14
            for file in group.rglob("cgroup.procs"):
                for line in file.read_text().split():
                    os.kill(int(line), signal.SIGKILL)
        for below, _folders, _files in os.walk(group, topdown=False):
            try:
                os.rmdir(below)
            except OSError:
                break
        if not group.exists() or time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _remove(folder: Path) -> None:
    """Remove the folder without following links; nothing is mounted below it any more."""
    if not os.path.ismount(folder / "cgroup"):
        shutil.rmtree(folder)
