"""The command line of `nspawn ROOTFS COMMAND`, parsed by hand: argparse costs as much as a start.

Pure, so that the spawner can do it for a client that imports nothing.
"""

from __future__ import annotations

from nspawn.errors import UsageError
from nspawn.model.names import parse_host_name
from nspawn.model.runspec import Bind, RunSpec, parse_env, parse_user

_WITH_VALUE = ("--env", "--bind", "--workdir", "--user", "--hostname")
_SWITCHES = ("--net", "--read-only", "--ephemeral", "--boot")
_MINI_REFUSES = ("--net",)


def parse(argv: list[str], term: str, *, mini: bool = False) -> RunSpec:
    """The command line (without the program) as a RunSpec, or UsageError.

    Options end at the rootfs, or at `--`.  The rootfs is as given, and the host name is "" when it is to be
    made from the rootfs's name.  mini: as for nspawn-mini.
    """
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
    workdir = values.get("--workdir", [""])[-1]
    if "--workdir" in values and not workdir.startswith("/"):
        raise UsageError("--workdir needs an absolute path", f"{workdir[:80]!r} does not begin with '/'")
    if rest[1:] and "--boot" in switches:
        raise UsageError(
            "--boot runs the rootfs's own init", "a command was given too", "Leave one of them away."
        )
    return RunSpec(
        rootfs=rest[0],
        argv=rest[1:],
        env=dict(parse_env(text) for text in values.get("--env", ())),
        hostname=parse_host_name(values["--hostname"][-1]) if "--hostname" in values else "",
        user=parse_user(values["--user"][-1]) if "--user" in values else "",
        workdir=workdir,
        read_only="--read-only" in switches,
        ephemeral="--ephemeral" in switches,
        boot="--boot" in switches,
        binds=[Bind.parse(text) for text in values.get("--bind", ())],
        network="none" if "--net" in switches else "host",
        term=term or "xterm-256color",
    )
