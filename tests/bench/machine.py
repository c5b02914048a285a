"""Facts about the machine of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tests.bench import program


def facts(folder: Path) -> dict[str, str]:
    """What the figures depend on. folder: where the rootfs was."""
    return {
        "processor": f"{_after('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(_after('/proc/meminfo', 'MemTotal').split()[0]) // 1024} MB",
        "kernel": f"{platform.release()} {platform.machine()}",
        "system": _after("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "file system of the rootfs": _filesystem(folder),
        "Python of nspawn": f"{_version()}, {os.path.realpath(program.interpreter())}",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
    }


def _after(path: str, key: str, separator: str = ":") -> str:
    for line in Path(path).read_text().splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip()
    return "unknown"


def _filesystem(folder: Path) -> str:
    """The type of the mount with the longest matching path in /proc/self/mountinfo."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        front, _, back = line.partition(" - ")
        place = front.split()[4]
        if len(place) >= len(best) and f"{folder}/".startswith(f"{place.rstrip('/')}/"):
            best, kind = place, back.split()[0]
    return kind


def _version() -> str:
    run = subprocess.run(
        [program.interpreter(), "-I", "-S", "--version"], capture_output=True, text=True, check=True
    )
    return run.stdout.strip().removeprefix("Python ")
