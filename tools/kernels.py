"""The Debian kernels that the tests' virtual phone boots, pinned in requirements/kernels.lock."""

from __future__ import annotations

import re

from tools import places
from tools.archive import Lists
from tools.debian import Pin, read_pins
from tools.process import BuildError
from tools.stamps import write_whole

#: The Debian releases that have them, by the kernel's version.
KERNELS = {"5.10": "bullseye", "6.1": "bookworm"}


def pinned_kernels() -> dict[str, Pin]:
    """The pins by the kernel's version. Raises BuildError when the lock file is wrong."""
    pins = read_pins((places.HOME / "requirements/kernels.lock").read_text(), "arm64")
    found = {
        version: pin
        for version in KERNELS
        for pin in pins
        if pin.package.startswith(f"linux-image-{version}.")
    }
    missing = [version for version in KERNELS if version not in found]
    if missing:
        raise BuildError(f"requirements/kernels.lock has no Linux {missing[0]}", "Run `build.py lock`.")
    return found


def lock_kernels() -> None:
    """Renew kernels.lock: of each release itself, whose files stay longer than those of updates."""
    path = places.HOME / "requirements/kernels.lock"
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    lines = []
    for version, suite in KERNELS.items():
        lists = Lists(suite, "arm64", updates=False)
        lines.append(lists.line(newest_of(version, lists.names(f"linux-image-{version}."))))
    write_whole(path, "\n".join([*head, *lines, ""]).encode())


def newest_of(version: str, names: list[str]) -> str:
    """Of Debian's packages with a kernel, the newest that is for everybody. Raises BuildError without one."""
    pattern = re.compile(rf"linux-image-{re.escape(version)}\.\d+-(\d+)-arm64")
    found = [(int(match[1]), name) for name in names if (match := pattern.fullmatch(name))]
    if not found:
        raise BuildError(f"Debian has no Linux {version} for arm64")
    return max(found)[1]
