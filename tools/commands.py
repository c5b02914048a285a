"""The one tool of this repository: `python3 build.py setup | run | test | bench | lint | zip | lock`.

Every command first does `setup`: it installs what that command needs and is missing, pinned and checked by
hash, says what it does, and takes a moment when there is nothing to do.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools import places
from tools.builtin import setup_builtin
from tools.bundle import TARGETS
from tools.environment import compile_bytecode, setup_environment
from tools.lint import lint
from tools.lock import lock
from tools.node import setup_node
from tools.packages import install_packages, missing_packages
from tools.process import BuildError, say
from tools.serve import run
from tools.stamps import only_one
from tools.trial import bench, test
from tools.zip import build_zips


def setup(command: str) -> None:
    """What a command needs: `setup` and `run` want the program, the others their tools as well."""
    developer = command in ("test", "lint", "bench")
    with only_one():
        install_packages({package.name: package.purpose for package in missing_packages(command)})
        setup_environment(developer=developer)
        setup_builtin()
        if command in ("test", "lint"):
            setup_node()
        compile_bytecode()


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command line, and the words that go to pytest or to the benchmark."""
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what the program needs")
    run_parser = commands.add_parser("run", help="run the service and print a login address")
    run_parser.add_argument("--port", type=int, help="where the page is served (default 8080)")
    test_parser = commands.add_parser("test", help="lint, then every test; other words go to pytest")
    test_parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    test_parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="shards that run at once, each in a box (default: 2 when it can)",
    )
    test_parser.add_argument(
        "--save-times", action="store_true", help="renew tests/durations.txt, by which files are spread"
    )
    commands.add_parser("bench", help="compare with the peers; other words go to tests/bench/run.py")
    commands.add_parser("lint", help="style, types, import contract, scripts, page, spelling")
    zip_parser = commands.add_parser("zip", help="build the zip that a phone's root manager installs")
    zip_parser.add_argument("--arch", choices=(*TARGETS, "all"), default="all")
    zip_parser.add_argument("--version", default="", help="three numbers (default: that of this checkout)")
    zip_parser.add_argument(
        "--base-url",
        default="",
        help="where zips and update files will be published (default: in pyproject.toml); "
        "without one the module looks for no updates",
    )
    zip_parser.add_argument("--output", type=Path, metavar="FOLDER", help="where it goes (default: dist)")
    commands.add_parser("lock", help="renew every lock file")
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in ("test", "bench"):
        parser.error(f"unknown words: {' '.join(rest)}")
    return known, [word for word in rest if word != "--"]


def main(arguments: Sequence[str]) -> int:
    """Do a command. Returns the exit status."""
    options, rest = parse(arguments)
    try:
        if options.command == "lock":
            return lock()
        started = time.monotonic()
        setup(options.command)
        if options.command == "setup":
            say(f"ready ({time.monotonic() - started:.1f} s): {places.NSPAWN}")
            return 0
        if options.command == "run":
            return run(options.port)
        if options.command == "lint":
            return lint()
        if options.command == "bench":
            return bench(rest)
        if options.command == "zip":
            names = list(TARGETS) if options.arch == "all" else [options.arch]
            return build_zips(
                names, version=options.version, base_url=options.base_url, output=options.output
            )
        return test(fast=options.fast, arguments=rest, jobs=options.jobs, save_times=options.save_times)
    except PermissionError as error:
        print(f"build.py: {error}", file=sys.stderr)
        print("  Root made it, it seems: go on with sudo.", file=sys.stderr)
        return 1
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
