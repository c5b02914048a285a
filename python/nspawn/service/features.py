"""What the kernel and the machine have or lack for containers: why, what that costs, what can be done."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import nspawn
from nspawn.errors import NspawnError
from nspawn.images import builtin, zstandard
from nspawn.kernel import cgroup, config, namespaces
from nspawn.model import features as wanted
from nspawn.model.guard import FEATURES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nspawn.container.guard import Guard

#: The hint for what a kernel lacks.
BUILD = "Build or flash a kernel with {}; a module cannot add it."
_SAID = {"y": "built in", "m": "a module of the kernel"}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Something the machine has or lacks.  have: None when it cannot be told.

    how: by what it is there; why: the reason it is missing; config: the CONFIG_ names it needs; cost: what a
    person misses; hint: what to do.
    """

    name: str
    have: bool | None
    how: str = ""
    why: str = ""
    config: str = ""
    cost: str = ""
    hint: str = ""
    required: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@functools.cache
def kernel_config() -> Mapping[str, str] | None:
    """The kernel's configuration, read once per process; None where it does not tell."""
    return config.read()


@functools.cache
def usable_namespaces(flags: int) -> int:
    """Those of these flags that a process of ours may really unshare, tried in a process without threads."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nspawn.kernel import namespaces as n;"
        f"print(n.usable({flags}))"
    )
    python = os.path.dirname(os.path.dirname(os.path.abspath(nspawn.__file__)))
    try:
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, python], capture_output=True, timeout=10, check=True
        )
        return int(result.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return flags


def of_namespaces(guard: Guard, refused: Collection[str] = ()) -> list[Feature]:
    """Each kind of namespace.  refused: those that the kernel has been seen to show and yet refuse."""
    available = namespaces.available()
    # What is forbidden or was never tried on this kernel is not tried here, without a note.
    untried = namespaces.flags_of([name for name in FEATURES if not guard.is_proven(name)])
    untried |= namespaces.flags_of(guard.never)
    usable = usable_namespaces(available & ~untried) | available & untried
    usable &= ~namespaces.flags_of(refused)
    found = []
    for name, flag, option in namespaces.NAMESPACES:
        names = f"CONFIG_{option}"
        required = name in wanted.REQUIRED
        if name in guard.never:
            why, hint = "you chose never to use it", f"Use it again: `nspawn guard allow {name}`"
            cost = wanted.NAMESPACES[name][0]
            found.append(Feature(name=name, have=False, why=why, config=names, cost=cost, hint=hint))
            continue
        if usable & flag:
            how = "not tried on this kernel yet" if untried & flag else "tried"
            found.append(Feature(name=name, have=True, how=how, config=names, required=required))
            continue
        if available & flag:
            why = "the kernel has it, but refuses it to us"
            hint = "Run as root, outside of other containers and seccomp filters."
        else:
            why, hint = f"the kernel was built without {names}", BUILD.format(names)
        cost = wanted.NAMESPACES[name][0]
        found.append(
            Feature(name=name, have=False, why=why, config=names, cost=cost, hint=hint, required=required)
        )
    return found


def of_guard(guard: Guard) -> list[Feature]:
    """Whether the crash guard lets containers start; nothing where there is none."""
    if not guard.active:
        return []
    try:
        guard.check()
    except NspawnError as error:
        cost = "No container is started."
        return [Feature(name="crash guard", have=False, why=error.why, cost=cost, hint=error.hint)]
    return [Feature(name="crash guard", have=True, how="nothing happened")]


def of_kernel(without: Collection[str] = ()) -> list[Feature]:
    """What is decided when a kernel is built.  without: rows that others tell better."""
    options = [option for option in wanted.OPTIONS if option[0] not in without]
    return [_root(), _oldest(), *(_option(*option[:3]) for option in options)]


def _option(name: str, options: tuple[str, ...], cost: str) -> Feature:
    names = " ".join(f"CONFIG_{option}" for option in options)
    known = kernel_config()
    shown = shown_by(name)
    if shown or (known is not None and all(option in known for option in options)):
        how = shown
        if known is not None and options[0] in known:
            how = _SAID[known[options[0]]]
        return Feature(name=name, have=True, how=how, config=names)
    if known is None:
        why = "the kernel does not tell its configuration"
        return Feature(name=name, have=None, why=why, config=names, cost=cost)
    missing = next(option for option in options if option not in known)
    why = f"the kernel was built without CONFIG_{missing}"
    return Feature(name=name, have=False, why=why, config=names, cost=cost, hint=BUILD.format(names))


def shown_by(name: str) -> str:
    """The file that shows that it is there, loaded or built in; "" when none does."""
    if name in wanted.SHOWN_AS:
        try:
            with open("/proc/filesystems", encoding="ascii", errors="replace") as file:
                if wanted.SHOWN_AS[name] in file.read().split():
                    return "/proc/filesystems"
        except OSError:
            pass
    path = wanted.SHOWN_BY.get(name, "")
    return path if path and os.path.lexists(path) else ""


def _root() -> Feature:
    if os.geteuid() == 0:
        return Feature(name="root", have=True, how="user 0", required=True)
    why, hint = "this process is not root", "Use su or sudo."
    return Feature(name="root", have=False, why=why, cost="Nothing can run.", hint=hint, required=True)


def _oldest() -> Feature:
    release = platform.release()
    if wanted.version(release) >= wanted.OLDEST:
        return Feature(name="kernel", have=True, how=release, required=True)
    return Feature(
        name="kernel",
        have=False,
        why="{} is older than {}.{}".format(release, *wanted.OLDEST),
        cost="Nothing can run.",
        hint="Update the system of this phone or machine.",
        required=True,
    )


def of_programs() -> list[Feature]:
    """What is no part of the kernel."""
    try:
        busybox = builtin.find_busybox(platform.machine())
        found = [Feature(name="built-in rootfs", have=True, how=busybox)]
    except NspawnError as error:
        cost = "`--image builtin` is not possible."
        found = [Feature(name="built-in rootfs", have=False, why=error.why, cost=cost, hint=error.hint)]
    zstd = zstandard.found()
    if zstd:
        found.append(Feature(name="zstd", have=True, how=zstd))
    else:
        why, cost = "there is no zstd", "Archives compressed by zstd cannot be read or written."
        found.append(Feature(name="zstd", have=False, why=why, cost=cost, hint="Use gzip or xz instead."))
    return found


def cgroups() -> dict[str, Any]:
    """The hierarchy that is used: version (0 for none), path, controllers, kill; why, cost, hint of none."""
    try:
        hierarchy = cgroup.find()
    except OSError:
        hierarchy = cgroup.Hierarchy("", 0)
    controllers: list[str] = []
    if hierarchy.version == 2:
        try:
            with open(f"{hierarchy.path}/cgroup.controllers", encoding="ascii") as file:
                controllers = file.read().split()
        except OSError:
            pass
    if hierarchy.memory and "memory" not in controllers:
        controllers.append("memory")
    why = cost = hint = ""
    if not hierarchy.version:
        why = "no hierarchy is mounted"
        cost = "Processes that leave their session cannot be counted or ended."
        hint = "Mount one: mount -t cgroup2 none /sys/fs/cgroup"
    return {
        "version": hierarchy.version,
        "path": hierarchy.path,
        "controllers": controllers,
        "kill": hierarchy.version == 2 and wanted.version(platform.release()) >= (5, 14),
        "why": why,
        "cost": cost,
        "hint": hint,
    }
