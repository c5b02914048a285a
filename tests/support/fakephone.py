"""A fake phone: the few files of Android that nspawn reads, below a folder of the test's (NSPAWN_PHONE)."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.program import Program

_FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
_FUTEX_WAKE = 1

_GETPROP = """\
#!/bin/sh
# A fake of Android's getprop: each property is a file.  The PATH is a phone's: there may be no cat.
value=
[ ! -f "{root}/properties/$1" ] || read -r value <"{root}/properties/$1"
echo "$value"
echo x >>"{root}/looks"
"""


class FakePhone:
    """root: for NSPAWN_PHONE; environment: for the program."""

    def __init__(self, root: Path, *, serial: bool = True) -> None:
        self.root = root
        for folder in ("properties", "data/media/0", "system/bin", "sys/power", "dev/__properties__"):
            (root / folder).mkdir(parents=True)
        (root / "sys/class/power_supply").mkdir(parents=True)
        getprop = root / "system/bin/getprop"
        getprop.write_text(_GETPROP.format(root=root))
        getprop.chmod(0o755)
        self.serial = root / "dev/__properties__/properties_serial"
        if serial:
            self.serial.write_bytes(bytes(4096))
        self.wake_lock.touch()
        self.wake_unlock.touch()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "NSPAWN_PHONE": str(self.root),
            "ANDROID_ROOT": "/system",
            "ANDROID_DATA": "/data",
            "NSPAWN_GUARD": "0",
        }

    @property
    def wake_lock(self) -> Path:
        return self.root / "sys/power/wake_lock"

    @property
    def wake_unlock(self) -> Path:
        return self.root / "sys/power/wake_unlock"

    @property
    def looks(self) -> int:
        """How often getprop was run."""
        path = self.root / "looks"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def storage(self) -> Path:
        return self.root / "data/media/0"

    def set(self, name: str, value: str) -> None:
        """As init does it: the value, then the count of all changes, then a wake of who waits for it."""
        (self.root / "properties" / name).write_text(f"{value}\n")
        with open(self.serial, "r+b") as file, mmap.mmap(file.fileno(), 4096) as memory:
            (count,) = struct.unpack_from("=I", memory, 4)
            struct.pack_into("=I", memory, 4, (count + 2) & 0xFFFFFFFF)
            at = ctypes.c_uint32.from_buffer(memory, 4)
            ctypes.CDLL(None).syscall(_FUTEX, ctypes.byref(at), _FUTEX_WAKE, 0x7FFFFFFF, None, None, 0)
            del at

    def unlock(self) -> None:
        (self.storage / "Android").mkdir()
        self.set("sys.user.0.ce_available", "true")

    def battery(self, *, celsius: float, capacity: int, plugged: bool = False) -> None:
        """What the files of a battery and a charger say."""
        for name, values in (
            ("battery", {"type": "Battery", "temp": str(int(celsius * 10)), "capacity": str(capacity)}),
            ("usb", {"type": "USB", "online": str(int(plugged))}),
        ):
            folder = self.root / "sys/class/power_supply" / name
            folder.mkdir(exist_ok=True)
            for key, value in values.items():
                (folder / key).write_text(f"{value}\n")
        (self.root / "sys/class/power_supply/battery/status").write_text("Discharging\n")
        (self.root / "sys/class/power_supply/battery/health").write_text("Good\n")


def tell_of_power() -> None:
    """An event as the kernel sends it; root may send one to all who listen in the same network."""
    import socket

    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as end:
        end.bind((0, 0))
        fields = (
            b"change@/devices/platform/battery/power_supply/battery",
            b"ACTION=change",
            b"SUBSYSTEM=power_supply",
            b"POWER_SUPPLY_NAME=battery",
        )
        end.sendto(b"\0".join(fields) + b"\0", (0, 1))


@contextmanager
def daemon_on(phone: FakePhone, nspawn: Program) -> Iterator[Daemon]:
    """Named containers on the fake phone."""
    nspawn.environment |= phone.environment
    daemon = Daemon(nspawn)
    # On Android a container may ping, which is a setting of the network that it shares with us.
    ping = Path("/proc/sys/net/ipv4/ping_group_range")
    before = ping.read_text()
    try:
        yield daemon
    finally:
        daemon.end()
        ping.write_text(before)
