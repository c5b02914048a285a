"""What this machine can do for containers, what it lacks, what that costs, and what can be done."""

from __future__ import annotations

import functools
import gzip
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nspawn
from nspawn.android import device, power
from nspawn.container.client import Client
from nspawn.container.guard import Guard
from nspawn.errors import NspawnError
from nspawn.images import builtin
from nspawn.kernel import cgroup, namespaces
from nspawn.model.guard import FEATURES
from nspawn.service import config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.layout import Layout

OLDEST = (4, 19)

#: What each namespace is for: the cost of its absence.
_NAMESPACES = {
    "mnt": "Without it nothing can run.",
    "pid": "Containers see the host's processes and have no process 1: a service manager cannot boot.",
    "ipc": "Containers share System V memory and message queues with the host.",
    "uts": "Containers have the host's name.",
    "cgroup": "Containers see where their cgroup is on the host.",
    "time": "Containers have the host's uptime; nothing else changes.",
    "net": "Containers can use only the host's network.",
}
_REQUIRED = frozenset(("mnt",))
_BUILD = "Build or flash a kernel with {}; a module cannot add it."
#: (name, kernel options that all are needed, cost).  Looked up where the kernel tells its configuration.
_OPTIONS = (
    ("overlay", ("OVERLAY_FS",), "--ephemeral is not possible."),
    ("fuse", ("FUSE_FS",), "No sshfs, rclone or AppImage in containers."),
    ("tun", ("TUN",), "No VPN in containers."),
    ("veth", ("VETH", "BRIDGE"), "A network of their own cannot be joined to the host's."),
    ("nat", ("NF_NAT", "IP_NF_NAT"), "A network of their own cannot reach the internet."),
    ("mqueue", ("POSIX_MQUEUE",), "No POSIX message queues in containers."),
    ("sysvipc", ("SYSVIPC",), "No System V memory: PostgreSQL before 9.3, some X programs."),
    (
        "memory limit",
        ("MEMCG",),
        "The memory of containers cannot be limited, nor their end for want of it told.",
    ),
    ("process limit", ("CGROUP_PIDS",), "The number of processes cannot be limited."),
    ("processor limit", ("CFS_BANDWIDTH",), "Processor time cannot be capped."),
    ("device rules", ("CGROUP_DEVICE",), "Access to devices is ruled by which nodes are in /dev only."),
    ("binfmt", ("BINFMT_MISC",), "Programs of other processors cannot be run by qemu."),
    ("seccomp", ("SECCOMP_FILTER",), "System calls cannot be filtered."),
)
_SHOWN_BY_FILE = {
    "overlay": ("/proc/filesystems", r"^nodev\toverlay$"),
    "fuse": ("/proc/filesystems", r"^nodev\tfuse$"),
    "mqueue": ("/proc/filesystems", r"^nodev\tmqueue$"),
    "binfmt": ("/proc/filesystems", r"^nodev\tbinfmt_misc$"),
}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Something the machine has or lacks.  have: None when it cannot be told.

    why: the reason it is missing; config: the CONFIG_ names it needs; cost: what a person misses;
    hint: what to do.
    """

    name: str
    have: bool | None
    why: str = ""
    config: str = ""
    cost: str = ""
    hint: str = ""
    required: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "have": self.have,
            "why": self.why,
            "config": self.config,
            "cost": self.cost,
            "hint": self.hint,
            "required": self.required,
        }


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """memory: bytes, total and available; uptime: seconds; load: of 1, 5 and 15 minutes."""

    kernel: str
    arch: str
    system: str
    device: device.Device
    namespaces: tuple[Feature, ...]
    cgroups: Mapping[str, Any]
    features: tuple[Feature, ...]
    memory: Mapping[str, int]
    disk: Mapping[str, int]
    uptime: float
    load: tuple[float, ...]
    versions: Mapping[str, str]
    spawner: Mapping[str, Any]
    power: Mapping[str, Any]

    @property
    def problems(self) -> tuple[Feature, ...]:
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
    config = kernel_config()
    guard = Guard(layout, os.environ)
    return HostReport(
        kernel=platform.release(),
        arch=platform.machine(),
        system=_system(),
        device=device.look(os.environ),
        namespaces=tuple(_namespaces(guard)),
        cgroups=_cgroups(),
        features=(
            _root(),
            _kernel(),
            *_guard(guard),
            *(_option(name, config) for name, _c, _t in _OPTIONS),
            *_programs(),
        ),
        memory=_memory(),
        disk=_disk(layout),
        uptime=_uptime(),
        load=tuple(round(value, 2) for value in os.getloadavg()),
        versions={"nspawn": nspawn.__version__, "python": platform.python_version()},
        spawner=_spawner(Client(layout) if client is None else client),
        power=_power(layout),
    )


def _power(layout: Layout) -> dict[str, Any]:
    """Battery, temperatures, and the rules of config.toml."""
    battery = power.read_battery(os.environ)
    found = config.load(layout)
    return {
        "battery": None if battery is None else battery.as_dict(),
        "thermal": [{"name": name, "celsius": celsius} for name, celsius in power.read_thermal(os.environ)],
        "rules": found.power.as_dict(),
        "problem": str(found.problem or found.power_problem or ""),
    }


@functools.cache
def kernel_config() -> Mapping[str, str] | None:
    """The kernel's configuration (y or m by name, without CONFIG_), None where it does not tell."""
    for path in ("/proc/config.gz", f"/boot/config-{platform.release()}"):
        try:
            with open(path, "rb") as file:
                data = file.read(4 << 20)
        except OSError:
            continue
        try:
            text = (gzip.decompress(data) if path.endswith(".gz") else data).decode("ascii", "replace")
        except (OSError, EOFError):
            continue
        found = dict(re.findall(r"^CONFIG_(\w+)=([ym])$", text, re.MULTILINE))
        if found:
            return found
    return None


@functools.cache
def usable_namespaces(wanted: int) -> int:
    """Those of these flags that a process of ours may really unshare, tried in a process without threads."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nspawn.kernel import namespaces as n;"
        f"print(n.usable({wanted}))"
    )
    python = os.path.dirname(os.path.dirname(os.path.abspath(nspawn.__file__)))
    try:
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, python], capture_output=True, timeout=10, check=True
        )
        return int(result.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return wanted


def _namespaces(guard: Guard) -> list[Feature]:
    available = namespaces.available()
    # What is forbidden or was never tried on this kernel is not tried here, without a note.
    untried = namespaces.flags_of([name for name in FEATURES if not guard.is_proven(name)])
    untried |= namespaces.flags_of(guard.never)
    usable = usable_namespaces(available & ~untried) | available & untried
    found = []
    for name, flag, option in namespaces.NAMESPACES:
        config = f"CONFIG_{option}"
        if name in guard.never:
            why, hint = "you chose never to use it", f"Use it again: nspawn guard allow {name}"
            cost = _NAMESPACES[name]
            found.append(Feature(name=name, have=False, why=why, config=config, cost=cost, hint=hint))
            continue
        if usable & flag:
            found.append(Feature(name=name, have=True, config=config, required=name in _REQUIRED))
            continue
        if available & flag:
            why = "the kernel has it, but refuses it to us"
            hint = "Run as root, outside of other containers and seccomp filters."
        else:
            why, hint = f"the kernel was built without {config}", _BUILD.format(config)
        cost = _NAMESPACES[name]
        required = name in _REQUIRED
        found.append(
            Feature(name=name, have=False, why=why, config=config, cost=cost, hint=hint, required=required)
        )
    return found


def _option(name: str, config: Mapping[str, str] | None) -> Feature:
    _name, options, cost = next(item for item in _OPTIONS if item[0] == name)
    names = " ".join(f"CONFIG_{option}" for option in options)
    have = _shown(name)
    why = ""
    if not have and config is not None:
        missing = [option for option in options if option not in config]
        have = not missing
        why = f"the kernel was built without CONFIG_{missing[0]}" if missing else ""
    elif not have:
        have, why = None, "the kernel does not tell its configuration"
    if have:
        return Feature(name=name, have=True, config=names)
    hint = _BUILD.format(names) if have is False else ""
    return Feature(name=name, have=have, why=why, config=names, cost=cost, hint=hint)


def _shown(name: str) -> bool | None:
    """What a file shows: loaded or built in.  None when no file tells."""
    if name not in _SHOWN_BY_FILE:
        return None
    path, pattern = _SHOWN_BY_FILE[name]
    return re.search(pattern, _text(path), re.MULTILINE) is not None or None


def _root() -> Feature:
    if os.geteuid() == 0:
        return Feature(name="root", have=True, required=True)
    why, hint = "this process is not root", "Use su or sudo."
    return Feature(name="root", have=False, why=why, cost="Nothing can run.", hint=hint, required=True)


def _guard(guard: Guard) -> list[Feature]:
    """Whether the crash guard lets containers start; nothing where there is none."""
    if not guard.active:
        return []
    try:
        guard.check()
    except NspawnError as error:
        cost = "No container is started."
        return [Feature(name="crash guard", have=False, why=error.why, cost=cost, hint=error.hint)]
    return [Feature(name="crash guard", have=True)]


def _kernel() -> Feature:
    if _release() >= OLDEST:
        return Feature(name="kernel", have=True, required=True)
    return Feature(
        name="kernel",
        have=False,
        why=f"{platform.release()} is older than {OLDEST[0]}.{OLDEST[1]}",
        cost="Nothing can run.",
        hint="Update the system of this phone or machine.",
        required=True,
    )


def _programs() -> list[Feature]:
    try:
        builtin.find_busybox(platform.machine())
        found = [Feature(name="built-in rootfs", have=True)]
    except NspawnError as error:
        cost = "`--image builtin` is not possible."
        found = [Feature(name="built-in rootfs", have=False, why=error.why, cost=cost, hint=error.hint)]
    if shutil.which("zstd"):
        found.append(Feature(name="zstd", have=True))
    else:
        why, cost = "there is no zstd program", "Archives compressed by zstd cannot be unpacked."
        found.append(Feature(name="zstd", have=False, why=why, cost=cost, hint="Install zstd, or use xz."))
    return found


def _cgroups() -> dict[str, Any]:
    try:
        hierarchy = cgroup.find()
    except OSError:
        hierarchy = cgroup.Hierarchy("", 0)
    controllers = _text(f"{hierarchy.path}/cgroup.controllers").split() if hierarchy.version == 2 else []
    if hierarchy.memory and "memory" not in controllers:
        controllers.append("memory")
    why = cost = hint = ""
    if not hierarchy.version:
        why = "no hierarchy is mounted"
        cost = "Processes that leave their session cannot be counted or ended."
        hint = "Mount one: mount -t cgroup2 none /sys/fs/cgroup"
    kill = hierarchy.version == 2 and _release() >= (5, 14)
    return {
        "version": hierarchy.version,
        "path": hierarchy.path,
        "controllers": controllers,
        "kill": kill,
        "why": why,
        "cost": cost,
        "hint": hint,
    }


def _release() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _memory() -> dict[str, int]:
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE))
    return {
        "total": int(fields.get("MemTotal", 0)) * 1024,
        "available": int(fields.get("MemAvailable", 0)) * 1024,
        "swap_total": int(fields.get("SwapTotal", 0)) * 1024,
        "swap_free": int(fields.get("SwapFree", 0)) * 1024,
    }


def _disk(layout: Layout) -> dict[str, int]:
    path = layout.root
    while True:
        try:
            disk = os.statvfs(path)
        except OSError:
            if path in ("", "/"):
                return {"total": 0, "available": 0}
            path = os.path.dirname(path)
        else:
            return {"total": disk.f_blocks * disk.f_frsize, "available": disk.f_bavail * disk.f_frsize}


def _uptime() -> float:
    text = _text("/proc/uptime").split()
    return float(text[0]) if text else 0.0


def _system() -> str:
    found = re.search(r'^PRETTY_NAME="?(.*?)"?$', _text("/etc/os-release"), re.MULTILINE)
    return found[1] if found else ""


def _spawner(client: Client) -> dict[str, Any]:
    try:
        answer = client.call("ping")
    except NspawnError as error:
        return {"running": False, "why": str(error), "refused": []}
    return {
        "running": True,
        "pid": answer.integer("pid"),
        "version": answer.text("version"),
        "refused": [value.decode("utf-8", "replace") for value in answer.all("refused")],
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
