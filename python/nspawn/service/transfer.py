"""Containers that move: a copy beside the original, into an archive, out of one."""

from __future__ import annotations

import fcntl
import math
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import nspawn
from nspawn.errors import Conflict, NotFound, NspawnError, UsageError
from nspawn.images import archive, finish, head, tarball
from nspawn.model import exported
from nspawn.model.names import parse_container_name
from nspawn.model.progress import Asked, Report
from nspawn.service import files, making, store
from nspawn.service.stillness import still
from nspawn.sites import add_site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.model.settings import Settings
    from nspawn.service.containers import Containers


#: Seconds without any progress before a stream is given up.
_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of it.  name: of the container; path: of the archive, "" for a stream; size: its bytes.

    notes: what is different from the original, for a person.
    """

    name: str
    path: str = ""
    size: int = 0
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"name": self.name, "path": self.path, "size": self.size, "notes": list(self.notes)}


def clone(
    containers: Containers, place: store.Store, source: str, name: str, report: Report, cancelled: Asked
) -> Moved:
    """Make the container `name`, a copy of `source` with an identity of its own."""
    notes: list[str] = []
    parse_container_name(name)
    with _held(containers, place, source) as (rootfs, value):
        changed, notes = exported.twin(value)

        def fill(new: making.New) -> Settings:
            target = new.make_rootfs()
            with still(containers, source):
                packed = archive.copy(
                    rootfs, target, report, cancelled, mounted=_mounted(rootfs), keep=(new.at,)
                )
            notes.extend(packed.notes)
            with files.folder(target) as root:
                finish.renew_machine_id(root)
            return changed

        making.make(place, name, changed, fill, report, cancelled)
    return Moved(name=name, notes=tuple(notes))


def export(
    containers: Containers,
    place: store.Store,
    name: str,
    file: str | int,
    report: Report,
    cancelled: Asked,
    *,
    force: bool = False,
) -> Moved:
    """Write the container into an archive.

    file: a path, at which it appears only when it is whole, or a descriptor to write to.  force: also where a
    file is already.
    """
    with _held(containers, place, name) as (rootfs, value):
        text = exported.write(
            exported.Exported(
                name=name,
                settings=value,
                machine=os.uname().machine,
                program=f"nspawn {nspawn.__version__}",
            ),
            _dumps(),
        )

        # A container must not stay frozen because a browser went to sleep over its download.
        patience = _PATIENCE if isinstance(file, int) else math.inf

        def pack(out: int, compress: str) -> archive.Packed:
            with still(containers, name):
                return archive.pack(
                    rootfs,
                    out,
                    (exported.MEMBER, text),
                    report,
                    cancelled,
                    compress=compress,
                    mounted=_mounted(rootfs),
                    patience=patience,
                )

        if isinstance(file, int):
            return Moved(name=name, notes=pack(file, archive.compression("")).notes)
        path = os.path.abspath(file)
        folder, last = os.path.split(path)
        _check_place(path, rootfs, force=force)
        compress = archive.compression(last)
        try:
            with files.folder(os.path.realpath(folder)) as at, _coming(last, at, force=force) as out:
                notes = pack(out, compress).notes
                size = os.fstat(out).st_size
        except OSError as error:
            raise files.system_error(f"{path} was not written", error) from None
    return Moved(name=name, path=path, size=size, notes=notes)


def import_(
    place: store.Store,
    file: str | BinaryIO,
    name: str,
    report: Report,
    cancelled: Asked,
    *,
    size: int | None = None,
    trusted: bool = False,
) -> Moved:
    """Make a container of what `export` wrote.

    file: a path or an open file, of `size` bytes if that is known.  name: "" for that of the archive.
    trusted: also what reaches out of the container counts: binds, ports, the start with the machine ...
    """
    if name:
        parse_container_name(name)
    with ExitStack() as undo:
        source: archive.Readable
        if isinstance(file, str):
            opened = undo.enter_context(open_archive(file))
            source, size = opened, os.fstat(opened.fileno()).st_size
        else:
            source = file
        data, source = head.first_member(source, exported.MEMBER)
        found = exported.read(data)
        name = name or found.name
        value, notes = (exported.own(found.settings), []) if trusted else exported.harmless(found.settings)
        beside = name != found.name and place.has(found.name)
        if found.machine and found.machine != os.uname().machine:
            notes.append(f"it is of another kind of machine ({found.machine}): its programs may not run")

        def fill(new: making.New) -> Settings:
            target = new.make_rootfs()
            unpacked = tarball.extract(source, target, report, cancelled, size=size, keep=(new.at,))
            notes.extend(unpacked.notes)
            with files.folder(target) as root:
                _remove_member(root)
                if beside and finish.renew_machine_id(root):
                    notes.append(f"it has a machine-id of its own: {found.name} is here too")
            return value

        making.make(place, name, value, fill, report, cancelled)
    return Moved(name=name, notes=tuple(notes))


def _remove_member(root: int) -> None:
    """The settings are no file of the container's; its root keeps its time."""
    before = os.fstat(root)
    with suppress(OSError):
        os.unlink(exported.MEMBER, dir_fd=root)
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))


def open_archive(path: str) -> BinaryIO:
    """The file; NotFound, UsageError for what is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise NspawnError(f"{path} cannot be read", error.strerror or str(error)) from None
    file = open(descriptor, "rb")  # noqa: SIM115  (the caller closes it)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise UsageError(f"{path} is not an archive", "it is not a file")
    return file


@contextmanager
def _held(containers: Containers, place: store.Store, name: str) -> Iterator[tuple[str, Settings]]:
    """Against every change from elsewhere: where its files are, and its settings."""
    with place.open(name) as at:
        try:
            fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{name} is busy", "something else is being done with it", "Try again.") from None
        loaded = store.load(at, name)
        if loaded.damaged and not loaded.usable:
            raise loaded.damaged
        rootfs = os.path.realpath(loaded.settings.rootfs or containers.layout.rootfs(name))
        if not os.path.isdir(rootfs):
            raise NotFound(f"{name} has no files", f"its root file system {rootfs} is not there")
        yield rootfs, loaded.settings


def _mounted(rootfs: str) -> list[str]:
    """The paths below it where something is mounted."""
    below = f"{rootfs.rstrip('/')}/"
    return [path[len(below) :] for path in files.mounts_below(rootfs) if path.startswith(below)]


def _check_place(path: str, rootfs: str, *, force: bool) -> None:
    folder = os.path.realpath(os.path.dirname(path))
    if not os.path.isdir(folder):
        raise NotFound(f"there is no folder {os.path.dirname(path)}")
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder", hint=f"Name a file: {path}/NAME.tar.zst")
    if f"{folder}/".startswith(f"{rootfs}/"):
        raise UsageError(f"{path} is in the container itself", hint="Write it elsewhere.")
    if os.path.lexists(path):
        if not force:
            raise Conflict(f"{path} is there already", hint="Use another name, or --force.")
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise Conflict(f"{path} is there already", "and it is no plain file", "Use another name.")


@contextmanager
def _coming(name: str, at: int, *, force: bool) -> Iterator[int]:
    """A file without a name, which gets its own at the end: of a killed export nothing is left.

    File systems that have no such files (that of /sdcard) get a hidden one, which is renamed.
    """
    hidden = f".{name[:200]}.{os.urandom(4).hex()}.part"
    nameless = True
    try:
        out = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=at)
    except OSError:
        nameless = False
        out = os.open(
            hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at
        )
    try:
        yield out
        os.fsync(out)
        if nameless:
            os.link(f"/proc/self/fd/{out}", hidden, dst_dir_fd=at, follow_symlinks=True)
        _name(hidden, name, at, force=force)
        os.fsync(at)
    finally:
        os.close(out)
        with suppress(OSError):
            os.unlink(hidden, dir_fd=at)


def _name(hidden: str, name: str, at: int, *, force: bool) -> None:
    if not force:
        try:
            os.link(hidden, name, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
            return
        except FileExistsError:
            raise Conflict(f"{name} is there already", "it came meanwhile", "Use another name.") from None
        except OSError:
            pass  # a file system without hard links
    os.rename(hidden, name, src_dir_fd=at, dst_dir_fd=at)


def _dumps() -> Any:
    add_site_packages()
    import tomli_w

    return tomli_w.dumps
