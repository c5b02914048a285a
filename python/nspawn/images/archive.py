"""A root file system into an archive, or into another folder: by a child that is rooted in it (see pack)."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import select
import subprocess
import sys
import termios
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nspawn.errors import NspawnError, Unsupported
from nspawn.images import zstandard
from nspawn.images.walk import Counts
from nspawn.model.progress import Asked, Cancelled, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_HERE, _ENDING = os.path.dirname(__file__), os.path.splitext(__file__)[1]
#: Started by their paths, never imported here.
_PACK, _XZ = f"{_HERE}/pack{_ENDING}", f"{_HERE}/xzblocks{_ENDING}"
#: By the ending of the file's name.
COMPRESSIONS = {".tar": "none", ".tar.xz": "xz", ".txz": "xz", ".tar.zst": "zst", ".tzst": "zst"}
#: More threads of xz would need more memory than a phone may have to spare.
_MOST_THREADS = 4
_MESSAGE = 1 << 12
#: Bytes of the disk of the containers that stay free.
_RESERVE = 64 << 20
_FREE_SOME = "Free some space and try again."


class Readable(Protocol):
    """What an archive is read from: a file, a download, standard input."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """entries; bytes of content; notes: what was left out, for a person."""

    entries: int
    bytes: int
    notes: tuple[str, ...]


def compression(name: str) -> str:
    """For a file of this name: by its ending, else zstd where that is, else xz.

    Raises Unsupported for a zstd that is not there.
    """
    found = next((what for ending, what in COMPRESSIONS.items() if name.endswith(ending)), "")
    if not found:
        return "zst" if zstandard.found() else "xz"
    if found == "zst" and not zstandard.found():
        raise Unsupported(f"{name} cannot be written", "zstd is not here", "Name it .tar.xz instead.")
    return found


def pack(
    rootfs: str,
    out: int,
    first: tuple[str, str],
    report: Report,
    cancelled: Asked,
    *,
    compress: str,
    mounted: Collection[str] = (),
    patience: float = math.inf,
) -> Packed:
    """Write the archive of the folder `rootfs` to the descriptor `out`.

    first: name and text of a member before all others.  compress: "none", "xz" or "zst".
    mounted: paths below the folder where other file systems are bound; they are not entered.
    patience: seconds after which it fails when nothing is done and nothing leaves: a reader that has stopped
    to read.  A slow one is waited for.
    """
    order = {"mounted": sorted(mounted), "name": first[0], "data": first[1], "time": int(time.time())}
    with ExitStack() as undo:
        if compress == "none":
            child = _Child("tar", rootfs, order, out, -1, (), undo, patience)
            child.leave_room(out, rootfs)
            child.watch(out)
            return child.follow("packing", report, cancelled)
        reader, writer = os.pipe()
        try:
            filter_ = subprocess.Popen(
                _filter_words(compress),
                stdin=reader,
                stdout=out,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            undo.callback(_end, filter_)
            child = _Child("tar", rootfs, order, writer, -1, (), undo, patience)
        finally:
            os.close(reader)
            os.close(writer)
        child.leave_room(out, rootfs)
        child.watch(out, filter_.pid)
        return child.follow("packing", report, cancelled, filter_)


def copy(
    rootfs: str,
    target: str,
    report: Report,
    cancelled: Asked,
    *,
    mounted: Collection[str] = (),
    keep: Iterable[int] = (),
) -> Packed:
    """Copy the folder `rootfs` into the empty folder `target`, by reference where the file system can.

    keep: descriptors that the child holds open until its end.
    """
    with ExitStack() as undo:
        at = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        undo.callback(os.close, at)
        child = _Child("copy", rootfs, {"mounted": sorted(mounted)}, subprocess.DEVNULL, at, keep, undo)
        return child.follow("copying", report, cancelled)


def _filter_words(compress: str) -> list[str]:
    if compress == "zst":
        return zstandard.command("the archive cannot be written", compress=True)
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return [sys.executable, "-I", "-S", "-B", _XZ, str(threads)]


class _Child:
    """The process that does it, and what it tells.  target: of a copy, else -1."""

    def __init__(
        self,
        what: str,
        rootfs: str,
        order: Mapping[str, object],
        stdout: int,
        target: int,
        keep: Iterable[int],
        undo: ExitStack,
        patience: float = math.inf,
    ) -> None:
        self._patience = patience
        self._disk = self._out = -1
        self._writers: tuple[int, ...] = ()
        self._gone: tuple[object, ...] = ()
        self._moved = time.monotonic()
        self._what = "the archive was not written" if what == "tar" else "the files were not copied"
        self._progress, theirs = os.pipe()
        undo.callback(os.close, self._progress)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", _PACK, what, str(theirs), str(target)],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                cwd=rootfs,
                env={"LANG": "C.UTF-8"},
                pass_fds=(theirs, *((target,) if target >= 0 else ()), *keep),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        undo.callback(_end, self._process)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it ended: the missing answer tells

    def leave_room(self, out: int, rootfs: str) -> None:
        """Fail before the disk is full that the containers are on: a phone without room stops working."""
        if os.fstat(out).st_dev == os.stat(rootfs).st_dev:
            self._disk = out

    def watch(self, out: int, *others: int) -> None:
        """What leaves by `out` is progress, too.  others: processes that write to it besides this one."""
        self._out, self._writers = out, (self._process.pid, *others)

    def follow(
        self, phase: str, report: Report, cancelled: Asked, filter_: subprocess.Popen[bytes] | None = None
    ) -> Packed:
        """Until it is done, and what reads from it as well; Cancelled, or NspawnError with the reason."""
        total: int | None = None
        answer: dict[str, Any] = {}
        for line in self._lines(cancelled):
            answer = json.loads(line)
            if "total" in answer:
                total = answer["total"]
            if "done" in answer:
                done = answer["done"] if total is None else min(answer["done"], total)
                report(Progress(phase=phase, done=done, total=total))
        if filter_ is not None:
            self._wait(filter_, cancelled)
        if "error" in answer:
            hint = _FREE_SOME if answer.get("full") else ""
            raise NspawnError(self._what, answer["error"], hint)
        if "counts" not in answer:
            raise NspawnError(
                self._what, "whoever reads it has gone" if filter_ is None else "its process died"
            )
        counts = Counts(**answer["counts"])
        report(Progress(phase=phase, done=total or 0, total=total))
        return Packed(entries=counts.entries, bytes=counts.bytes, notes=tuple(_notes(counts)))

    def _lines(self, cancelled: Asked) -> Iterator[bytes]:
        poll = select.poll()
        poll.register(self._progress, select.POLLIN)
        held = b""
        while True:
            if cancelled():
                raise Cancelled
            self._check_room()
            if not poll.poll(100):
                self._must_move()
                continue
            self._moved = time.monotonic()
            data = os.read(self._progress, 1 << 16)
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            yield from lines

    def _check_room(self) -> None:
        if self._disk < 0:
            return
        disk = os.fstatvfs(self._disk)
        if disk.f_bavail * disk.f_frsize < _RESERVE:
            raise NspawnError(self._what, os.strerror(errno.ENOSPC), _FREE_SOME)

    def _must_move(self) -> None:
        if self._patience == math.inf:
            return
        now, gone = time.monotonic(), (_waiting(self._out), *map(_written, self._writers))
        if gone != self._gone:
            self._gone, self._moved = gone, now
        elif now - self._moved > self._patience:
            why = f"nobody has taken anything of it for {self._patience:g} seconds"
            raise NspawnError(self._what, why, "Read it faster, or export to a file.")

    def _wait(self, filter_: subprocess.Popen[bytes], cancelled: Asked) -> None:
        """Until everything is written; its reason goes before that of the child, which lost its reader."""
        while filter_.poll() is None:
            if cancelled():
                raise Cancelled
            self._must_move()
            try:
                filter_.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        if not filter_.returncode:
            return
        assert filter_.stderr is not None
        said = filter_.stderr.read(_MESSAGE).decode("utf-8", "replace").strip().rpartition("\n")[2]
        full = os.strerror(errno.ENOSPC) in said
        why = os.strerror(errno.ENOSPC) if full else said or f"the compressor ended with {filter_.returncode}"
        raise NspawnError(self._what, why, _FREE_SOME if full else "")


def _notes(counts: Counts) -> Iterator[str]:
    for count, text in (
        (counts.sockets, "sockets were left out: they live only with their programs"),
        (counts.mounts, "places where something else is mounted were not entered"),
        (counts.long, "files were left out: their paths are too long or too deep"),
        (counts.named, "files were left out: the archive's own first member has that name"),
        (counts.gone, "files went away meanwhile"),
        (counts.changed, "files changed meanwhile, and are not whole"),
        (counts.nodes, "device nodes could not be made"),
        (counts.attributes, "attributes of files could not be kept"),
    ):
        if count:
            yield f"{count} {text}"


def _waiting(out: int) -> int:
    """Bytes in the pipe that its reader has not taken; -1 for what is no pipe."""
    try:
        return int.from_bytes(fcntl.ioctl(out, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return -1


def _written(pid: int) -> bytes:
    """What the process has written, as proc(5) has it; nothing where the kernel does not count that."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            return next((line for line in file if line.startswith(b"wchar:")), b"")
    except OSError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()
