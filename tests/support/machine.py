"""What a test could leave on the machine, before and after.

Other programs use the same machine.  A mount or a process counts when it belongs to the tests' own
folder; a cgroup when it is "nspawn" or below one and holds no process of somebody else;
interfaces, named network namespaces and the host's own settings all count.  One look takes about 20 ms.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from tests.support import processes
from tests.support.command import run

#: Set for every program the tests start, to recognise what is left of it.
MARK = "NSPAWN_TEST_SESSION"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One look at the machine, as sets of lines a person can read."""

    mounts: frozenset[str]
    processes: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    network_namespaces: frozenset[str]
    settings: frozenset[str]

    def added_since(self, before: Machine) -> list[str]:
        """What is there now and was not then."""
        return [
            f"{field.name}: {line}"
            for field in fields(self)
            for line in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]


def look(base: Path) -> Machine:
    """See the machine now.  base: the folder below which the tests keep everything."""
    return Machine(
        mounts=frozenset(line for _, line in _mounts(base)),
        processes=frozenset(_describe(pid) for pid in _own_processes(base)),
        cgroups=frozenset(str(path) for path in _idle_cgroups(base)),
        interfaces=frozenset(os.listdir("/sys/class/net")),
        network_namespaces=frozenset(os.listdir("/run/netns") if os.path.isdir("/run/netns") else ()),
        settings=frozenset(f"{name}: {value}" for name, value in _settings()),
    )


def leaks(before: Machine, base: Path, seconds: float = 5.0) -> list[str]:
    """What was added, after at most `seconds` for the kernel to finish its own cleaning."""
    found: list[str] = []

    def clean() -> bool:
        found[:] = look(base).added_since(before)
        return not found

    processes.wait_until(clean, seconds, step=0.1)
    return found


def tidy(before: Machine, base: Path) -> None:
    """Take away what tests left, so that one failure does not spoil the next test."""
    for pid in _own_processes(base):
        if _describe(pid) not in before.processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            processes.gone(pid, 2)
    for target, line in reversed(_mounts(base)):
        if line not in before.mounts:
            run(["umount", "-l", target])
    for path in sorted(_idle_cgroups(base), key=lambda path: -len(path.parts)):
        if str(path) not in before.cgroups:
            try:
                path.rmdir()
            except OSError:
                pass


def unescape(text: str) -> str:
    r"""A field of mountinfo, where blank, tab, newline and backslash are written \040 and so on."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _mounts(base: Path) -> list[tuple[str, str]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split(" ")
        if str(base) in line or "nspawn" in line:
            dash = words.index("-")
            target = unescape(words[4])
            found.append((target, f"{target} {words[dash + 1]} {words[dash + 2]}"))
    return found


def _own_processes(base: Path) -> list[int]:
    """Marked by environment or arguments, or with a root of ours in another mount namespace."""
    ours = processes.namespace("self", "mnt")
    me = os.getpid()
    found = []
    for pid in processes.all_processes():
        if pid == me or not processes.alive(pid):
            continue
        try:
            marked = f"{MARK}={base}".encode() in (Path("/proc") / str(pid) / "environ").read_bytes()
            if (
                marked
                or _keeps_state_below(base, pid)
                or (processes.namespace(pid, "mnt") not in ("", ours) and _root_is_below(base, pid))
            ):
                found.append(pid)
        except OSError:
            continue
    return found


def _keeps_state_below(base: Path, pid: int) -> bool:
    """A keeper or a spawner, which clean their environment."""
    return any(word.startswith(f"{base}/") for word in processes.command_line(pid)[1:6])


def _root_is_below(base: Path, pid: int) -> bool:
    """Whether what the process has mounted at "/" comes from the tests' folder."""
    for line in (Path("/proc") / str(pid) / "mountinfo").read_text(errors="replace").splitlines():
        words = line.split(" ")
        if words[4] == "/" and (words[3].startswith(str(base)) or f"upperdir={base}" in line):
            return True
    return False


def _settings() -> Iterator[tuple[str, str]]:
    """What a slip of the program would change for the whole host."""
    yield "host name", os.uname().nodename
    for path in ("/etc/hostname", "/etc/hosts", "/proc/sys/net/ipv4/ping_group_range"):
        try:
            yield path, repr(Path(path).read_text(errors="replace"))
        except OSError:
            continue
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split(" ")[4] in ("/", "/dev/pts", "/proc", "/sys"):
            yield "mount", line.split(" ", 2)[2]


def _describe(pid: int) -> str:
    words = " ".join(processes.command_line(pid))[:200]
    return f"{pid} since {processes.start_time(pid)}: {words}"


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] in ("cgroup", "cgroup2"):
            found.append(Path(unescape(left.split(" ")[4])))
    return found


def _idle_cgroups(base: Path) -> list[Path]:
    """Cgroups of the program that hold nothing, or processes of these tests, with all that is below.

    A container of somebody else has empty groups below a populated one: it counts as a whole.
    """
    own = set(_own_processes(base))
    found = []
    for top in _hierarchies():
        for parent in _below(top, inside="nspawn"):
            if parent.name != "nspawn":
                continue
            groups = [Path(entry.path) for entry in _folders(parent)]
            idle = [group for group in groups if _members(group) <= own]
            found += [inner for group in idle for inner in _below(group)]
            if len(idle) == len(groups):
                found.append(parent)
    return found


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _below(top: Path, inside: str = "") -> Iterator[Path]:
    """A cgroup and all below it, but not what is below one named `inside`.

    By a list and not os.walk, which before Python 3.12 calls itself: a container nests as deep as it likes.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        yield path
        if path.name != inside:
            waiting += [Path(entry.path) for entry in _folders(path)]


def _members(group: Path) -> set[int]:
    members: set[int] = set()
    for inner in _below(group):
        try:
            text = (inner / "cgroup.procs").read_text()
        except OSError:
            continue
        members |= {int(word) for word in text.split()}
    return members
