"""qemu's programs that run another machine's programs: what shows that a foreign bundle starts."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tools import places
from tools.deb import member_of_deb
from tools.debian import download_pinned, lock_file, only_pin
from tools.process import BuildError
from tools.stamps import write_whole


def emulator(machine: str) -> Path:
    """Debian trixie's static qemu-user for programs of a machine (`uname -m`), by our pins, in our cache.

    It is started by its path: nothing is registered with this machine's kernel.
    """
    own = places.ARCHITECTURES.get(platform.machine())
    if own is None:
        raise BuildError(f"no emulator is pinned for {platform.machine()}")
    pin = only_pin(lock_file().read_text(), own, "qemu-user")
    path = places.CACHE / "qemu" / pin.sha256[:16] / f"qemu-{machine}"
    if not os.access(path, os.X_OK):
        write_whole(path, member_of_deb(download_pinned(pin), f"usr/bin/{path.name}"), 0o755)
    return path
