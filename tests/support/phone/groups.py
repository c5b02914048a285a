"""The cgroups that an emulated phone gets as its own hierarchies."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.machine import unescape
from tests.support.processes import wait_until


class Groups:
    """One group in each hierarchy that is mounted here.  name: of the group.

    In its cgroup namespace the phone sees these as the roots; what it makes below must go at each reboot,
    since this kernel goes on.
    """

    def __init__(self, name: str) -> None:
        self.folders: list[Path] = []
        for hierarchy in _hierarchies():
            folder = hierarchy / name
            folder.mkdir(exist_ok=True)
            self.folders.append(folder)
            # A new cpuset is empty, and nobody can enter it.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (folder / setting).exists():
                    (folder / setting).write_text((hierarchy / setting).read_text())
            if (folder / "cgroup.clone_children").exists():
                (folder / "cgroup.clone_children").write_text("1")

    def enter(self) -> str:
        """A shell command that puts the shell into all of them."""
        return "".join(f"echo $$ >{folder}/cgroup.procs;" for folder in self.folders)

    def clear(self) -> None:
        """Remove what is below; the processes are gone or about to."""
        for folder in self.folders:
            for path, _, _ in os.walk(folder, topdown=False):
                if Path(path) != folder:
                    _remove(Path(path))

    def remove(self) -> None:
        self.clear()
        for folder in self.folders:
            _remove(folder)


def _remove(folder: Path) -> None:
    """The kernel may need a moment for the last process."""
    assert wait_until(lambda: _removed(folder), 5), f"processes stay in {folder}"


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split(" ")
        if words[words.index("-") + 1] in ("cgroup", "cgroup2"):
            found.append(Path(unescape(words[4])))
    return found
