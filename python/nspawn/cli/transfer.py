"""`nspawn clone`, `nspawn export` and `nspawn import`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nspawn.cli import base
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

    from nspawn.cli.show import Bar
    from nspawn.service.transfer import Moved


def add(words: argparse._SubParsersAction[Any]) -> None:
    """The options of the three, below `words` of the parser."""
    _add_clone(words.choices["clone"])
    _add_export(words.choices["export"])
    _add_import(words.choices["import"])


def _add_clone(word: argparse.ArgumentParser) -> None:
    word.add_argument("new", metavar="NEW", help="the name of the copy")
    word.add_argument("--start", action="store_true", help="start the copy as well")


def _add_export(word: argparse.ArgumentParser) -> None:
    word.add_argument(
        "file",
        metavar="FILE",
        help="where to: .tar.zst, .tar.xz or .tar; '-' for standard output (zst where zstd is, else xz)",
    )
    word.add_argument("--force", action="store_true", help="also where a file is already")


def _add_import(word: argparse.ArgumentParser) -> None:
    word.add_argument("file", metavar="FILE", help="what `nspawn export` wrote; '-' for standard input")
    word.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="the container's name (default: the archive's)"
    )
    word.add_argument(
        "--trusted",
        action="store_true",
        help="the archive is yours: also its binds, ports, address, storage, wake lock, autostart, restart "
        "policy and on_down count",
    )
    word.add_argument("--start", action="store_true", help="start it as well")


def clone(arguments: argparse.Namespace) -> int:
    containers = base.containers()
    with _work() as bar:
        moved = containers.clone(arguments.name, arguments.new, bar, lambda: False)
    _tell(moved)
    base.say(f"cloned {arguments.name} to {moved.name}")
    return base.start_made(containers, moved.name, "made") if arguments.start else 0


def export(arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import size

    target: str | int = arguments.file
    if target == "-":
        if sys.stdout.isatty():
            raise UsageError("the archive would go to the terminal", hint="nspawn export NAME - > FILE")
        target = sys.stdout.fileno()
    with _work() as bar:
        moved = base.containers().export(arguments.name, target, bar, lambda: False, force=arguments.force)
    _tell(moved)
    if moved.path:
        base.say(f"exported {moved.name} to {moved.path} ({size(moved.size)})")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    containers = base.containers()
    if arguments.file == "-" and sys.stdin.isatty():
        raise UsageError("there is no archive on standard input", "it is a terminal", "Use: ... - < FILE")
    source = sys.stdin.buffer if arguments.file == "-" else os.path.abspath(arguments.file)
    with _work() as bar:
        moved = containers.import_(source, arguments.name, bar, lambda: False, trusted=arguments.trusted)
    _tell(moved)
    base.say(f"imported {moved.name}")
    return base.start_made(containers, moved.name, "imported") if arguments.start else 0


def _tell(moved: Moved) -> None:
    from nspawn.cli.show import clean

    for note in moved.notes:
        sys.stderr.write(f"nspawn: {clean(note)}\n")


@contextmanager
def _work() -> Iterator[Bar]:
    """Long work with its progress shown; Ctrl-C and SIGTERM undo it."""
    import signal

    from nspawn.cli.show import Bar
    from nspawn.model.progress import Cancelled

    bar = Bar()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield bar
    except KeyboardInterrupt:
        bar.end()
        raise Cancelled from None
    finally:
        bar.end()
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
