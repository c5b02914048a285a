"""The built-in rootfs: Debian's static busybox."""

from __future__ import annotations

import platform

from tools import places
from tools.debian import download_deb, member_of_deb, read_pins
from tools.process import BuildError, say
from tools.stamps import digest, is_stamped, stamp, write_whole


def setup_builtin() -> None:
    """Put Debian's static busybox where the built-in rootfs is made from."""
    machine = platform.machine()
    architecture = places.ARCHITECTURES.get(machine)
    if architecture is None:
        say(f"no built-in rootfs for {machine}: there is one for {', '.join(places.ARCHITECTURES)}")
        return
    lock = places.HOME / "requirements/debian.lock"
    target = places.HOME / "share/builtin" / machine / "busybox"
    if target.exists() and is_stamped("builtin", digest(lock, target)):
        return
    pins = read_pins(lock.read_text(), architecture)
    say(f"fetching Debian's busybox-static for the built-in rootfs ({architecture})")
    deb, version = download_deb(pins)
    try:
        binary = member_of_deb(deb, "bin/busybox")
    except BuildError:
        binary = member_of_deb(deb, "usr/bin/busybox")
    write_whole(target, binary, 0o755)
    source = (
        f"Debian busybox-static {version} {architecture} (GPL-2): https://sources.debian.org/src/busybox/\n"
    )
    write_whole(target.with_name("SOURCE"), source.encode())
    stamp("builtin", digest(lock, target))
