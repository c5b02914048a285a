"""What this machine is like, for the steps that finish a new root file system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

from nspawn.android import properties
from nspawn.layout import on_android, phone
from nspawn.model import dnsservers
from nspawn.model.features import version
from nspawn.model.finish import HostFacts
from nspawn.service import config, features

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.layout import Layout

_RESOLV = "/etc/resolv.conf"
_LARGEST = 1 << 16
_FIRST = "# Written by nspawn when this was made; with a network of its own each start writes it anew.\n"
_OPTION = "ANDROID_PARANOID_NETWORK"
#: No newer kernel has the option (facts: quirks).
_LAST_PARANOID = (5, 3)
_NOBODY = 65534
#: Exits with 13 when a user without groups may not open a socket.
_TRY = (
    "import os, socket, sys\n"
    f"os.setgroups([]); os.setresgid({_NOBODY}, {_NOBODY}, {_NOBODY}); "
    f"os.setresuid({_NOBODY}, {_NOBODY}, {_NOBODY})\n"
    "try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "except PermissionError: sys.exit(13)\n"
)


def facts(
    layout: Layout,
    environ: Mapping[str, str] = os.environ,
    read: Callable[[], Mapping[str, str]] = properties.read,
) -> HostFacts:
    """What the steps need to know.  read: the phone's properties."""
    android = on_android(environ)
    props = read() if android else {}
    return HostFacts(
        groups=_needs_groups(android=android),
        resolv=resolv(layout, environ),
        timezone=timezone(environ, props, android=android),
        locale=locale(environ, props),
    )


def resolv(layout: Layout, environ: Mapping[str, str]) -> str:
    """A resolv.conf for programs with the host's network.

    A Linux machine's own is right for them too.  A phone has none, and its servers change with its uplinks:
    then it is what config.toml names, else a public one.
    """
    if not on_android(environ):
        try:
            with open(phone(environ, _RESOLV), encoding="utf-8", errors="replace") as file:
                text = file.read(_LARGEST)
        except OSError:
            text = ""
        if dnsservers.of_resolv_conf(text):
            words = ("nameserver", "search", "domain", "options")
            kept = [
                line.strip() for line in text.splitlines() if line.split()[:1] and line.split()[0] in words
            ]
            return _FIRST + "".join(f"{line}\n" for line in kept)
    servers = config.load(layout).network.dns or dnsservers.LAST_RESORT
    return _FIRST + "".join(f"nameserver {server}\n" for server in servers)


def timezone(environ: Mapping[str, str], props: Mapping[str, str], *, android: bool) -> str:
    """As "Europe/Berlin"; "" when it cannot be told."""
    if android:
        return props.get("persist.sys.timezone", "")
    try:
        real = os.path.realpath(phone(environ, "/etc/localtime"))
    except OSError:
        return ""
    return real.partition("/zoneinfo/")[2].removeprefix("posix/")


def locale(environ: Mapping[str, str], props: Mapping[str, str]) -> str:
    """As "de_DE"; "" when it cannot be told, or is none that a Linux system names so."""
    tag = props.get("persist.sys.locale", "") or props.get("ro.product.locale", "")
    if not tag:
        tag = environ.get("LC_ALL") or environ.get("LANG") or ""
        tag = tag.partition(".")[0].partition("@")[0].replace("_", "-")
    # BCP 47: language, a script, a region, more; "zh-Hans-CN" is zh_CN.
    language, *rest = tag.split("-")
    region = next((part for part in rest if len(part) == 2 and part.isalpha()), "")
    if not (2 <= len(language) <= 3 and language.isalpha() and language.isascii()) or not region:
        return ""
    return f"{language.lower()}_{region.upper()}"


def _needs_groups(*, android: bool) -> bool:
    """Whether this kernel lets only Android's groups open sockets: told, or else tried."""
    known = features.kernel_config()
    if known is not None:
        return _OPTION in known
    if not android or version(platform.release()) > _LAST_PARANOID:
        return False
    try:
        return subprocess.run([sys.executable, "-I", "-S", "-c", _TRY], timeout=20).returncode == 13
    except (OSError, subprocess.SubprocessError):
        return False
