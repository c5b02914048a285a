"""The battery and what feeds it, from /sys/class/power_supply (sysfs-class-power)."""

from __future__ import annotations

import os

from nspawn.model.power import Reading

FOLDER = "/sys/class/power_supply"


def read(folder: str) -> Reading:
    """What the power rules go by.  folder: FOLDER, or that of a fake phone."""
    celsius: float | None = None
    charge: int | None = None
    plugged = False
    for name in supplies(folder):
        kind = text(f"{folder}/{name}/type")
        if kind == "Battery":
            if text(f"{folder}/{name}/scope") == "Device":
                continue  # of a stylus or a keyboard
            tenths, percent = number(f"{folder}/{name}/temp"), number(f"{folder}/{name}/capacity")
            celsius = celsius if tenths is None else tenths / 10
            charge = charge if percent is None else percent
        elif text(f"{folder}/{name}/online") == "1":
            plugged = True
    return Reading(celsius=celsius, charge=charge, plugged=plugged)


def supplies(folder: str) -> list[str]:
    """The names there; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def text(path: str) -> str:
    """What the file says, "" when it is not there or the driver refuses."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 256).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def number(path: str) -> int | None:
    """The whole number in the file."""
    try:
        return int(text(path))
    except ValueError:
        return None
