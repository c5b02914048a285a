"""The Debian kernels that the tests' virtual phone boots, pinned in requirements/kernels.lock."""

from __future__ import annotations

from tools import places
from tools.debian import Pin, read_pins

#: The suites of Debian that have them, by the kernel's version.
KERNELS = {"5.10": "bullseye", "6.1": "bookworm"}

LOCK = places.HOME / "requirements" / "kernels.lock"


def pinned_kernels() -> dict[str, Pin]:
    """The pins by the kernel's version. Raises BuildError when the lock file is wrong."""
    pins = read_pins(LOCK.read_text(), "arm64")
    return {
        version: next(pin for pin in pins if pin.package.startswith(f"linux-image-{version}."))
        for version in KERNELS
    }
