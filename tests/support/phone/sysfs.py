"""Fakes of what a phone's /sys has and this machine has not: battery, temperatures, wake locks."""

from __future__ import annotations

from pathlib import Path

BATTERY = {
    "type": "Battery",
    "capacity": "87",
    "health": "Good",
    "present": "1",
    "status": "Discharging",
    "temp": "300",
}
USB = {"type": "USB", "online": "0"}


def make(shared: Path) -> None:
    """The folders power_supply, thermal and power, which the phone sees in /sys."""
    write(shared / "power_supply/battery", BATTERY)
    write(shared / "power_supply/usb", USB)
    write(shared / "thermal/thermal_zone0", {"type": "cpu-0-0", "temp": "41000"})
    write(shared / "power", {"wake_lock": "", "wake_unlock": "", "state": "freeze mem"})


def write(folder: Path, values: dict[str, str]) -> None:
    """Set attributes, and the uevent file that tells the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n" if value else "")
    if folder.parent.name == "power_supply":
        attributes = {path.name: path.read_text().strip() for path in folder.iterdir()}
        attributes.pop("uevent", None)
        lines = [f"POWER_SUPPLY_NAME={folder.name}"]
        lines += [f"POWER_SUPPLY_{name.upper()}={value}" for name, value in sorted(attributes.items())]
        (folder / "uevent").write_text("\n".join(lines) + "\n")
