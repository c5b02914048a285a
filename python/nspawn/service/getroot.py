"""A root file system as a folder of a person's: made beside its place, and renamed into it when complete.

`.NAME.coming-XXXXXXXX` is on its way in, `.NAME.going-XXXXXXXX` on its way out; both are locked by who works
on them, and what a killed one leaves goes, or comes back, with the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, NotFound, NspawnError, UsageError
from nspawn.images import builtin, tarball
from nspawn.kernel import files
from nspawn.model import imageref
from nspawn.model.progress import Asked, Cancelled, Progress, Report
from nspawn.service.files import mounts_below, remove_tree
from nspawn.service.store import Store

if TYPE_CHECKING:
    from nspawn.layout import Layout

#: Fills the empty folder; the descriptor is to be held by every process that works in it.
Fill = Callable[[str, int], None]
#: Whether the folder that is there may be replaced.
Confirm = Callable[[str], bool]
_COMING, _GOING = "coming", "going"
_ENDINGS = (".tar", ".tgz", ".txz", ".tzst", ".gz", ".xz", ".zst", ".bz2")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it goes: an open folder, and the name in it.

    old: more than an empty folder is there, and may be replaced.
    """

    path: str
    parent: int
    name: str
    old: bool


def default_folder(reference: str) -> str:
    """`./debian_trixie` for `debian:trixie`, `./archlinux_current`, `./nginx_1.27`, `./rootfs`."""
    found = imageref.parse(reference)
    match found:
        case imageref.Builtin():
            return "./builtin"
        case imageref.Distribution():
            return f"./{found.name}_{found.release or 'current'}"
        case imageref.Registry():
            version = found.tag or found.digest.rpartition(":")[2][:12] or "latest"
            return f"./{found.repository.rpartition('/')[2]}_{version}"
        case imageref.Url():
            return f"./{_stem(found.url.partition('?')[0])}"
        case imageref.File():
            return f"./{_stem(found.path)}"


def make(layout: Layout, target: str, fill: Fill, confirm: Confirm, report: Report, cancelled: Asked) -> None:
    """Make the folder `target` whole, or leave everything as it was.

    confirm: asked before anything else when a folder with something in it is there.  Raises Conflict when it
    may not be replaced.
    """
    path = os.path.abspath(target)
    try:
        with ExitStack() as undo:
            place = _look(layout, path, confirm, undo)
            fresh = f".{place.name}.{_COMING}-{os.urandom(4).hex()}"
            os.mkdir(fresh, 0o755, dir_fd=place.parent)
            undo.callback(_discard, fresh, place.parent)
            at = _lock(fresh, place.parent, undo)
            fill(f"{os.path.dirname(path)}/{fresh}", at)
            if cancelled():
                raise Cancelled
            report(Progress(phase="saving"))
            os.sync()  # the files before the name: after a power cut it is whole or not there
            if cancelled():
                raise Cancelled
            _publish(layout, place, fresh, undo)
    except OSError as error:
        raise files.system_error(f"{target} was not made", error) from None


def make_builtin(layout: Layout, target: str, confirm: Confirm) -> None:
    """The root file system that comes along, in the folder `target`."""
    busybox = builtin.find_busybox(os.uname().machine)
    make(
        layout, target, lambda path, _at: builtin.make(path, busybox), confirm, lambda _: None, lambda: False
    )


def _look(layout: Layout, path: str, confirm: Confirm, undo: ExitStack) -> Place:
    parent_path, name = os.path.split(path)
    if not name or len(os.fsencode(name)) > 200:
        raise UsageError(f"{path[:80]} cannot be the new folder", hint="Name another folder: -o DIR")
    try:
        parent = undo.enter_context(files.folder(os.path.realpath(parent_path)))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"there is no folder {parent_path}", hint="Make it first, or name another one."
        ) from None
    sweep(name, parent)
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return Place(path=path, parent=parent, name=name, old=False)
    if not stat.S_ISDIR(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "a file"
        raise Conflict(f"{path} is there already", f"it is {kind}", "Name another folder: -o DIR")
    if not os.listdir(path):
        return Place(path=path, parent=parent, name=name, old=False)
    _check_old(layout, path, status)
    if not confirm(path):
        raise Conflict(
            f"{path} is there already", hint="Name another folder: -o DIR, or replace this one: --force"
        )
    return Place(path=path, parent=parent, name=name, old=True)


def _check_old(layout: Layout, path: str, status: os.stat_result) -> None:
    """Only a root file system that nobody uses is replaced: a slip must not cost a home folder."""
    what, hint = f"{path} is not replaced", "Name another folder: -o DIR"
    state = os.path.realpath(layout.root)
    real = os.path.realpath(path)
    if f"{state}/".startswith(f"{real}/") or real.startswith(f"{state}/"):
        raise Conflict(what, "it is, or holds, or is in, the state of nspawn", hint)
    owner = _container_in(layout, real)
    if owner:
        raise Conflict(what, f"it belongs to the container {owner}", hint)
    mounts = mounts_below(path)
    if mounts:
        raise Conflict(what, f"something is mounted at {mounts[0]}", f"Unmount it first: umount {mounts[0]}")
    try:
        tarball.check(path)
    except NspawnError:
        raise Conflict(what, "it holds something else than a root file system", hint) from None
    user = _user(status)
    if user:
        raise Conflict(what, f"the process {user} runs in it", "End it first, or name another folder: -o DIR")


def _container_in(layout: Layout, real: str) -> str:
    """A container whose root file system is this folder, above or below it, or ""; running or not."""
    place = Store(layout)
    for name in place.names():
        try:
            rootfs = place.load(name).settings.rootfs
        except NotFound:
            continue  # removed meanwhile
        root = f"{os.path.realpath(rootfs)}/" if rootfs else ""
        if root and (root.startswith(f"{real}/") or f"{real}/".startswith(root)):
            return name
    return ""


def _user(status: os.stat_result) -> int:
    """A process whose root it is, or 0."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{name}/root/"), status):
                    return int(name)
    return 0


def sweep(name: str, parent: int) -> None:
    """What killed ones left beside this name: what came goes; what went comes back if nothing replaced it."""
    for found in os.listdir(parent):
        for kind in (_COMING, _GOING):
            start = f".{name}.{kind}-"
            if found.startswith(start) and len(found) == len(start) + 8:
                with suppress(OSError, NspawnError):
                    _sweep_one(found, kind, name, parent)


def _sweep_one(found: str, kind: str, name: str, parent: int) -> None:
    with files.folder(found, parent) as at:
        fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if kind == _GOING:
            try:
                os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(found, name, src_dir_fd=parent, dst_dir_fd=parent)
                return
        if not mounts_below(os.readlink(f"/proc/self/fd/{at}")):
            remove_tree(found, parent)


def _lock(name: str, parent: int, undo: ExitStack) -> int:
    at = files.open_folder(name, parent)
    undo.callback(os.close, at)
    fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Between mkdir and flock a `sweep` may have taken it for a leftover.
    if not os.path.samestat(os.fstat(at), os.stat(name, dir_fd=parent, follow_symlinks=False)):
        raise Conflict(f"{name} was taken away", "another getroot works here", "Try again.")
    return at


def _publish(layout: Layout, place: Place, fresh: str, undo: ExitStack) -> None:
    """The new one under its name; the old one goes only after that."""
    if not place.old:
        try:
            # Takes the place of an empty folder, of nothing else: what came meanwhile is somebody's.
            os.rename(fresh, place.name, src_dir_fd=place.parent, dst_dir_fd=place.parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise Conflict(
                f"{place.path} is there already", "it came meanwhile", "Name another folder: -o DIR"
            ) from None
        os.fsync(place.parent)
        return
    going = f".{place.name}.{_GOING}-{os.urandom(4).hex()}"
    _check_old(layout, place.path, os.fstat(_lock(place.name, place.parent, undo)))
    os.rename(place.name, going, src_dir_fd=place.parent, dst_dir_fd=place.parent)
    try:
        os.rename(fresh, place.name, src_dir_fd=place.parent, dst_dir_fd=place.parent)
    except BaseException:
        os.rename(going, place.name, src_dir_fd=place.parent, dst_dir_fd=place.parent)
        raise
    os.fsync(place.parent)
    remove_tree(going, place.parent)


def _discard(fresh: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        remove_tree(fresh, parent)


def _stem(path: str) -> str:
    name = os.path.basename(path.rstrip("/")) or "rootfs"
    while os.path.splitext(name)[1].lower() in _ENDINGS:
        name = os.path.splitext(name)[0]
    return "".join(char if char.isprintable() else "_" for char in name).lstrip(".-") or "rootfs"
