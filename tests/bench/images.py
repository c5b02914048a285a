"""Images: how fast a root file system is there, and what it costs, against curl, tar and xz."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import program
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import interleave, ratios, spread
from tests.support import rootfs

_HERE = Path(__file__).resolve().parent
_PACKAGES = {
    "Debian trixie": ("systemd", "systemd-sysv", "dbus", "iproute2", "procps"),
    "600 MB": ("build-essential", "gdb", "git", "perl", "python3-dev", "systemd-sysv", "vim"),
}
_TAR = "tar --numeric-owner --xattrs --xattrs-include='*' -C"
_MOST_ROUNDS = 7
_MOST_ROUNDS_LARGE = 3
_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Pull:
    """One turn.  seconds: of the clock, and of the processors; bytes: memory at most (0: not known), and
    written to the disk."""

    wall: float
    cpu: float
    memory: float
    written: float


@dataclass(frozen=True, kw_only=True)
class Archives:
    """A root file system, packed in two ways.  size: of its files, on the disk."""

    name: str
    whole: Path
    blocks: Path
    size: int


class FailedError(Exception):
    """A program did not end with 0; the text is what it wrote."""


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """All comparisons, with both root file systems."""
    goals: list[Goal] = []
    tables: list[Table] = []
    cache = rootfs.cache_folder(program.CHECKOUT)
    blobs = folder / "blobs"
    blobs.mkdir()
    disk = folder / "disk"
    disk.mkdir()
    rounds = max(1, min(_MOST_ROUNDS, pairs // 4))
    for name, packages in _PACKAGES.items():
        try:
            archives = _pack(cache, blobs, name, packages)
            with _serving(blobs) as address:
                found = _measure(archives, address, disk, rounds, seed)
            goals += _goals(archives, found)
            tables.append(_table(archives, found))
        except (OSError, FailedError, AssertionError, subprocess.SubprocessError) as error:
            why = str(error).strip().rpartition("\n")[2]
            goals.append(Goal(name=f"images ({name})", limit=1, why_not=why))
        rounds = min(rounds, _MOST_ROUNDS_LARGE)
    return Part(goals=goals, tables=tables)


def _pack(cache: Path, blobs: Path, name: str, packages: Sequence[str]) -> Archives:
    """Packed once a machine; `xz -6` as one block, and as xz makes it with two threads."""
    tree = rootfs.debian(cache, packages)
    paths = []
    for kind, options in (("whole", "-T1"), ("blocks", "-T2")):
        kept = cache / f"{tree.name}-{kind}.tar.xz"
        if not kept.exists():
            half = cache / f"{kept.name}.half"
            tar = "tar --xattrs --xattrs-include='*' --sort=name -C"
            _run(f"{tar} {tree} -c . | xz -6 {options} > {half}")
            half.rename(kept)
        served = blobs / kept.name
        served.symlink_to(kept)
        paths.append(served)
    size = int(_run(f"du -s --block-size=1 {tree}").split()[0])
    return Archives(name=name, whole=paths[0], blocks=paths[1], size=size)


def _run(line: str) -> str:
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    if done.returncode:
        raise FailedError(f"{line}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def _serving(blobs: Path) -> Iterator[str]:
    """The address of a web server of these files."""
    words = [sys.executable, str(_HERE / "blobserver.py"), str(blobs)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def _measure(archives: Archives, address: str, disk: Path, rounds: int, seed: int) -> dict[str, list[Pull]]:
    name, whole, blocks = archives.whole.name, archives.whole, archives.blocks
    digests = {path: _digest(path) for path in (whole, blocks)}
    pull = f"{program.interpreter()} -I -S {_HERE / 'pull.py'}"
    target, file = disk / "target", disk / "downloaded"
    lines = {
        "ours": f"{pull} {address}/fast/{name} sha256:{digests[whole]} {target}",
        "download, then tar": f"curl -sSfo {file} {address}/fast/{name} && {_TAR} {target} -xJf {file}",
        "curl | tar": f"curl -sSf {address}/fast/{name} | {_TAR} {target} -xJ",
        "ours, 20 MB/s": f"{pull} {address}/slow/{name} sha256:{digests[whole]} {target}",
        "download, then tar, 20 MB/s": (
            f"curl -sSfo {file} {address}/slow/{name} && {_TAR} {target} -xJf {file}"
        ),
        "download alone, 20 MB/s": f"curl -sSfo /dev/null {address}/slow/{name}",
        "xz -dc alone": f"xz -dc {whole} > /dev/null",
        "ours, a file": f"{pull} {whole} sha256:{digests[whole]} {target}",
        "tar -xJf": f"{_TAR} {target} -xJf {whole}",
        "ours, several blocks": f"{pull} {blocks} sha256:{digests[blocks]} {target}",
        "tar -xJf, several blocks": f"{_TAR} {target} -xJf {blocks}",
    }
    size = 2 * archives.size + 8 * archives.whole.stat().st_size
    turns = {title: _turn(line, disk, size) for title, line in lines.items()}
    return interleave(turns, rounds, seed=seed, rehearse=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _fresh_disk(disk: Path, size: int) -> Iterator[None]:
    """An ext4 at this folder on which nothing was ever removed, with a folder `target`.

    ext4 without a journal is several times slower for minutes after a large removal: it looks at each inode
    that became free (ext4's recently_deleted), and whoever comes next would pay for it.
    """
    image = disk.with_suffix(".img")
    try:
        with image.open("wb") as file:
            file.truncate(size)
        _run(f"mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 {image}")
        _run(f"mount -o loop {image} {disk}")
        try:
            (disk / "target").mkdir()
            os.sync()
            yield
        finally:
            _run(f"umount {disk}")
    finally:
        image.unlink(missing_ok=True)


def _turn(line: str, disk: Path, size: int) -> Callable[[], Pull]:
    """One line of a shell, timed, with nothing left to be written by what was before."""

    def turn() -> Pull:
        with _fresh_disk(disk, size):
            begin = time.perf_counter()
            words = ["bash", "-o", "pipefail", "-c", line]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shell:
                assert shell.stdout is not None
                assert shell.stderr is not None
                said, wrong = shell.stdout.read(), shell.stderr.read()
                _pid, status, usage = os.wait4(shell.pid, 0)
                shell.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - begin
            if shell.returncode:
                raise FailedError(f"{line}: {wrong.decode(errors='replace').strip()}")
        return Pull(
            wall=wall,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=sum(int(word) * 1024 for word in said.split()),
            written=usage.ru_oublock * 512,
        )

    return turn


def _goals(archives: Archives, found: Mapping[str, Sequence[Pull]]) -> list[Goal]:
    def wall(title: str) -> list[float]:
        return [pull.wall for pull in found[title]]

    def goal(name: str, limit: float, values: Sequence[float], unit: str = "") -> Goal:
        return Goal(name=f"image, {archives.name}: {name}", limit=limit, unit=unit, figure=spread(values))

    slow = "20 MB/s"
    longest = [max(pair) for pair in zip(wall(f"download alone, {slow}"), wall("xz -dc alone"), strict=True)]
    return [
        goal("time of download-then-tar", 0.92, ratios(wall("ours"), wall("download, then tar"))),
        goal("time of curl | tar", 1.0, ratios(wall("ours"), wall("curl | tar"))),
        goal(
            f"time of download-then-tar at {slow}",
            0.66,
            ratios(wall(f"ours, {slow}"), wall(f"download, then tar, {slow}")),
        ),
        goal(
            f"time of the longer of download and decoding at {slow}",
            1.03,
            ratios(wall(f"ours, {slow}"), longest),
        ),
        goal(
            "several blocks, time of tar",
            0.75,
            ratios(wall("ours, several blocks"), wall("tar -xJf, several blocks")),
        ),
        goal(
            "processor time of curl | tar",
            1.1,
            ratios([pull.cpu for pull in found["ours"]], [pull.cpu for pull in found["curl | tar"]]),
        ),
        goal("most memory", 80 * _MB, [pull.memory for pull in found["ours"]], "MB"),
        goal(
            "most memory, several blocks",
            160 * _MB,
            [pull.memory for pull in found["ours, several blocks"]],
            "MB",
        ),
        goal("bytes written, of the rootfs", 1.05, [pull.written / archives.size for pull in found["ours"]]),
    ]


def _table(archives: Archives, found: Mapping[str, Sequence[Pull]]) -> Table:
    rows: list[list[Value]] = []
    for title, pulls in found.items():
        memory = [pull.memory for pull in pulls if pull.memory]
        rows.append(
            [
                title,
                spread([pull.wall for pull in pulls]),
                spread([pull.cpu for pull in pulls]),
                spread(memory) if memory else None,
                spread([pull.written for pull in pulls]),
            ]
        )
    size = archives.size / _MB
    whole, blocks = (path.stat().st_size / _MB for path in (archives.whole, archives.blocks))
    return Table(
        title=f"Image: {archives.name}",
        columns=[
            Column(title="what"),
            Column(title="time", unit="s"),
            Column(title="processors", unit="s"),
            Column(title="most memory", unit="MB"),
            Column(title="written", unit="MB"),
        ],
        rows=rows,
        notes=[
            f"{size:.0f} MB of files; xz -6: {whole:.0f} MB in one block, {blocks:.0f} MB in several.",
            (
                "Each turn has a fresh ext4. Ours checks the sha256, too. "
                "Most memory: our process's and its child's, each at its most."
            ),
        ],
    )
