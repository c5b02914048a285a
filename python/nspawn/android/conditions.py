"""Which of the conditions that a boot may wait for hold now."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from nspawn.kernel import routes
from nspawn.layout import on_android, phone
from nspawn.model import uplink
from nspawn.model.phone import BOOT_COMPLETED, GETPROP, IN_STORAGE, STORAGE, UNLOCKED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SECONDS = 5.0


def look(named: Collection[str], environ: Mapping[str, str] = os.environ) -> Collection[str]:
    """Those of the named conditions that hold."""
    checks = {"uplink": lambda _: has_uplink(), "storage": unlocked, "boot-completed": booted}
    return {name for name in named if checks[name](environ)}


def has_uplink() -> bool:
    try:
        return uplink.is_there(routes.routes(), routes.links())
    except OSError:
        return False


def booted(environ: Mapping[str, str]) -> bool:
    """Whether Android says that its boot is complete; other machines are not asked."""
    return not on_android(environ) or _is(environ, BOOT_COMPLETED)


def unlocked(environ: Mapping[str, str]) -> bool:
    """Whether the shared storage can be read: by the property, else by what is in it.

    While the phone is locked, the names in it are encrypted (fscrypt).  Other machines lock nothing.
    """
    if not on_android(environ):
        return True
    return _is(environ, UNLOCKED) or os.path.isdir(f"{storage(environ)}/{IN_STORAGE}")


def storage(environ: Mapping[str, str] = os.environ) -> str:
    """The folder of the shared storage."""
    return phone(environ, STORAGE)


def _is(environ: Mapping[str, str], wanted: tuple[str, str]) -> bool:
    name, value = wanted
    try:
        result = subprocess.run(
            [phone(environ, GETPROP), name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return result.stdout.strip() == value.encode()
