"""What every way of making a container shares: it is built beside the others under a name that is none.

Then it is renamed into place: whatever ends the work early, nothing is left and nothing is listed.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.errors import Conflict
from nspawn.model.names import parse_container_name
from nspawn.model.progress import Asked, Cancelled, Progress, Report
from nspawn.service import files, slots, store
from nspawn.service.remove import COMING, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.model.settings import Settings


@dataclass(frozen=True, kw_only=True)
class New:
    """A container that is being made.  at: a descriptor of its folder; path: the folder."""

    name: str
    at: int
    path: str

    def make_rootfs(self) -> str:
        """Make the empty folder of its root file system; the path."""
        os.mkdir("rootfs", 0o755, dir_fd=self.at)
        os.chmod("rootfs", 0o755, dir_fd=self.at)  # noqa: S103  (the container's own users have to enter it)
        return f"{self.path}/rootfs"


def make(
    place: store.Store,
    name: str,
    asked: Settings,
    fill: Callable[[New], Settings],
    report: Report,
    cancelled: Asked,
) -> None:
    """Make the container of this name.

    asked: settings whose network is checked against the others before anything is done.  fill: puts the root
    file system into the folder and gives the settings to save; it need not undo anything.
    Raises Conflict when the name is taken, Cancelled, and what `fill` raises.
    """
    name = parse_container_name(name)
    try:
        place.prepare()
        sweep(place)
        slots.check(place, name, asked)
        with files.folder(place.layout.containers) as containers, ExitStack() as undo:
            fresh = f"{COMING}{name}"
            at = _claim(place, name, fresh, containers, undo)
            value = fill(New(name=name, at=at, path=f"{place.layout.containers}/{fresh}"))
            store.save(at, value)
            if cancelled():
                raise Cancelled
            report(Progress(phase="saving"))
            if not value.rootfs:
                os.sync()  # the files before the name: after a power cut it is whole or not there
            if cancelled():
                raise Cancelled
            with slots.claimed(place, name, value):
                _publish(fresh, name, containers)
            undo.pop_all()
            os.close(at)
    except OSError as error:
        raise files.system_error(f"{name} was not created", error) from None


def _claim(place: store.Store, name: str, fresh: str, containers: int, undo: ExitStack) -> int:
    """Make the folder `fresh`, ours alone; its descriptor, whose lock tells that we are alive."""
    if place.has(name):
        raise _taken(name)
    try:
        os.mkdir(fresh, 0o700, dir_fd=containers)
    except FileExistsError:
        raise Conflict(f"{name} is being created already", hint="Wait for it, or use another name.") from None
    undo.callback(discard, fresh, containers)
    at = files.open_folder(fresh, containers)
    undo.callback(os.close, at)
    fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Between mkdir and flock a `sweep` may have taken it for a leftover.
    if not os.path.samestat(os.fstat(at), os.stat(fresh, dir_fd=containers, follow_symlinks=False)):
        raise Conflict(f"{name} is being created already", hint="Try again.")
    return at


def discard(name: str, at: int) -> None:
    """Remove the folder, with what is in it, that was being made."""
    with suppress(FileNotFoundError):
        files.remove_tree(name, at)


def _publish(fresh: str, name: str, containers: int) -> None:
    try:
        os.rename(fresh, name, src_dir_fd=containers, dst_dir_fd=containers)
    except OSError as error:
        if isinstance(error, (FileExistsError, NotADirectoryError)) or error.errno == errno.ENOTEMPTY:
            raise _taken(name) from None
        raise
    os.fsync(containers)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a container {name!r} already", hint="Use another name, or remove that one first."
    )
