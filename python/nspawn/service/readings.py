"""What changes from minute to minute: read while somebody looks at the page, so it costs a few file reads."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from nspawn.android import power as phone_power
from nspawn.service import config

if TYPE_CHECKING:
    from nspawn.layout import Layout


class Readings:
    """All of them, as they are now."""

    def __init__(self, layout: Layout) -> None:
        self._found = {
            "memory": memory(),
            "disk": disk(layout),
            "uptime": uptime(),
            "load": list(load()),
            "processors": os.cpu_count() or 1,
            "power": power(layout),
        }

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return dict(self._found)


def memory() -> dict[str, int]:
    """Bytes: total, available, swap_total, swap_free."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE))
    return {
        "total": int(fields.get("MemTotal", 0)) * 1024,
        "available": int(fields.get("MemAvailable", 0)) * 1024,
        "swap_total": int(fields.get("SwapTotal", 0)) * 1024,
        "swap_free": int(fields.get("SwapFree", 0)) * 1024,
    }


def disk(layout: Layout) -> dict[str, int]:
    """Bytes, total and available, of the file system with the state."""
    path = layout.root
    while True:
        try:
            found = os.statvfs(path)
        except OSError:
            if path in ("", "/"):
                return {"total": 0, "available": 0}
            path = os.path.dirname(path)
        else:
            return {"total": found.f_blocks * found.f_frsize, "available": found.f_bavail * found.f_frsize}


def uptime() -> float:
    """Seconds since the boot."""
    text = _text("/proc/uptime").split()
    return float(text[0]) if text else 0.0


def load() -> tuple[float, ...]:
    """Of 1, 5 and 15 minutes."""
    return tuple(round(value, 2) for value in os.getloadavg())


def power(layout: Layout) -> dict[str, Any]:
    """Battery, temperatures, and the rules of config.toml."""
    battery = phone_power.read_battery(os.environ)
    found = config.load(layout)
    thermal = phone_power.read_thermal(os.environ)
    return {
        "battery": None if battery is None else battery.as_dict(),
        "thermal": [{"name": name, "celsius": celsius} for name, celsius in thermal],
        "rules": found.power.as_dict(),
        "problem": str(found.problem or found.power_problem or ""),
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
