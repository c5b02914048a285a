"""`getroot`: fetches root file systems.  So far it has the one that comes along."""

from __future__ import annotations

import os
import sys

from nspawn.errors import NspawnError, UsageError
from nspawn.kernel import initmounts

_HELP = """\
Usage: getroot builtin [-o DIR]

Make a root file system in a new folder.

  builtin         busybox, which comes along and needs no network
  -o DIR          the folder to make (default: ./builtin)
  -h, --help      this text
  -V, --version   the version

Images from the servers of distributions come with a later release.  Until then, use a tar archive:
nspawn create NAME --tar FILE
"""


def main(argv: list[str]) -> int:
    """Run the command line (without the program's name); the exit status."""
    initmounts.join(os.environb)
    try:
        return _main(argv)
    except NspawnError as error:
        sys.stderr.write(f"{error.render('getroot')}\n")
        return error.status
    except KeyboardInterrupt:
        return 130


def _main(argv: list[str]) -> int:
    if not argv:
        sys.stderr.write(_HELP)
        return 2
    if argv[0] in ("-h", "--help"):
        sys.stdout.write(_HELP)
        return 0
    if argv[0] in ("-V", "--version"):
        from nspawn import __version__

        sys.stdout.write(f"getroot {__version__}\n")
        return 0
    if argv[0] != "builtin":
        raise UsageError(
            f"getroot cannot fetch {argv[0][:80]!r} yet",
            "images from the servers of distributions come with a later release",
            "Use: getroot builtin, or nspawn create NAME --tar FILE.",
        )
    from nspawn.service.create import make_builtin

    target = _target(argv[1:])
    make_builtin(target)
    sys.stdout.write(f"{target} is ready.  Try: nspawn {target}\n")
    return 0


def _target(rest: list[str]) -> str:
    if not rest:
        return "./builtin"
    if rest[0].startswith("-o") and len(rest) == 1 and len(rest[0]) > 2:
        return rest[0][2:]
    if rest[0] != "-o" or len(rest) != 2 or not rest[1]:
        raise UsageError(f"unexpected {' '.join(rest)[:80]!r}", hint="See getroot --help.")
    return rest[1]
