"""Memory and wake-ups of processes, from /proc."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1
_FILE = 1 << 61


def pss(pid: int) -> int:
    """Proportional set size in bytes (proc(5), smaps_rollup): a shared page counts by its share."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def rss(pid: int) -> int:
    """Resident set size in bytes."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Rss:")


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{path} has no {name}")


@dataclass(frozen=True, kw_only=True)
class Share:
    """Bytes. own: pages of its own memory; files: pages of files that it maps, which the kernel can drop."""

    own: float
    files: float

    @property
    def whole(self) -> float:
        return self.own + self.files


def alone(pids: Iterable[int]) -> dict[int, Share]:
    """The PSS in bytes that each process had if none but these ran.

    The kernel's PSS is lower while other programs map the same Python and C library; this one counts
    page frames (pagemap, proc(5)) among the given processes only.
    """
    frames = {pid: _frames(pid) for pid in pids}
    users = Counter(frame for found in frames.values() for frame in found)
    return {
        pid: Share(
            own=sum(_PAGE / users[frame] for frame, file in found.items() if not file),
            files=sum(_PAGE / users[frame] for frame, file in found.items() if file),
        )
        for pid, found in frames.items()
    }


def _frames(pid: int) -> dict[int, bool]:
    """Its page frames, and whether each is a file's."""
    found: dict[int, bool] = {}
    areas = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/pagemap").open("rb") as pagemap:
        for line in areas:
            start, end = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
            if line.endswith(("[vsyscall]", "[vvar]", "[vdso]", "[vvar_vclock]")):
                continue  # the kernel's own pages
            pagemap.seek(start // _PAGE * 8)
            entries = memoryview(pagemap.read((end - start) // _PAGE * 8)).cast("Q")
            found.update((entry & _FRAME, bool(entry & _FILE)) for entry in entries if entry & _PRESENT)
    found.pop(0, None)
    return found


def switches(pid: int) -> int:
    """How often all threads of the process were given a processor."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith(("voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")):
                total += int(line.split()[1])
    return total
