"""What the phone's battery and its temperature sensors say, for people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.kernel import battery
from nspawn.layout import phone

if TYPE_CHECKING:
    from collections.abc import Mapping

_THERMAL = "/sys/class/thermal"
#: What a sensor that is switched off says, in thousandths of a degree, lies outside of this.
_COLDEST, _HOTTEST = -50_000, 200_000


@dataclass(frozen=True, kw_only=True)
class Battery:
    """capacity: percent; celsius: its own; status, health: the kernel's words; plugged: whether it is fed."""

    capacity: int | None
    celsius: float | None
    status: str
    health: str
    plugged: bool

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "capacity": self.capacity,
            "celsius": self.celsius,
            "status": self.status,
            "health": self.health,
            "plugged": self.plugged,
        }


def read_battery(environ: Mapping[str, str] = os.environ) -> Battery | None:
    """None on a machine without one."""
    folder = phone(environ, battery.FOLDER)
    reading = battery.read(folder)
    name = next(
        (
            each
            for each in battery.supplies(folder)
            if battery.text(f"{folder}/{each}/type") == "Battery"
            and battery.text(f"{folder}/{each}/scope") != "Device"
        ),
        "",
    )
    if not name:
        return None
    return Battery(
        capacity=reading.charge,
        celsius=reading.celsius,
        status=battery.text(f"{folder}/{name}/status"),
        health=battery.text(f"{folder}/{name}/health"),
        plugged=reading.plugged,
    )


def read_thermal(environ: Mapping[str, str] = os.environ) -> list[tuple[str, float]]:
    """(name, degrees Celsius) of each sensor that measures now."""
    folder = phone(environ, _THERMAL)
    found = []
    for zone in battery.supplies(folder):
        if zone.startswith("thermal_zone"):
            value = battery.number(f"{folder}/{zone}/temp")
            name = battery.text(f"{folder}/{zone}/type") or zone
            if value is not None and value and _COLDEST < value < _HOTTEST:
                found.append((name, value / 1000))
    return found
