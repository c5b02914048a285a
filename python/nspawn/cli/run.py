"""The start path of every command: what is imported here is paid at every start.

A plain run away from a terminal is tried on the spawner first, by a client that imports next to nothing;
everything else goes to cli/front.py.
"""

from __future__ import annotations

import posix  # `os` would cost a millisecond
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: What the spawner's client leaves to others.
_NOT_HANDED_OVER = frozenset(("-h", "--help", "-V", "--version", "-C", "--cleanup-route", "--boot"))


def main(argv: list[str], *, mini: bool = False) -> NoReturn:
    """Run the command line (without the program's name) and exit.

    mini: as `nspawn-mini`: no subcommands, no network options.
    """
    status = 1
    try:
        status = _run(argv, mini=mini)
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except BaseException:  # noqa: BLE001 - a defect: told, never swallowed by what follows
        sys.excepthook(*sys.exc_info())
    finally:
        # Without the interpreter's own clean-up, which costs a millisecond.
        posix._exit(status)
    raise AssertionError


def _run(argv: list[str], *, mini: bool) -> int:
    if b"ANDROID_ROOT" in posix.environ:
        from nspawn.kernel import initmounts

        initmounts.join(posix.environ)
    if _may_be_handed_over(argv):
        from nspawn.container import handover

        status = handover.run(argv, posix.environ, mini=mini)
        if status is not None:
            return status
    from nspawn.cli import front

    return front.main(argv, mini=mini)


def _may_be_handed_over(argv: list[str]) -> bool:
    """Whether it is a run (a rootfs with a slash, or options first) without a terminal."""
    return (
        bool(argv)
        and ("/" in argv[0] or argv[0].startswith("-"))
        and _NOT_HANDED_OVER.isdisjoint(argv)
        and not (posix.isatty(0) or posix.isatty(1) or posix.isatty(2))
    )
