"""A root file system from a tar archive: plain, gz, bz2, xz or zst."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from nspawn.errors import Damaged, NspawnError, UsageError
from nspawn.images import zstandard
from nspawn.images.room import RESERVE
from nspawn.model.progress import Asked, Cancelled, Progress, Report
from nspawn.model.runspec import INITS, SHELLS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Its decompressors stay out of this process.
_UNPACK = f"{os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}/entry/unpack.py"
_CHUNK = 1 << 18
_LONGEST_MAGIC = 6
_PIPE = 1 << 20
#: Seconds between two looks at whether to end.
_PATIENCE = 0.2
_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
#: Entries of an archive; a desktop distribution has half a million.
MOST_ENTRIES = 4_000_000
_PHASE = "unpacking"
_WHAT = "the archive cannot be unpacked"


class Source(Protocol):
    """What an archive is read from."""

    def read(self, size: int, /) -> bytes:
        """Some bytes, at most so many; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What an archive held.

    skipped: how many entries and attributes this file system or this kernel did not take; notes: which kinds.
    """

    entries: int
    bytes: int
    skipped: int
    notes: tuple[str, ...] = ()


def extract(
    source: Source,
    target: str,
    report: Report,
    cancelled: Asked,
    *,
    size: int | None = None,
    most_bytes: int | None = None,
    keep: Iterable[int] = (),
    layer: bool = False,
) -> Unpacked:
    """Unpack into the folder `target`; it is for the caller to remove what a failure leaves there.

    source: read to its end; what it raises ends the work and is passed on.  size: bytes of the archive, for
    the progress.  most_bytes: of its content (default: what the disk has room for).  keep: descriptors that
    the unpacking process holds open until its end.  layer: of an OCI image; the folder holds the layers
    below it, whiteouts are obeyed, and it need not be a whole root file system.  Else the folder is empty.
    Raises Damaged with the reason, Unsupported for a compression without its program, Cancelled.
    """
    if most_bytes is None:
        disk = os.statvfs(target)
        most_bytes = max(0, disk.f_bavail * disk.f_frsize - RESERVE)
    with ExitStack() as undo:
        # It starts while the first bytes are on their way; how they are compressed is told later.
        child = _start("layer" if layer else "rootfs", target, most_bytes, keep, undo)
        sink = child.stdin
        assert sink is not None
        head = _begin(source)
        compression = _compression(head)
        _widen(sink)
        with suppress(BrokenPipeError):  # it died: its answer tells
            os.write(sink.fileno(), f"{'tar' if compression == 'zst' else compression}\n".encode())
        program = None
        if compression == "zst":
            program = _decompress(zstandard.command(_WHAT), sink, undo)
            sink = program.stdin
            assert sink is not None
            _widen(sink)
        os.set_blocking(sink.fileno(), False)  # a full pipe does not keep us from being cancelled
        done = 0
        report(Progress(phase=_PHASE, done=0, total=size))
        while head:
            try:
                _write(sink, head, cancelled)
            except BrokenPipeError:
                break  # it died, or refused it: its answer tells
            done += len(head)
            report(Progress(phase=_PHASE, done=done, total=size))
            head = _read(source)
        _close(sink)
        unpacked = _answer(child, cancelled)
        if program is not None and program.wait():
            raise Damaged(_WHAT, "its compression is damaged", "Fetch or copy it again: it is damaged.")
        if head:
            raise Damaged(_WHAT, "it goes on after its end")
        return unpacked


def check(target: str) -> None:
    """Damaged unless the folder holds a shell or an init that could be started (links within it count)."""
    with ExitStack() as undo:
        child = _start("check", target, 0, (), undo)
        assert child.stdin is not None
        _close(child.stdin)
        _answer(child, lambda: False, what=f"{target} is not a root file system")


def _start(
    kind: str, target: str, most_bytes: int, keep: Iterable[int], undo: ExitStack
) -> subprocess.Popen[bytes]:
    words = [kind, str(most_bytes), str(MOST_ENTRIES), *(() if kind == "layer" else (*SHELLS, *INITS))]
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", _UNPACK, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=target,
        # Each of its threads would reserve an arena of its own (mallopt(3)).
        env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
        bufsize=0,
        pass_fds=tuple(keep),
        start_new_session=True,
    )
    undo.callback(_end, child)
    return child


def _decompress(command: list[str], sink: IO[bytes], undo: ExitStack) -> subprocess.Popen[bytes]:
    """Put the filter before the sink."""
    filter_ = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=sink,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    undo.callback(_end, filter_)
    zstandard.confine(filter_)
    sink.close()
    return filter_


def _widen(sink: IO[bytes]) -> None:
    """Fewer changes between the processes."""
    try:
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:
        pass  # beyond what a user may have, pipe(7)


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
    assert child.stdout is not None
    assert child.stderr is not None
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    while not poll.poll(_PATIENCE * 1000):
        if cancelled():
            raise Cancelled
    text = child.stdout.read()
    status = child.wait()
    try:
        answer = json.loads(text)
    except ValueError:
        last = child.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise NspawnError(what, last or f"the unpacking process ended with status {status}") from None
    if "error" in answer:
        raise Damaged(what, answer["error"], answer["hint"])
    skipped: dict[str, int] = answer["skipped"]
    return Unpacked(
        entries=answer["entries"],
        bytes=answer["bytes"],
        skipped=sum(skipped.values()),
        notes=tuple(f"{count} {kind} were left out" for kind, count in skipped.items()),
    )


def _begin(source: Source) -> bytes:
    """Enough to tell what it is; less only at the end."""
    head = _read(source)
    while head and len(head) < _LONGEST_MAGIC and (more := _read(source)):
        head += more
    return head


def _read(source: Source) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise NspawnError("the archive cannot be read", error.strerror or str(error)) from None


def _write(sink: IO[bytes], data: bytes, cancelled: Asked) -> None:
    view = memoryview(data)
    poll = select.poll()
    poll.register(sink, select.POLLOUT)
    while view:
        if cancelled():
            raise Cancelled
        if poll.poll(_PATIENCE * 1000):
            view = view[os.write(sink.fileno(), view) :]


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
