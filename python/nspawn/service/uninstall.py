"""Removing the module: marked as the managers mark it, carried out at the next boot by uninstall.sh.

The state folder stays unless a person has confirmed that it shall go; service.sh forgets a confirmation that
no uninstallation followed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, Unsupported
from nspawn.service import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.layout import Layout

_MODULE = "/data/adb/modules/nspawn"
_MARK = "remove"


def find_module(environ: Mapping[str, str]) -> str:
    """The folder of the installed module, or Unsupported."""
    module = environ.get("NSPAWN_MODULE") or _MODULE
    if os.path.isfile(f"{module}/module.prop"):
        return module
    raise Unsupported(
        "there is no module to uninstall",
        f"{module} is not there",
        "A checkout is removed by deleting its folder; its state is where NSPAWN_ROOT or the manual says.",
    )


def mark(module: str) -> None:
    """Have the manager remove the module at the next boot."""
    _touch(f"{module}/{_MARK}")


def confirm_purge(layout: Layout) -> None:
    """Let the uninstallation delete the state folder.

    Conflict while anything is mounted in it: people keep photos below bind mounts, and the deletion must
    not find them.
    """
    mounts = files.mounts_below(layout.root)
    if mounts:
        raise Conflict(
            f"{layout.root} was not marked for deletion",
            f"something is mounted at {mounts[0]}",
            f"Stop what uses it, or unmount it: umount {mounts[0]}",
        )
    try:
        with files.folder(layout.root) as at:
            files.write(os.path.basename(layout.purge), b"version=1\n", at)
    except FileNotFoundError:
        return  # nothing is there to be deleted
    except OSError as error:
        raise files.system_error("the deletion was not confirmed", error) from None


def keep(layout: Layout, module: str) -> bool:
    """Take both back; whether there was anything to take back."""
    found = False
    for path in (layout.purge, f"{module}/{_MARK}"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise files.system_error("the uninstallation was not taken back", error) from None
        found = True
    return found


def _touch(path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, 0o644))
    except OSError as error:
        raise files.system_error("the module was not marked", error) from None
