"""Removing a container's files, with care: people keep photos below bind mounts."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, NspawnError
from nspawn.service import files

if TYPE_CHECKING:
    from nspawn.service.store import Store

#: Folders on their way out; no container name begins with a dot.
_GOING = ".removing-"
#: Folders on their way in, see `create`.
COMING = ".creating-"


def remove(store: Store, name: str) -> None:
    """Remove the folder of a stopped container, whose lock the caller holds.

    It is renamed first: from then on there is no such container, and what a killed removal leaves goes
    with the next `sweep`.  Raises Conflict when something is mounted below.
    """
    path = store.layout.container(name)
    mounts = files.mounts_below(path)
    if mounts:
        raise Conflict(
            f"{name} was not removed",
            f"something is mounted at {mounts[0]}",
            f"Unmount it first: umount {mounts[0]}",
        )
    going = f"{_GOING}{name}-{os.urandom(4).hex()}"
    try:
        with files.folder(store.layout.containers) as at:
            os.rename(name, going, src_dir_fd=at, dst_dir_fd=at)
            os.fsync(at)
            files.remove_tree(going, at)
    except OSError as error:
        raise files.system_error(f"{name} was not removed as a whole", error) from None


def sweep(store: Store) -> list[str]:
    """Remove what killed creates and removals left; the names of the folders that could not be.

    A folder that is being made or removed is locked by who does it.
    """
    left = []
    try:
        with files.folder(store.layout.containers) as at:
            with os.scandir(at) as found:
                names = [entry.name for entry in found if entry.name.startswith((_GOING, COMING))]
            for name in names:
                try:
                    _sweep_one(name, at)
                except (OSError, NspawnError):
                    left.append(name)
    except FileNotFoundError:
        pass
    return left


def _sweep_one(name: str, at: int) -> None:
    with files.folder(name, at) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody is at it
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not files.mounts_below(path):
            files.remove_tree(name, at)
