"""`nspawn [OPTIONS] ROOTFS [COMMAND...]` without a spawner, help, and the way to every other command."""

from __future__ import annotations

import os
import sys

from nspawn.errors import NspawnError, UsageError
from nspawn.layout import Layout, on_android
from nspawn.model import commandline

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
_HELP_NET = """\
      --net[=MODE]          a network of its own behind the host's (nat, the default),
                            only loopback (none), or the host's (host).  Each of these
                            asks for nat:
      --ip ADDRESS          an address of its own choice, such as 10.11.0.7
  -p, --publish [ADDR:]PORT[-PORT]:PORT[/tcp|udp]
                            a port of the host leads into it (may be repeated)
  -P, --port-range START:END
                            these ports, tcp and udp, lead to the same ports in it
      --route-via LIST      uplinks it may use, best first: interfaces, patterns, vpn,
                            wifi, ethernet, mobile (may be repeated)
      --on-down block|fallback
                            what happens without them: no way out (default), or another
      --dns ADDRESS         a name server (may be repeated)
      --ipv6 auto|proxy|off
  -C, --cleanup-route       alone: remove what is left of the network, when nothing
                            needs it
"""
_HELP_COMMANDS = """\
       {program} COMMAND ...
{list}\
Help on each: {program} COMMAND --help.  A rootfs named like a command is written ./list.
"""


def main(argv: list[str], *, mini: bool) -> int:
    """Run the command line (without the program's name); the exit status."""
    program = "nspawn-mini" if mini else "nspawn"
    try:
        return _main(argv, program, mini=mini)
    except NspawnError as error:
        sys.stderr.write(error.render(program) + "\n")
        return error.status
    except OSError as error:
        sys.stderr.write(NspawnError("that did not work", str(error)).render(program) + "\n")
        return 1
    except SystemExit as end:  # argparse, after its help
        return end.code if isinstance(end.code, int) else 0


def _main(argv: list[str], program: str, *, mini: bool) -> int:
    if argv and not mini and not argv[0].startswith("-"):
        from nspawn.cli.names import SUBCOMMANDS

        if argv == ["doctor", "--brief"]:
            # While the module is flashed, on a phone that is slow to read files: without argparse.
            from nspawn.cli import brief

            return brief.main()
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
    if argv[0] in ("-C", "--cleanup-route") and not mini and len(argv) == 1:
        from nspawn.cli import cleanup

        return cleanup.main()
    from nspawn.container import foreground
    from nspawn.container import program as programs

    def warn(text: str) -> None:
        sys.stderr.write(f"{program}: {text}\n")
        sys.stderr.flush()

    spec = commandline.parse(argv, os.environ.get("TERM", ""), mini=mini)
    if not mini and "/" not in spec.rootfs and not os.path.isdir(spec.rootfs):
        raise _unknown_word(spec.rootfs)
    programs.locate(spec, _folder(), android=on_android(os.environ))
    return foreground.run(spec, Layout.from_environment(os.environ), os.environ, warn)


def _help(program: str, *, mini: bool) -> str:
    commands = ""
    if not mini:
        from nspawn.cli.names import SUBCOMMANDS

        lines = "".join(f"  {name:<9} {text}\n" for name, text in SUBCOMMANDS.items())
        commands = _HELP_COMMANDS.format(program=program, list=lines)
    return _HELP.format(program=program, commands=commands, net="" if mini else _HELP_NET)


def _folder() -> str:
    """Where we are; "/" when that was removed."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _unknown_word(word: str) -> UsageError:
    """Neither a command nor a rootfs: probably a command that was mistyped."""
    import difflib

    from nspawn.cli.names import SUBCOMMANDS

    near = difflib.get_close_matches(word, SUBCOMMANDS, n=1)
    hint = f"Did you mean `nspawn {near[0]}`? " if near else ""
    return UsageError(
        f"there is no command {word[:80]!r}, and no folder of that name",
        hint=f"{hint}See nspawn --help for the commands.",
    )
