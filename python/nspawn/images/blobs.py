"""Stored blobs by their hash, and records of the images that they make up.

images/blobs/sha256/<64 digits>         whole and checked
images/blobs/sha256/<64 digits>.part    being fetched, or what an ended process left; locked by its writer
images/index/<id>.json                  an image that is kept

Records are written last.  So the folder itself is locked: shared by who stores an image, until its record is
there; by who removes what no record names, for himself alone.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from nspawn.errors import Busy, Damaged, NotFound, NspawnError
from nspawn.images import kept
from nspawn.images.filestream import FileStream
from nspawn.images.kept import Kept
from nspawn.images.room import Room
from nspawn.kernel import files
from nspawn.model import ocimanifest
from nspawn.model.blob import ALGORITHM, digits_of
from nspawn.model.progress import Asked, Cancelled, Progress, Report

__all__ = ["Blobs", "Held", "Kept", "Part", "Pruned"]

_BLOBS, _INDEX, _STREAMS = ("blobs", ALGORITHM), ("index",), ("streams",)
_PART = ".part"
_PIECE = 1 << 20
#: Seconds that who removes waits for who stores, and between two looks.
_PATIENCE, _LOOK = 3.0, 0.1
_HEX = frozenset("0123456789abcdef")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Held:
    """A stored blob.  used: the ids of the records that name it."""

    digest: str
    size: int
    used: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed.  problems: records that cannot be read; then no blobs were removed."""

    count: int
    bytes: int
    problems: tuple[NspawnError, ...] = ()


class Part:
    """A blob that is being stored: an open and locked file.  size: bytes that an ended process left in it."""

    def __init__(self, folder: int, digits: str, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._folder = os.dup(folder)
        self._digits = digits
        self._finished = False
        self._room = Room(descriptor)

    def read(self, size: int, at: int) -> bytes:
        return os.pread(self.descriptor, size, at)

    def write(self, data: bytes, at: int) -> None:
        """All of it; OSError, also when the disk would be all but full."""
        self._room.take(len(data))
        view = memoryview(data)
        while view:
            count = os.pwrite(self.descriptor, view, at)
            view, at = view[count:], at + count

    def clear(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self.size = 0

    def finish(self) -> None:
        """It is whole, and right: give it its name."""
        os.fsync(self.descriptor)
        name = f"{self._digits}{_PART}"
        os.rename(name, self._digits, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._finished = True
        os.fsync(self._folder)

    def remove(self) -> None:
        """Unless it is finished."""
        if not self._finished:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._digits}{_PART}", dir_fd=self._folder)

    def close(self) -> None:
        """Let go of the lock; what was neither finished nor removed stays, to be resumed."""
        if self._folder >= 0:
            os.close(self._folder)
            os.close(self.descriptor)
            self._folder = self.descriptor = -1


class Blobs:
    """The store below `root` (layout.images), which need not be there yet."""

    def __init__(self, root: str) -> None:
        self.root = root

    def has(self, digest: str) -> bool:
        return self._size(digits_of(digest)) is not None

    def open(
        self,
        digest: str,
        cancelled: Asked = lambda: False,
        *,
        size: int | None = None,
        heal: bool = False,
    ) -> FileStream:
        """Checked while it is read; NotFound, also when it has another size than this.

        heal: one that turns out to be damaged is removed, by its hash only: a size is what somebody says.
        """
        digits = digits_of(digest)
        try:
            with self._folder(*_BLOBS) as at:
                descriptor = _open(digits, at)
                if size is not None and os.fstat(descriptor).st_size != size:
                    os.close(descriptor)
                    raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(f"{digest} is not stored") from None
        hint = "Try again: it was removed." if heal else "Remove it, and fetch the image again."
        return FileStream(
            open(descriptor, "rb"),
            f"the stored {digest[:19]}...",
            digest=digest,
            cancelled=cancelled,
            hint=hint,
            damaged=(lambda: self._discard(digest)) if heal else None,
        )

    def begin(self, digest: str) -> Part | None:
        """The blob to be written; None while another process, or thread, writes it.

        Whoever gets it looks once more whether the blob is there: the other may have finished it.
        """
        digits = digits_of(digest)
        with self._folder(*_BLOBS, make=True) as at:
            while True:
                name = f"{digits}{_PART}"
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, 0o600, dir_fd=at)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_named(descriptor, name, at):
                        return Part(at, digits, descriptor)
                except BlockingIOError:
                    os.close(descriptor)
                    return None
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)  # the other has finished or removed it since we opened it

    def put(self, data: bytes) -> str:
        """Store a small blob; its digest.  While another process stores the same, that is left to it."""
        digest = ocimanifest.digest_of(data)
        part = None if self.has(digest) else self.begin(digest)
        if part is None:
            return digest
        try:
            part.clear()
            part.write(data, 0)
            part.finish()
        except OSError as error:
            raise files.system_error(f"{digest[:19]}... cannot be stored", error) from None
        finally:
            part.remove()
            part.close()
        return digest

    def held(self) -> list[Held]:
        """What is stored, by digest."""
        used: dict[str, list[str]] = {}
        for each in self.records()[0]:
            for digest in each.parts:
                used.setdefault(digest, []).append(each.id)
        found = []
        for digits in self._digits():
            size, digest = self._size(digits), f"{ALGORITHM}:{digits}"
            if size is not None:
                found.append(Held(digest=digest, size=size, used=tuple(used.get(digest, ()))))
        return found

    def remove(self, digest: str) -> None:
        """NotFound; who reads it now goes on."""
        try:
            with self._folder(*_BLOBS) as at:
                os.unlink(digits_of(digest), dir_fd=at)
        except FileNotFoundError:
            raise NotFound(f"{digest} is not stored") from None

    def _discard(self, digest: str) -> None:
        with suppress(NotFound):
            self.remove(digest)

    @contextmanager
    def storing(self, cancelled: Asked = lambda: False) -> Iterator[None]:
        """Until the block ends nobody prunes, and what it stores needs no record yet.  Raises Cancelled."""
        with self._folder(make=True) as at:
            held = os.dup(at)
        try:
            _lock(held, fcntl.LOCK_SH, cancelled)
            yield
        finally:
            os.close(held)

    @contextmanager
    def clearing(self, cancelled: Asked = lambda: False) -> Iterator[None]:
        """Until the block ends nobody stores an image; Busy when somebody does for longer than a moment."""
        try:
            with self._folder() as at:
                held = os.dup(at)
        except FileNotFoundError:
            yield  # there is nothing to be removed
            return
        try:
            if not _lock(held, fcntl.LOCK_EX, cancelled, _PATIENCE):
                raise Busy(
                    "nothing was removed",
                    "an image is being stored, and what it needs is not known yet",
                    "Wait for its end (create --keep), or end it, and try again.",
                )
            yield
        finally:
            os.close(held)

    def prune(self, report: Report = lambda _: None, cancelled: Asked = lambda: False) -> Pruned:
        """Remove what no record names, and parts that nobody writes; for who is `clearing`."""
        problems = self.records()[1]
        blobs = [] if problems else [(each.digest, each.size) for each in self.held() if not each.used]
        count = size = 0
        for done, (digest, bytes_) in enumerate(blobs):
            _step(report, cancelled, "removing", done, len(blobs))
            with suppress(NotFound):
                self.remove(digest)
                count, size = count + 1, size + bytes_
        with suppress(FileNotFoundError), self._folder(*_BLOBS) as at:
            for name in os.listdir(at):
                if name.endswith(_PART):
                    bytes_ = _remove_part(name, at)
                    count, size = count + (bytes_ >= 0), size + max(0, bytes_)
        for folder in (_INDEX, _STREAMS):
            with suppress(FileNotFoundError), self._folder(*folder) as at:
                kept.sweep(at)
        return Pruned(count=count, bytes=size, problems=tuple(problems))

    def verify(self, report: Report, cancelled: Asked) -> list[str]:
        """Hash everything; the digests of blobs that are not what they should be (they stay)."""
        held = self.held()
        total, done, wrong = sum(each.size for each in held), 0, []
        for each in held:
            try:
                with self.open(each.digest, cancelled) as stream:
                    while data := stream.read(_PIECE):
                        done += len(data)
                        _step(report, cancelled, "verifying", done, total)
            except Damaged:
                wrong.append(each.digest)
            except NotFound:
                continue  # removed meanwhile
        return wrong

    def note(self, record: Kept) -> None:
        """Write the record, in the place of the one with its id."""
        with self._folder(*_INDEX, make=True) as at:
            kept.write(record, at)

    def records(self) -> tuple[list[Kept], list[NspawnError]]:
        """The newest first, and what was wrong with those that cannot be read."""
        try:
            with self._folder(*_INDEX) as at:
                return kept.read_all(at)
        except FileNotFoundError:
            return [], []

    def find(self, reference: str, arch: str) -> Kept | None:
        """The record of this image, when all that it needs is there."""
        for each in self.records()[0]:
            if (each.reference, each.arch) == (reference, arch):
                return each if all(map(self.has, each.parts)) else None
        return None

    def forget(self, id_: str) -> None:
        """Remove a record (its blobs are for `prune`); NotFound."""
        try:
            with self._folder(*_INDEX) as at:
                kept.remove(id_, at)
        except FileNotFoundError:
            raise NotFound(f"there is no kept image {id_[:60]!r}") from None

    @contextmanager
    def _folder(self, *names: str, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder; what the kernel refuses is an error that a person can read."""
        try:
            with ExitStack() as undo:
                if make:
                    os.makedirs(self.root, 0o700, exist_ok=True)
                at = undo.enter_context(files.folder(self.root))
                for name in names:
                    if make:
                        with suppress(FileExistsError):
                            os.mkdir(name, 0o700, dir_fd=at)
                    at = undo.enter_context(files.folder(name, at))
                yield at
        except FileNotFoundError:
            raise
        except OSError as error:
            raise files.system_error(f"the stored images in {self.root} cannot be used", error) from None

    def _digits(self) -> list[str]:
        try:
            with self._folder(*_BLOBS) as at:
                return sorted(name for name in os.listdir(at) if len(name) == 64 and _HEX.issuperset(name))
        except FileNotFoundError:
            return []

    def _size(self, digits: str) -> int | None:
        try:
            with self._folder(*_BLOBS) as at:
                status = os.stat(digits, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None


def _open(name: str, at: int) -> int:
    descriptor = os.open(name, _READ, dir_fd=at)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise Damaged(f"the stored {name} cannot be read", "it is no file")


def _is_named(descriptor: int, name: str, at: int) -> bool:
    """Whether the file that we have locked is still the one that the name leads to."""
    ours = os.fstat(descriptor)
    try:
        there = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _lock(descriptor: int, how: int, cancelled: Asked, patience: float | None = None) -> bool:
    """Whether it is locked now; without patience, wait until it is, or Cancelled."""
    until = None if patience is None else time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if until is not None and time.monotonic() > until:
                return False
        else:
            return True
        if cancelled():
            raise Cancelled
        time.sleep(_LOOK)


def _remove_part(name: str, at: int) -> int:
    """Unless somebody writes it; its bytes, -1 when it stays."""
    try:
        descriptor = os.open(name, _READ, dir_fd=at)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_named(descriptor, name, at):
            return -1
        os.unlink(name, dir_fd=at)
        return os.fstat(descriptor).st_size
    except BlockingIOError:
        return -1
    finally:
        os.close(descriptor)


def _step(report: Report, cancelled: Asked, phase: str, done: int, total: int) -> None:
    if cancelled():
        raise Cancelled
    report(Progress(phase=phase, done=done, total=total))
