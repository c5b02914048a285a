"""`nspawn guard`: what the crash guard knows, and what is decided about it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base
from nspawn.errors import UsageError
from nspawn.model import features

if TYPE_CHECKING:
    import argparse

    from nspawn.service.guard import GuardStatus

#: Lines of each of the kernel's last words that are shown without --json.
_LINES = 25


def guard(arguments: argparse.Namespace) -> int:
    """`nspawn guard [status|try-again|never FEATURE|allow FEATURE]`; 1 when containers are not started."""
    from nspawn.service import guard as service

    layout = base.layout()
    takes_feature = arguments.action in ("never", "allow")
    if takes_feature != (arguments.feature is not None):
        raise UsageError(
            f"guard {arguments.action}: {'a feature is needed' if takes_feature else 'it takes no feature'}",
            hint="As in: nspawn guard never pid",
        )
    if arguments.action == "try-again":
        found = service.try_again(layout)
    elif arguments.action == "never":
        found = service.never_use(layout, arguments.feature)
    elif arguments.action == "allow":
        found = service.allow(layout, arguments.feature)
    else:
        found = service.status(layout)
    if arguments.json:
        base.say_json(found.as_dict())
    else:
        sys.stdout.write(text(found))
    return 1 if found.blocked else 0


def tell_blocked() -> None:
    """Say on standard error that no container starts, if that is so."""
    from nspawn.container.guard import Guard
    from nspawn.errors import Conflict

    try:
        Guard(base.layout(), os.environ).check()
    except Conflict as error:
        sys.stderr.write(f"{error.render()}\n")


def text(found: GuardStatus) -> str:
    """The answer for a person."""
    if not found.active:
        return "There is no crash guard here: it is for phones (NSPAWN_GUARD=1 has one elsewhere).\n"
    lines = []
    if found.trip:
        from nspawn.service import clock

        lines.append(f"{found.trip.text[:1].upper()}{found.trip.text[1:]}.")
        kernel = found.trip.kernel.partition(" ")[0]
        lines.append(f"That was at {clock.local(found.trip.when)}, on kernel {kernel}.")
    if found.safe_mode:
        lines.append(f"Safe mode: the machine did not come up well {found.failed_boots} times in a row.")
    if found.blocked:
        lines += ["No container is started until you decide:", "  nspawn guard try-again"]
        lines += [f"  nspawn guard never {name}" for name in _to_blame(found)]
    else:
        lines.append("Nothing is wrong: containers start.")
    if found.failed_boots and not found.safe_mode:
        lines.append(f"Boots in a row that did not come up well: {found.failed_boots}.")
    if found.never:
        lines.append(f"Never used: {', '.join(found.never)} (again: nspawn guard allow {found.never[0]})")
        lines += [f"  {name}: {features.NAMESPACES[name][0]}" for name in found.never]
        lines.append("  That counts for what starts from now on.")
    if found.problem:
        lines.append(f"Note: {found.problem}.")
    for name, said in found.pstore:
        last = said.splitlines()[-_LINES:]
        lines += ["", f"The kernel's last words ({name}, the last {len(last)} lines):"]
        lines += [f"  {line}" for line in last]
    return "\n".join(lines) + "\n"


def _to_blame(found: GuardStatus) -> tuple[str, ...]:
    """What could be left out: the feature that was tried, or the one that brings most phones down, or any."""
    if found.trip and found.trip.feature:
        return (found.trip.feature,)
    if found.trip and found.trip.container:
        return ("pid",) if "pid" not in found.never else ()
    return tuple(name for name in found.features if name not in found.never)
