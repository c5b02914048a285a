"""`nspawn doctor --brief`: what the kernel offers, for the screen on which the module is flashed.

It runs before the first boot with the module: it needs no state and no service, imports little, and tries
nothing that a bad kernel would not survive.
"""

from __future__ import annotations

import os
import sys

from nspawn.container.guard import Guard
from nspawn.kernel import cgroup, config, namespaces
from nspawn.layout import Layout
from nspawn.model import features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 45


def main() -> int:
    """The exit status: 0 unless containers cannot run here."""
    # What the user forbade, where a module was here before; no note of the guard is needed to read that.
    never = Guard(Layout.from_environment(os.environ), os.environ).never
    spaces = [name for name in namespaces.names(namespaces.available()) if name not in never]
    lines, status = report(os.uname().release, spaces, config.read(), _cgroup_version(), sorted(never))
    sys.stdout.write("\n".join(lines) + "\n")
    return status


def report(
    release: str,
    spaces: Sequence[str],
    options: Mapping[str, str] | None,
    cgroups: int,
    never: Sequence[str] = (),
) -> tuple[list[str], int]:
    """(lines, exit status).  spaces: names of namespaces; cgroups: version of the hierarchy, 0 for none.

    never: namespaces that the user chose not to use, which are not among spaces.
    """
    fatal = []
    if features.version(release) < features.OLDEST:
        fatal.append("the kernel is older than {}.{}".format(*features.OLDEST))
    if not features.REQUIRED.issubset(spaces):
        fatal.append("the kernel has no mount namespaces (CONFIG_NAMESPACES)")
    lines = features.wrap(f"Kernel {release}", _WIDTH, "", "  ")
    for text in fatal:
        lines += features.wrap(f"Containers cannot run: {text}.", _WIDTH, "", "  ")
    if fatal:
        return lines, 1
    lines.append("Containers can run.")
    missing = [
        (f"{name}, by your choice" if name in never else f"CONFIG_{option}", features.NAMESPACES[name][1])
        for name, _flag, option in namespaces.NAMESPACES
        if name not in spaces
    ]
    if not cgroups:
        missing.append(("cgroups", "stray processes are not ended"))
    if options is not None:
        missing += [
            (f"CONFIG_{next(option for option in needed if option not in options)}", short)
            for _name, needed, _cost, short in features.OPTIONS
            if any(option not in options for option in needed)
        ]
    told = [(name, short) for name, short in missing if short]
    if told:
        lines.append("Missing:")
    for name, short in told:
        lines += features.wrap(f"{name}: {short}", _WIDTH, "- ", "  ")
    if options is None:
        lines += features.wrap("The kernel does not tell its configuration.", _WIDTH)
    if missing or options is None:
        lines.append("More: nspawn doctor")
    return lines, 0


def _cgroup_version() -> int:
    try:
        return cgroup.find().version
    except OSError:
        return 0
