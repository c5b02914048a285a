"""The report on this machine: what it is, what it can do for containers, how it is just now."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nspawn
from nspawn.android import device
from nspawn.container.client import Client
from nspawn.container.guard import Guard
from nspawn.errors import NspawnError
from nspawn.service import features as found
from nspawn.service import netfeatures, readings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.layout import Layout


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """memory: bytes, total and available; uptime: seconds; load: of 1, 5 and 15 minutes.

    config: whether the kernel tells its configuration.
    """

    kernel: str
    arch: str
    system: str
    device: device.Device
    config: bool
    namespaces: tuple[found.Feature, ...]
    cgroups: Mapping[str, Any]
    features: tuple[found.Feature, ...]
    memory: Mapping[str, int]
    disk: Mapping[str, int]
    uptime: float
    load: tuple[float, ...]
    versions: Mapping[str, str]
    spawner: Mapping[str, Any]
    power: Mapping[str, Any]

    @property
    def problems(self) -> tuple[found.Feature, ...]:
        """What is missing and required: containers cannot run."""
        return tuple(each for each in (*self.namespaces, *self.features) if each.required and not each.have)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "kernel": self.kernel,
            "arch": self.arch,
            "system": self.system,
            "android": self.device.android,
            "device": self.device.as_dict(),
            "config": self.config,
            "namespaces": [each.as_dict() for each in self.namespaces],
            "cgroups": dict(self.cgroups),
            "features": [each.as_dict() for each in self.features],
            "memory": dict(self.memory),
            "disk": dict(self.disk),
            "uptime": self.uptime,
            "load": list(self.load),
            "versions": dict(self.versions),
            "spawner": dict(self.spawner),
            "power": dict(self.power),
        }


def report(layout: Layout, client: Client | None = None) -> HostReport:
    """Look at the machine; nothing is changed and nothing raises."""
    guard = Guard(layout, os.environ)
    spawner = _spawner(Client(layout) if client is None else client)
    return HostReport(
        kernel=platform.release(),
        arch=platform.machine(),
        system=_system(),
        device=device.look(os.environ),
        config=found.kernel_config() is not None,
        namespaces=tuple(found.of_namespaces(guard, spawner["lacks"])),
        cgroups=found.cgroups(),
        features=(
            *found.of_guard(guard),
            *found.of_kernel(netfeatures.REPLACED),
            *found.of_programs(),
            *netfeatures.of_network(os.environ),
        ),
        memory=readings.memory(),
        disk=readings.disk(layout),
        uptime=readings.uptime(),
        load=readings.load(),
        versions={"nspawn": nspawn.__version__, "python": platform.python_version()},
        spawner=spawner,
        power=readings.power(layout),
    )


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return ""


def _spawner(client: Client) -> dict[str, Any]:
    try:
        answer = client.call("ping")
    except NspawnError as error:
        return {"running": False, "why": str(error), "refused": [], "lacks": []}
    return {
        "running": True,
        "pid": answer.integer("pid"),
        "version": answer.text("version"),
        "refused": [value.decode("utf-8", "replace") for value in answer.all("refused")],
        "lacks": [value.decode("utf-8", "replace") for value in answer.all("lacks")],
    }
