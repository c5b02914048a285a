"""What phone this is, and what rooted it.  Everything may be absent: then it is said so, never an error."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.layout import on_android

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: (name, folder or file that only this manager has), most specific first (facts: module).
_MANAGERS = (
    ("APatch", "/data/adb/ap/bin/busybox"),
    ("KernelSU", "/data/adb/ksu/bin/busybox"),
    ("Magisk", "/data/adb/magisk/busybox"),
)
_GETPROP = "/system/bin/getprop"
_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Device:
    """Empty text for what is not known.  manager: Magisk, KernelSU, APatch; termux: called from Termux."""

    android: bool = False
    model: str = ""
    release: str = ""
    sdk: str = ""
    patch: str = ""
    manager: str = ""
    selinux: str = ""
    termux: bool = False

    def as_dict(self) -> dict[str, str | bool]:
        """The JSON form."""
        return {
            "android": self.android,
            "model": self.model,
            "release": self.release,
            "sdk": self.sdk,
            "patch": self.patch,
            "manager": self.manager,
            "selinux": self.selinux,
            "termux": self.termux,
        }


def getprop(name: str) -> str:
    """One system property, or "" when there is none or nobody to ask."""
    try:
        result = subprocess.run(
            [_GETPROP, name], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.decode("utf-8", "replace").strip()


def find_manager(environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> str:
    """Who rooted the phone: by the variables of its scripts, else by its files."""
    for variable, name in (("APATCH", "APatch"), ("KSU", "KernelSU"), ("MAGISK_VER_CODE", "Magisk")):
        if environ.get(variable):
            return name
    return next((name for name, path in _MANAGERS if exists(path)), "")


def look(environ: Mapping[str, str], prop: Callable[[str], str] = getprop) -> Device:
    """The device; on any other Linux machine only `android=False`."""
    if not on_android(environ):
        return Device()
    return Device(
        android=True,
        model=" ".join(part for part in map(prop, ("ro.product.manufacturer", "ro.product.model")) if part),
        release=prop("ro.build.version.release"),
        sdk=prop("ro.build.version.sdk"),
        patch=prop("ro.build.version.security_patch"),
        manager=find_manager(environ),
        selinux=_selinux(),
        termux="com.termux" in environ.get("PREFIX", "") + environ.get("HOME", ""),
    )


def _selinux() -> str:
    try:
        with open("/sys/fs/selinux/enforce", encoding="ascii") as file:
            return "enforcing" if file.read(1) == "1" else "permissive"
    except OSError:
        return ""
