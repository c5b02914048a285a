"""The text of `nspawn doctor`: the machine, and each feature with what it costs to be without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nspawn.cli.show import clean, duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nspawn.android.device import Device
    from nspawn.service.features import Feature
    from nspawn.service.host import HostReport


def text(report: HostReport) -> str:
    """All of it, what is missing first in each group."""
    memory, disk = (f"{size(of['available'])} of {size(of['total'])}" for of in (report.memory, report.disk))
    config = "" if report.config else "; it does not tell its configuration"
    lines = [
        f"{report.system or 'Linux'}, kernel {report.kernel}, {report.arch}{config}",
        *(_phone(report.device) if report.device.android else []),
        f"memory {memory} available, disk {disk} free, up {duration(report.uptime)}",
        f"nspawn {report.versions['nspawn']}, Python {report.versions['python']}",
        f"spawner: process {report.spawner['pid']}" if report.spawner["running"] else "spawner: not running",
        *(f"  {each}" for each in report.spawner["refused"]),
        *_power(report.power),
        "",
        "Namespaces",
        *_features(report.namespaces),
        "",
        "Control groups",
        *_cgroups(report),
        "",
        "Features",
        *_features(report.features),
    ]
    return "\n".join(clean(line) for line in lines) + "\n"


def _phone(device: Device) -> list[str]:
    patch = f", patch {device.patch}" if device.patch else ""
    chip = f", {device.soc}" if device.soc else ""
    context = f" ({device.context})" if device.context else ""
    manager = f"{device.manager or 'something unknown'} {device.manager_version}".strip()
    android = f"Android {device.release or 'unknown'} (SDK {device.sdk or 'unknown'}){patch}"
    guards = f"SELinux {device.selinux or 'unknown'}{context}, seccomp {device.seccomp or 'unknown'}"
    lines = [f"{device.model or 'unknown model'}{chip}, {android}", f"rooted by {manager}, {guards}"]
    if device.seccomp == "filter":
        lines.append(
            "  This shell filters system calls; containers that the service starts have no such filter."
        )
    width = max(map(len, device.programs), default=0)
    lines += [
        f"  {name.ljust(width)}  {version or 'missing'}" for name, version in sorted(device.programs.items())
    ]
    return lines


def _power(power: Mapping[str, Any]) -> list[str]:
    lines = []
    battery, rules = power["battery"], power["rules"]
    if battery is not None:
        parts = []
        if battery["capacity"] is not None:
            parts.append(f"{battery['capacity']} %")
        if battery["celsius"] is not None:
            parts.append(f"{battery['celsius']:g} °C")
        parts.append(battery["status"] or "state unknown")
        if battery["health"]:
            parts.append(f"health {battery['health']}")
        lines.append(f"battery {', '.join(parts)}")
    if power["thermal"]:
        warmest = max(power["thermal"], key=lambda each: float(each["celsius"]))
        count = len(power["thermal"])
        lines.append(f"warmest of {count} sensors: {warmest['name']}, {warmest['celsius']:.1f} °C")
    freezing = []
    if rules["freeze_above"]:
        freezing.append(f"above {rules['freeze_above']:g} °C until below {rules['thaw_below']:g} °C")
    if rules["freeze_below_charge"]:
        freezing.append(f"below {rules['freeze_below_charge']} % until above {rules['thaw_above_charge']} %")
    if freezing:
        lines.append(f"pausable containers are frozen {', and '.join(freezing)}")
    return lines + ([power["problem"]] if power["problem"] else [])


def _cgroups(report: HostReport) -> list[str]:
    groups = report.cgroups
    if not groups["version"]:
        return [f"  no   {groups['why']}", f"       {groups['cost']}", f"       {groups['hint']}"]
    names = " ".join(groups["controllers"]) or "none"
    return [f"  yes  version {groups['version']} at {groups['path']}, controllers: {names}"]


def _features(features: Sequence[Feature]) -> list[str]:
    lines = []
    for each in sorted(features, key=lambda feature: {False: 0, None: 1, True: 2}[feature.have]):
        if each.have:
            continue
        mark = "no " if each.have is False else "?  "
        needs = f" ({each.config})" if each.config and each.config not in each.why else ""
        lines.append(f"  {mark}  {each.name}: {each.why}{needs}")
        lines += [f"       {told}" for told in (each.cost, each.hint) if told]
    have = [each for each in features if each.have]
    width = max((len(each.name) for each in have), default=0)
    lines += [f"  yes  {each.name.ljust(width)}  {each.how}".rstrip() for each in have]
    return lines
