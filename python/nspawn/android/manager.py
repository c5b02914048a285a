"""What rooted the phone, and its version: from the variables of its scripts, else from its files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from nspawn.android import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: (name, file that only this manager has, variable of its scripts), most specific first (facts: module).
MANAGERS = (
    ("APatch", "/data/adb/ap/bin/busybox", "APATCH"),
    ("KernelSU", "/data/adb/ksu/bin/busybox", "KSU"),
    ("Magisk", "/data/adb/magisk/busybox", "MAGISK_VER_CODE"),
)
#: Variables of the managers' scripts; KernelSU and APatch set Magisk's to made-up values as well.
_VERSION_OF = {
    "APatch": ("APATCH_VER", "APATCH_VER_CODE"),
    "KernelSU": ("KSU_VER", "KSU_VER_CODE"),
    "Magisk": ("MAGISK_VER", "MAGISK_VER_CODE"),
}


def find(environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> str:
    """Its name, or ""."""
    for name, _path, variable in MANAGERS:
        if environ.get(variable):
            return name
    return next((name for name, path, _variable in MANAGERS if exists(path)), "")


def busybox(name: str) -> str:
    """The path of this manager's busybox."""
    return next((path for known, path, _variable in MANAGERS if known == name), "")


def version(
    name: str,
    environ: Mapping[str, str],
    *,
    read: Callable[[str], str] | None = None,
    ask: Callable[..., str] = programs.first_line,
) -> str:
    """The manager's version, or "" when it does not tell.

    read: text of a file, "" without one; ask: the first line of a program's output.
    """
    read = _read if read is None else read
    for variable in _VERSION_OF.get(name, ()):
        if environ.get(variable):
            return environ[variable][:40]
    if name == "Magisk":
        found = re.search(
            r"^MAGISK_VER='?([^'\n]*)", read("/data/adb/magisk/util_functions.sh"), re.MULTILINE
        )
        return found[1][:40] if found else ""
    if name == "KernelSU":
        return ask("/data/adb/ksud", "-V").removeprefix("ksud ")
    if name == "APatch":
        return read("/data/adb/ap/version").strip()[:40] or ask("/data/adb/apd", "-V").removeprefix("apd ")
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 18)
    except OSError:
        return ""
