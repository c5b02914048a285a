"""What phone this is, and what rooted it.  Everything may be absent: then it is said so, never an error."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nspawn.android import manager, programs, properties
from nspawn.layout import on_android

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECCOMP = {"0": "none", "1": "strict", "2": "filter"}


@dataclass(frozen=True, kw_only=True)
class Device:
    """Empty text for what is not known.

    manager: Magisk, KernelSU, APatch; selinux: enforcing or permissive; context: ours; seccomp: none, strict
    or filter, of this process; programs: what each tool says of its version; termux: called from Termux.
    """

    android: bool = False
    model: str = ""
    soc: str = ""
    release: str = ""
    sdk: str = ""
    patch: str = ""
    manager: str = ""
    manager_version: str = ""
    selinux: str = ""
    context: str = ""
    seccomp: str = ""
    termux: bool = False
    programs: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def look(
    environ: Mapping[str, str],
    read: Callable[[], Mapping[str, str]] = properties.read,
    versions: Callable[[str], dict[str, str]] = programs.versions,
) -> Device:
    """The device; on any other Linux machine only `android=False`.

    read: the phone's properties; versions: of the tools, by the path of the manager's busybox.
    """
    if not on_android(environ):
        return Device()
    props = read()
    name = manager.find(environ)
    return Device(
        android=True,
        model=model(props),
        soc=soc(props),
        release=props.get("ro.build.version.release", ""),
        sdk=props.get("ro.build.version.sdk", ""),
        patch=props.get("ro.build.version.security_patch", ""),
        manager=name,
        manager_version=manager.version(name, environ),
        selinux=_selinux(),
        context=_line("/proc/self/attr/current").strip("\0"),
        seccomp=_seccomp(),
        termux="com.termux" in environ.get("PREFIX", "") + environ.get("HOME", ""),
        programs=versions(manager.busybox(name)),
    )


def model(props: Mapping[str, str]) -> str:
    """Maker and model, without saying the maker twice."""
    maker, name = props.get("ro.product.manufacturer", ""), props.get("ro.product.model", "")
    if name.lower().startswith(maker.lower()):
        return name
    return f"{maker} {name}".strip()


def soc(props: Mapping[str, str]) -> str:
    """The chip: named since Android 12, before that by its board."""
    named = f"{props.get('ro.soc.manufacturer', '')} {props.get('ro.soc.model', '')}".strip()
    return named or props.get("ro.board.platform", "") or props.get("ro.hardware", "")


def _selinux() -> str:
    return {"1": "enforcing", "0": "permissive"}.get(_line("/sys/fs/selinux/enforce")[:1], "")


def _seccomp() -> str:
    """Of this process: some managers' shells carry a filter, which costs namespaces (facts: module)."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    value = next((line[8:].strip() for line in lines if line.startswith("Seccomp:")), "")
    return _SECCOMP.get(value, value)


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""
