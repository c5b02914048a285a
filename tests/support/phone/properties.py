"""The property area of an emulated phone, from outside.

Real are the place and the shape of what a program waits at: /dev/__properties__/properties_serial, whose
header has the area's serial at offset 4, woken by a futex at each change (bionic, prop_area).  The values
themselves are one file each, for the fakes of getprop and setprop.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from pathlib import Path

#: struct prop_area: bytes_used, serial, magic "PROP", version, 28 reserved words.
_HEADER = struct.Struct("<IIII28I")
_MAGIC, _VERSION = 0x504F5250, 0xFC6ED0AB
_AREA = 128 * 1024
_FUTEX = {"x86_64": 202, "aarch64": 98}
_FUTEX_WAKE, _EVERYBODY = 1, 2**31 - 1


class Properties:
    """folder: what the phone sees as /dev/__properties__."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = folder / "fake"
        self.values.mkdir(parents=True)
        (folder / "properties_serial").write_bytes(
            _HEADER.pack(0, 0, _MAGIC, _VERSION, *[0] * 28).ljust(_AREA, b"\0")
        )
        with open(folder / "properties_serial", "r+b") as file:
            self._area = mmap.mmap(file.fileno(), _HEADER.size)
        self._serial = ctypes.c_uint32.from_buffer(self._area, 4)

    def get(self, name: str) -> str:
        """The value, or the empty text."""
        try:
            return (self.values / name).read_text().removesuffix("\n")
        except FileNotFoundError:
            return ""

    def set(self, name: str, value: str) -> None:
        """As init's property service does it: the value, then the serial, then those who wait."""
        half = self.values / f".{name}.{os.getpid()}"
        half.write_text(value + "\n")
        half.rename(self.values / name)
        self.changed()

    def changed(self) -> None:
        """One more change: raise the serial and wake everybody who waits for it."""
        self._serial.value = (self._serial.value + 1) % 2**32
        libc = ctypes.CDLL(None, use_errno=True)
        number = _FUTEX[platform.machine()]
        libc.syscall(number, ctypes.byref(self._serial), _FUTEX_WAKE, _EVERYBODY, None, None, 0)

    @property
    def serial(self) -> int:
        value: int = self._serial.value
        return value
