"""A container's cgroup: how its processes are counted, ended and, later, limited.

One hierarchy tracks (version 2 wherever it is mounted, else the version 1 freezer, else a named or other
version 1 hierarchy); where there is a version 1 memory controller a second group counts out-of-memory
kills.  Places: facts, quirks, section cgroups.
"""

from __future__ import annotations

import errno
import os
import time

_PARENT = "nspawn"
_V2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/dev/cg2_bpf")
_V1_TRACKING = ("/sys/fs/cgroup/freezer", "/dev/freezer", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/pids")
_V1_MEMORY = ("/sys/fs/cgroup/memory", "/dev/memcg")
_V1_SHOWN = "/sys/fs/cgroup"
_SIGKILL = 9
_DEEPEST = 64
_MOST_GROUPS = 16384


class Hierarchy:
    """Where groups are made.  path: the mount; version: 2, 1, or 0 when this machine has none.

    memory: the version 1 memory controller's mount, or "" (version 2 counts in the same group).
    """

    __slots__ = ("memory", "path", "version")

    def __init__(self, path: str, version: int, memory: str = "") -> None:
        self.path = path
        self.version = version
        self.memory = memory


def find() -> Hierarchy:
    """The hierarchy of this machine; each place is tried by one access(2)."""
    memory = next((path for path in _V1_MEMORY if os.access(f"{path}/memory.oom_control", os.F_OK)), "")
    for path in _V2:
        if os.access(f"{path}/cgroup.controllers", os.F_OK):
            return Hierarchy(path, 2, memory)
    for path in _V1_TRACKING:
        if os.access(f"{path}/tasks", os.F_OK):
            return Hierarchy(path, 1, memory)
    return Hierarchy("", 0, memory)


def v1_controllers() -> list[tuple[str, str]]:
    """(folder name, mount option) of each version 1 hierarchy that is mounted under /sys/fs/cgroup."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            front, _, back = line.partition(" - ")
            kind, _, options = back.split(" ", 2)
            if kind != "cgroup":
                continue
            place = front.split(" ")[4]
            if not place.startswith(_V1_SHOWN + "/"):
                continue
            wanted = [o for o in options.strip().split(",") if o not in ("rw", "ro", "clone_children")]
            named = [o for o in wanted if o.startswith("name=")]
            plain = [o for o in wanted if "=" not in o]
            found.append((place[len(_V1_SHOWN) + 1 :], ",".join(["none", *named] if named else plain)))
    return found


class Group:
    """One container's group.  name: the folder below `nspawn`; folders: tracking first, memory second."""

    __slots__ = ("descriptor", "folders", "hierarchy")

    def __init__(self, hierarchy: Hierarchy, name: str) -> None:
        self.hierarchy = hierarchy
        self.folders = []
        if hierarchy.version:
            self.folders.append(f"{hierarchy.path}/{_PARENT}/{name}")
        if hierarchy.memory:
            self.folders.append(f"{hierarchy.memory}/{_PARENT}/{name}")
        self.descriptor = -1

    @property
    def tracked(self) -> bool:
        """Whether processes can be found by this group at all."""
        return self.hierarchy.version != 0

    def make(self, *, memory: bool = True) -> None:
        """Make the folders; without `memory` only the tracking one.  OSError when the kernel refuses."""
        if not memory:
            del self.folders[1 if self.tracked else 0 :]
        for folder in self.folders:
            for _again in range(8):  # the last container that leaves may remove the parent just now
                try:
                    os.mkdir(folder, 0o755)
                    break
                except FileNotFoundError:
                    _make_parent(os.path.dirname(folder), memory=memory)
            else:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        if self.hierarchy.version == 2:
            self.descriptor = os.open(self.folders[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def enter(self, *, tracked: bool = False) -> None:
        """Move the calling process in; `tracked` when it was born in the tracking group.

        "0" names the writer, whatever its PID namespace.
        """
        for index, folder in enumerate(self.folders):
            if index == 0 and tracked:
                continue
            try:
                _write(f"{folder}/cgroup.procs", b"0")
            except OSError as error:
                if error.errno != errno.EBUSY or self.hierarchy.version != 2:
                    raise
                # The container's own manager has enabled controllers: processes live in leaves only.
                leaf = f"{folder}/nspawn-exec"
                os.makedirs(leaf, 0o755, exist_ok=True)
                _write(f"{leaf}/cgroup.procs", b"0")

    def processes(self) -> list[int]:
        """The PIDs, in the reader's namespace, of every process in the group and below it."""
        found: list[int] = []
        if not self.tracked:
            return found
        for folder in _tree(self.folders[0]):
            try:
                with open(f"{folder}/cgroup.procs", encoding="utf-8") as lines:
                    found.extend(int(line) for line in lines)
            except OSError:
                continue  # the group went in between
        return [pid for pid in found if pid]

    def out_of_memory_kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        total = 0
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                try:
                    with open(f"{folder}/{name}", encoding="utf-8") as lines:
                        total += sum(int(line[9:]) for line in lines if line.startswith("oom_kill "))
                except OSError:
                    continue
        return total

    def signal(self, number: int, spare: int = 0) -> int:
        """Send a signal to every process but `spare`; how many got it."""
        count = 0
        for pid in self.processes():
            if pid != spare:
                try:
                    os.kill(pid, number)
                    count += 1
                except ProcessLookupError:
                    continue
        return count

    def kill(self) -> None:
        """SIGKILL for everything in the group, also what forks meanwhile."""
        if not self.tracked:
            return
        folder = self.folders[0]
        if self.hierarchy.version == 2:
            try:
                _write(f"{folder}/cgroup.kill", b"1")  # since Linux 5.14
                return
            except OSError:
                pass
        freezer, on, off = self._freezer
        for _round in range(100):
            _try_write(freezer, on)
            sent = self.signal(_SIGKILL)
            _try_write(freezer, off)
            if not sent:
                return
            time.sleep(0.005)  # the killed leave the group only after their exit

    @property
    def _freezer(self) -> tuple[str, bytes, bytes]:
        """(file, text that freezes, text that thaws).  Version 1 has it in the freezer's hierarchy only."""
        folder = self.folders[0]
        if self.hierarchy.version == 2:
            return f"{folder}/cgroup.freeze", b"1", b"0"  # since Linux 5.2
        return f"{folder}/freezer.state", b"FROZEN", b"THAWED"

    def freeze(self) -> None:
        """Take the processor from everything in it.  OSError (ENOENT) where the kernel cannot."""
        if not self.tracked:
            raise OSError(errno.ENOENT, "there is no cgroup")
        file, on, _off = self._freezer
        _write(file, on)

    def thaw(self) -> None:
        """Let it go on; a group that is not frozen, or gone, needs none."""
        if self.tracked:
            file, _on, off = self._freezer
            _try_write(file, off)

    def remove(self) -> bool:
        """Remove the folders, deepest first; False when a process is still inside."""
        self.close()
        removed = [_remove_tree(folder) for folder in self.folders]  # each is tried
        return all(removed)

    def end(self) -> bool:
        """Kill what is left and remove the folders; waits for the dying, one second at most."""
        if self.remove():
            return True
        self.kill()
        for _round in range(200):
            if self.remove():
                return True
            time.sleep(0.005)
        return False


def leftovers(hierarchy: Hierarchy) -> list[str]:
    """The names of all groups below `nspawn`."""
    found: set[str] = set()
    for base in (hierarchy.path, hierarchy.memory):
        if base:
            try:
                found.update(entry.name for entry in os.scandir(f"{base}/{_PARENT}") if entry.is_dir())
            except OSError:
                continue
    return sorted(found)


def remove_parent(hierarchy: Hierarchy) -> None:
    """Remove the `nspawn` folders when they are empty."""
    for base in (hierarchy.path, hierarchy.memory):
        if base:
            try:
                os.rmdir(f"{base}/{_PARENT}")
            except OSError:
                continue


def _make_parent(folder: str, *, memory: bool) -> None:
    """Version 2 counts memory only where each parent hands the controller down, from the top."""
    os.makedirs(folder, 0o755, exist_ok=True)
    if memory:  # a write there may wait for groups that are dying
        for path in (os.path.dirname(folder), folder):
            _try_write(f"{path}/cgroup.subtree_control", b"+memory")
    # Of all containers together, out of their reach; a whole systemd needs about eight.
    _try_write(f"{folder}/cgroup.max.depth", b"%d" % _DEEPEST)
    _try_write(f"{folder}/cgroup.max.descendants", b"%d" % _MOST_GROUPS)


def _remove_tree(folder: str) -> bool:
    try:
        os.rmdir(folder)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        pass
    gone = True
    for path in reversed(_tree(folder)):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def _tree(folder: str) -> list[str]:
    """The folder and all below it, parents first; without recursion, for containers nest deep."""
    found: list[str] = []
    left = [folder]
    while left and len(found) < _MOST_GROUPS:
        path = left.pop()
        found.append(path)
        try:
            with os.scandir(path) as entries:
                left.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue  # it went in between, or lies too deep for a path
    return found


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _try_write(path: str, data: bytes) -> None:
    try:
        _write(path, data)
    except OSError:
        pass
