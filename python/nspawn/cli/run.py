"""`nspawn [OPTIONS] ROOTFS [COMMAND...]`, and the way to every other command.

The start path: what is imported here is paid at every start, so options are parsed by hand.
"""

from __future__ import annotations

import os
import sys

from nspawn.errors import NspawnError, UsageError
from nspawn.layout import Layout
from nspawn.model.names import host_name, parse_host_name
from nspawn.model.runspec import Bind, RunSpec, parse_env, parse_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_WITH_VALUE = ("--env", "--bind", "--workdir", "--user", "--hostname")
_SWITCHES = ("--net", "--read-only", "--ephemeral", "--boot")
_MINI_REFUSES = ("--net",)

_HELP = """\
Usage: {program} [OPTIONS] ROOTFS [COMMAND [ARGUMENT...]]
{commands}
Run a command in a root file system, in namespaces of its own.
Without a command: /bin/bash -il, or /bin/sh -il.

Options:
{net}\
      --env NAME=VALUE      set a variable (may be repeated)
      --bind SRC:DST[:ro]   show a file or folder of the host (may be repeated)
      --workdir DIR         start in this folder of the container
      --user USER[:GROUP]   run as this user of the container, or these numbers
      --hostname NAME       instead of the folder's name
      --read-only           the rootfs cannot be written
      --ephemeral           what is written is gone at the end
      --boot                run the rootfs's own init (systemd and others)
  -h, --help                this text
  -V, --version             the version

The exit status is the command's, or 128 and the number of the signal that ended it.
"""
_HELP_NET = "      --net                 a network of its own (so far with loopback only)\n"
_HELP_COMMANDS = """\
       {program} COMMAND ...        {list}
Help on each: {program} COMMAND --help.  A rootfs named like a command is written ./list.
"""


def main(argv: list[str], *, mini: bool = False) -> NoReturn:
    """Run the command line (without the program's name) and exit.

    mini: as `nspawn-mini`: no subcommands, no network options.
    """
    program = "nspawn-mini" if mini else "nspawn"
    try:
        status = _main(argv, program, mini=mini)
    except NspawnError as error:
        sys.stderr.write(error.render(program) + "\n")
        status = error.status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        os._exit(141)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Without the interpreter's own clean-up, which costs 2 ms.
        os._exit(status)


def _main(argv: list[str], program: str, *, mini: bool) -> int:
    if argv and not mini and not argv[0].startswith("-"):
        from nspawn.cli.names import SUBCOMMANDS

        if argv[0] in SUBCOMMANDS:
            from nspawn.cli import commands

            return commands.main(argv)
    if not argv:
        sys.stderr.write(_help(program, mini=mini))
        return 2
    if argv[0] in ("-h", "--help"):
        sys.stdout.write(_help(program, mini=mini))
        return 0
    if argv[0] in ("-V", "--version"):
        from nspawn import __version__

        sys.stdout.write(f"{program} {__version__}\n")
        return 0
    spec = parse(argv, os.environ.get("TERM", ""), mini=mini)
    layout = Layout.from_environment(os.environ)
    return _run(spec, layout, program)


def _help(program: str, *, mini: bool) -> str:
    commands = ""
    if not mini:
        from nspawn.cli.names import SUBCOMMANDS

        commands = _HELP_COMMANDS.format(program=program, list=" ".join(sorted(SUBCOMMANDS)))
    return _HELP.format(program=program, commands=commands, net="" if mini else _HELP_NET)


def parse(argv: list[str], term: str, *, mini: bool = False) -> RunSpec:
    """The command line as a RunSpec, or UsageError.  Options end at the rootfs, or at `--`."""
    values: dict[str, list[str]] = {}
    switches: set[str] = set()
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        option, equals, value = word.partition("=")
        if mini and option in _MINI_REFUSES:
            raise UsageError(f"nspawn-mini has no {option}", hint="Use nspawn for a network of its own.")
        if option in _SWITCHES and not equals:
            switches.add(option)
            continue
        if option not in _WITH_VALUE:
            raise UsageError(f"there is no option {word[:80]!r}", hint="See --help for those there are.")
        if not equals:
            if not rest:
                raise UsageError(f"{option} needs a value", hint="See --help.")
            value = rest.pop(0)
        values.setdefault(option, []).append(value)
    if not rest:
        raise UsageError("a rootfs is needed", hint="nspawn ROOTFS [COMMAND...]; see --help.")
    return _spec(rest, values, switches, term)


def _spec(rest: list[str], values: dict[str, list[str]], switches: set[str], term: str) -> RunSpec:
    """The spec of a rootfs and command (rest), the options with values, in order, and the switches."""
    rootfs = os.path.realpath(rest[0])
    workdir = values.get("--workdir", [""])[-1]
    if "--workdir" in values and not workdir.startswith("/"):
        raise UsageError("--workdir needs an absolute path", f"{workdir[:80]!r} does not begin with '/'")
    if rest[1:] and "--boot" in switches:
        raise UsageError(
            "--boot runs the rootfs's own init", "a command was given too", "Leave one of them away."
        )
    return RunSpec(
        rootfs=rootfs,
        argv=rest[1:],
        env=dict(parse_env(text) for text in values.get("--env", ())),
        hostname=(
            parse_host_name(values["--hostname"][-1])
            if "--hostname" in values
            else host_name(os.path.basename(rootfs))
        ),
        user=parse_user(values["--user"][-1]) if "--user" in values else "",
        workdir=workdir,
        read_only="--read-only" in switches,
        ephemeral="--ephemeral" in switches,
        boot="--boot" in switches,
        binds=[Bind.parse(text) for text in values.get("--bind", ())],
        network="none" if "--net" in switches else "host",
        term=term or "xterm-256color",
    )


def _run(spec: RunSpec, layout: Layout, program: str) -> int:
    def warn(text: str) -> None:
        sys.stderr.write(f"{program}: {text}\n")
        sys.stderr.flush()

    if not spec.boot and not any(os.isatty(number) for number in (0, 1, 2)):
        from nspawn.container import handover

        status = handover.run(spec, layout, warn)
        if status is not None:
            return status
    from nspawn.container import foreground

    return foreground.run(spec, layout, os.environ, warn)
