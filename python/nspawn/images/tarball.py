"""A root file system from a tar archive: plain, gz, bz2, xz or zst."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO

from nspawn.errors import Damaged, NspawnError, Unsupported, UsageError
from nspawn.model.progress import Asked, Cancelled, Progress, Report
from nspawn.model.runspec import INITS, SHELLS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Started by its path, never imported: tarfile and the decompressors stay out of this process.
_UNPACK = f"{os.path.dirname(__file__)}/unpack{os.path.splitext(__file__)[1]}"
_CHUNK = 1 << 18
_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
#: Entries of an archive; a desktop distribution has half a million.
MOST_ENTRIES = 4_000_000
#: Bytes of the disk that stay free.
_RESERVE = 64 << 20
_PHASE = "unpacking"
_WHAT = "the archive cannot be unpacked"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What an archive held.  skipped: entries and attributes that this file system cannot hold."""

    entries: int
    bytes: int
    skipped: int


def extract(
    source: BinaryIO,
    target: str,
    report: Report,
    cancelled: Asked,
    *,
    size: int | None = None,
    most_bytes: int | None = None,
    keep: Iterable[int] = (),
) -> Unpacked:
    """Unpack into the empty folder `target`; it is for the caller to remove what a failure leaves there.

    size: bytes of the archive, for the progress.  most_bytes: of its content (default: what the disk has
    room for).  keep: descriptors that the unpacking process holds open until its end.
    Raises Damaged with the reason, Unsupported for a compression without its program, Cancelled.
    """
    head = _read(source)
    compression = _compression(head)
    if most_bytes is None:
        disk = os.statvfs(target)
        most_bytes = max(0, disk.f_bavail * disk.f_frsize - _RESERVE)
    with ExitStack() as undo:
        child = _start(compression, target, most_bytes, keep, undo)
        sink = child.stdin
        assert sink is not None
        if compression == "zst":
            sink = _decompress("zstd", sink, undo)
        done = 0
        report(Progress(phase=_PHASE, done=0, total=size))
        while head:
            if cancelled():
                raise Cancelled
            try:
                _write(sink, head)
            except BrokenPipeError:
                break  # it has seen enough, or died: its answer tells
            done += len(head)
            report(Progress(phase=_PHASE, done=done, total=size))
            head = _read(source)
        _close(sink)
        return _answer(child, cancelled)


def check(target: str) -> None:
    """Damaged unless the folder holds a shell or an init that could be started (links within it count)."""
    with ExitStack() as undo:
        child = _start("none", target, 0, (), undo)
        assert child.stdin is not None
        _close(child.stdin)
        _answer(child, lambda: False, what=f"{target} is not a root file system")


def _start(
    compression: str, target: str, most_bytes: int, keep: Iterable[int], undo: ExitStack
) -> subprocess.Popen[bytes]:
    unpacked_as = "tar" if compression == "zst" else compression
    limits = [str(most_bytes), str(MOST_ENTRIES)]
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", _UNPACK, unpacked_as, *limits, *SHELLS, *INITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=target,
        env={"LANG": "C.UTF-8"},
        bufsize=0,
        pass_fds=tuple(keep),
        start_new_session=True,
    )
    undo.callback(_end, child)
    return child


def _decompress(program: str, sink: IO[bytes], undo: ExitStack) -> IO[bytes]:
    """Put the program before the sink."""
    path = shutil.which(program)
    if path is None:
        raise Unsupported(
            _WHAT, f"it is compressed by {program}, which is not here", f"Install {program}, or use xz."
        )
    filter_ = subprocess.Popen(
        [path, "-dcq"],
        stdin=subprocess.PIPE,
        stdout=sink,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    undo.callback(_end, filter_)
    sink.close()
    assert filter_.stdin is not None
    return filter_.stdin


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            _close(stream)
    child.wait()


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        pass


def _answer(child: subprocess.Popen[bytes], cancelled: Asked, what: str = _WHAT) -> Unpacked:
    while True:
        if cancelled():
            raise Cancelled
        try:
            status = child.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            continue
    assert child.stdout is not None
    assert child.stderr is not None
    text = child.stdout.read()
    try:
        answer = json.loads(text)
    except ValueError:
        last = child.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise NspawnError(what, last or f"the unpacking process ended with status {status}") from None
    if "error" in answer:
        raise Damaged(what, answer["error"], answer["hint"])
    return Unpacked(entries=answer["entries"], bytes=answer["bytes"], skipped=answer["skipped"])


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise NspawnError("the archive cannot be read", error.strerror or str(error)) from None


def _write(sink: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[sink.write(view) :]


def _compression(head: bytes) -> str:
    if not head:
        raise UsageError("the archive is empty")
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head.startswith(b"PK\3\4"):
        raise UsageError(
            "the archive is a zip", hint="Use a tar: .tar, .tar.gz, .tar.bz2, .tar.xz or .tar.zst."
        )
    return "tar"
