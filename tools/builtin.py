"""The built-in rootfs: Debian's static busybox."""

from __future__ import annotations

import platform

from tools import places
from tools.deb import member_of_deb
from tools.debian import download_deb, lock_file, read_pins
from tools.process import BuildError, say
from tools.stamps import digest, is_stamped, stamp, write_whole


def busybox_of_deb(deb: bytes) -> bytes:
    """The program, which trixie has in usr/bin and bookworm has in bin."""
    try:
        return member_of_deb(deb, "usr/bin/busybox")
    except BuildError:
        return member_of_deb(deb, "bin/busybox")


def busybox_source(version: str, architecture: str) -> str:
    """What is beside it, and says where it comes from."""
    return (
        f"Debian busybox-static {version} {architecture} (GPL-2): https://sources.debian.org/src/busybox/\n"
    )


def setup_builtin() -> None:
    """Put Debian's static busybox where the built-in rootfs is made from."""
    machine = platform.machine()
    architecture = places.ARCHITECTURES.get(machine)
    if architecture is None:
        say(f"no built-in rootfs for {machine}: there is one for {', '.join(places.ARCHITECTURES)}")
        return
    pins = read_pins(lock_file().read_text(), architecture, "busybox-static")
    target = places.HOME / "share/builtin" / machine / "busybox"
    lines = repr(pins)
    if target.exists() and is_stamped("builtin", digest(lines, target)):
        return
    say(f"fetching Debian's busybox-static for the built-in rootfs ({architecture})")
    deb, version = download_deb(pins)
    write_whole(target, busybox_of_deb(deb), 0o755)
    write_whole(target.with_name("SOURCE"), busybox_source(version, architecture).encode())
    stamp("builtin", digest(lines, target))
