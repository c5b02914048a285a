"""`nspawn uninstall`: tells what will happen, asks before anything is lost."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse

_WORD = "delete everything"


def uninstall(arguments: argparse.Namespace) -> int:
    """Mark the module, or take the mark back; 130 when the question was not answered with yes."""
    from nspawn.service import uninstall as service

    layout = base.layout()
    module = service.find_module(os.environ)
    if arguments.keep:
        if arguments.yes:
            raise UsageError("--keep needs no --yes")
        if not service.keep(layout, module):
            base.say("nspawn was not marked for removal")
            return 0
        base.say("nspawn stays. What was stopped for the removal starts again at the next reboot.")
        return 0
    if arguments.purge:
        names = [each.name for each in base.containers().list()]
        sys.stderr.write(
            f"At the next reboot {layout.root} is deleted: "
            f"{len(names)} container{'' if len(names) == 1 else 's'}"
            f"{' (' + ', '.join(names[:8]) + (', ...' if len(names) > 8 else '') + ')' if names else ''}, "
            "images, settings, the token.\n"
            "It cannot be had back. Folders of your own that containers only show (binds, --rootfs) stay.\n"
        )
        if not arguments.yes and not _confirmed():
            sys.stderr.write("Nothing was changed.\n")
            return 130
        service.confirm_purge(layout)
    service.mark(module)
    base.say("nspawn is removed at the next reboot; running containers are stopped.")
    if not arguments.purge:
        base.say(f"Containers, images and settings stay in {layout.root}: a later installation finds them.")
        base.say("To delete them too: nspawn uninstall --purge")
    base.say("To take it back before the reboot: nspawn uninstall --keep")
    return 0


def _confirmed() -> bool:
    if not os.isatty(0):
        raise UsageError("--purge asks on a terminal, and this is none", hint="With --yes it does not ask.")
    sys.stderr.write(f"Type `{_WORD}` to confirm: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == _WORD
