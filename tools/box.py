"""A box for a part of the tests: own mounts, processes, IPC, host name, cgroups, perhaps network.

    python -m tools.box NAME own|shared COMMAND...

So no part sees what another leaves, listens on or looks at. `main` joins the box's cgroups and becomes
unshare(1); that starts `_inside`, process 1 of the box, which mounts what shows the new namespaces, starts
the command and reaps orphans. Whoever started it calls `remove_cgroups` when it has ended. Needs root.
A network of its own has a loopback interface and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tools import places

_NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--cgroup")
_PR_SET_PDEATHSIG = 1
_CGROUP = Path("/sys/fs/cgroup")


class Mount(NamedTuple):
    """A line of mountinfo (proc(5)), as far as we need it. options: those of the file system."""

    point: str
    kind: str
    source: str
    options: str


def works() -> bool:
    """Whether this machine lets us make boxes."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    words = ["unshare", *_NAMESPACES, "--net", "--fork", "--kill-child", "--mount-proc", "true"]
    return subprocess.run(words, capture_output=True).returncode == 0


def command(name: str, words: Sequence[str], *, own_network: bool) -> list[str]:
    """What runs a command in a box, from the repository's folder. name: its cgroups', used by no other."""
    network = "own" if own_network else "shared"
    return [str(places.PYTHON), "-m", "tools.box", name, network, *words]


def remove_cgroups(name: str, seconds: float = 5.0) -> list[Path]:
    """Take away the cgroups of a box that has ended. Returns those that stay in use."""
    end = time.monotonic() + seconds
    while True:
        for top in _tops(name):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        left = [top for top in _tops(name) if top.exists()]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


def parse_mounts(text: str) -> list[Mount]:
    """The mounts of /proc/self/mountinfo."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind, source, options = right.split(" ", 2)
        found.append(Mount(left.split(" ")[4], kind, source, options))
    return found


def hierarchy_options(mount: Mount) -> str:
    """What mounts a hierarchy of cgroups once more: its controllers or its name, not its settings."""
    if mount.kind == "cgroup2":
        return "rw"
    settings = ("rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode")
    words = [word for word in mount.options.split(",") if word not in settings]
    words = [word for word in words if not word.startswith("release_agent=")]
    return ",".join(f"none,{word}" if word.startswith("name=") else word for word in words)


def _mounts() -> list[Mount]:
    return parse_mounts(Path("/proc/self/mountinfo").read_text())


def _hierarchies() -> list[Mount]:
    return [mount for mount in _mounts() if mount.kind in ("cgroup", "cgroup2")]


def _tops(name: str) -> list[Path]:
    return [Path(mount.point, name) for mount in _hierarchies()]


def _join_cgroups(name: str) -> None:
    for top in _tops(name):
        top.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty at first, and then nobody may join
            if (top / setting).exists() and not (top / setting).read_text().strip():
                (top / setting).write_text((top.parent / setting).read_text())
        (top / "cgroup.procs").write_text(str(os.getpid()))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _furnish() -> None:
    """Mount what shows the box's namespaces, where the machine's own is shown."""
    _mount("--make-rprivate", "/")
    hierarchies = _hierarchies()
    others = [mount for mount in _mounts() if mount.point.startswith("/sys/") and mount not in hierarchies]
    subprocess.run(["umount", "--recursive", "/sys"], check=True)
    _mount("-t", "sysfs", "sysfs", "/sys")
    for mount in others:
        if Path(mount.point) != _CGROUP:
            subprocess.run(["mount", "-t", mount.kind, mount.source, mount.point], capture_output=True)
    if any(Path(mount.point) != _CGROUP for mount in hierarchies):
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(_CGROUP))
    for mount in hierarchies:
        Path(mount.point).mkdir(parents=True, exist_ok=True)
        _mount("-t", mount.kind, "-o", hierarchy_options(mount), mount.kind, mount.point)
        if mount.kind == "cgroup2" and Path(mount.point, "cgroup.controllers").read_text().strip():
            # A group with processes gives no controllers to those below it, but for the machine's root.
            leaf = Path(mount.point, "tests")
            leaf.mkdir()
            for pid in Path(mount.point, "cgroup.procs").read_text().split():
                (leaf / "cgroup.procs").write_text(pid)
    Path("/run/netns").mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "tmpfs", "/run/netns")


def _inside(network: str, words: Sequence[str]) -> int:
    """Process 1 of the box. Returns the command's status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C goes to the command as well
    _furnish()
    if network == "own":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            os.execvp(words[0], list(words))  # noqa: S606
        finally:
            os._exit(127)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main(arguments: Sequence[str]) -> int:
    """Become the box, or, in it, its process 1."""
    name, network, *words = arguments
    if name == "--inside":
        return _inside(network, words)
    # Whoever started us may be killed: nothing of the box shall stay.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _join_cgroups(name)
    net = ["--net"] if network == "own" else []
    start = ["unshare", *_NAMESPACES, *net, "--fork", "--kill-child", "--mount-proc"]
    start += [sys.executable, "-m", "tools.box", "--inside", network, *words]
    return os.execvp(start[0], start)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
