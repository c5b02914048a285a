"""The command line of `nspawn ROOTFS COMMAND`, parsed by hand: argparse costs as much as a start.

Pure, so that the spawner can do it for a client that imports nothing.
"""

from __future__ import annotations

from nspawn.errors import UsageError
from nspawn.model.names import parse_host_name
from nspawn.model.runspec import NETWORKS, Bind, RunSpec, parse_env, parse_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.model.netwish import Wish

_WITH_VALUE = ("--env", "--bind", "--workdir", "--user", "--hostname")
_SWITCHES = ("--read-only", "--ephemeral", "--boot")
#: How the network's options begin: no other one begins so.
_OF_NETWORK: tuple[str, ...] = ("-p", "-P", "-C", "--cleanup-route", "--net", "--publish", "--port-range")
_OF_NETWORK += ("--ip", "--route-via", "--on-down", "--dns")


def may_use_network(argv: list[str]) -> bool:
    """Whether parse() may find that it has another network than the host's."""
    return any(word.startswith(_OF_NETWORK) for word in argv)


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
        if word.startswith(_OF_NETWORK):
            if mini:
                raise UsageError(
                    f"nspawn-mini has no {option[:40]}", hint="Use nspawn for a network of its own."
                )
            option, equals, value = _network_option(word)
            if option == "--net":
                values.setdefault(option, []).append(value if equals else "nat")
                continue
        elif option in _SWITCHES and not equals:
            switches.add(option)
            continue
        elif option not in _WITH_VALUE:
            raise UsageError(f"there is no option {word[:80]!r}", hint="See --help for those there are.")
        if not equals:
            if not rest:
                raise UsageError(f"{option} needs a value", hint="See --help.")
            value = rest.pop(0)
        values.setdefault(option, []).append(value)
    if not rest:
        raise UsageError("a rootfs is needed", hint="nspawn ROOTFS [COMMAND...]; see --help.")
    return _spec(rest, values, switches, term)


def _network_option(word: str) -> tuple[str, str, str]:
    """(the option's long name, "=" or "" for no value in this word, the value); UsageError."""
    from nspawn.model.netwish import OPTIONS  # only for a network of its own

    option, equals, value = word.partition("=")
    if option in ("-C", "--cleanup-route"):
        raise UsageError(f"{option} goes alone", hint="It only removes what is left of the network.")
    if option == "--net":
        return option, equals, value
    if word[1] != "-" and len(word) > 2:
        option, equals, value = word[:2], "=", word[2:].removeprefix("=")
    if option not in OPTIONS:
        raise UsageError(f"there is no option {word[:80]!r}", hint="See --help for those there are.")
    return OPTIONS[option], equals, value


def _network(values: dict[str, list[str]]) -> tuple[str, Wish | None]:
    """The network mode, and what is asked of a network of its own."""
    others = [option for option in values if option.startswith(_OF_NETWORK) and option != "--net"]
    mode = values["--net"][-1] if "--net" in values else "nat" if others else "host"
    if mode not in NETWORKS:
        raise UsageError(
            f"--net takes no {mode[:40]!r}", hint=f"Use --net, or one of --net={', --net='.join(NETWORKS)}."
        )
    if mode != "nat":
        if others:
            raise UsageError(f"{others[0]} needs a network of its own", f"--net={mode} gives none")
        return mode, None
    from nspawn.model import netwish

    return "nat", netwish.parse(values)


def _spec(rest: list[str], values: dict[str, list[str]], switches: set[str], term: str) -> RunSpec:
    """The spec of a rootfs and command (rest), the options with values, in order, and the switches."""
    workdir = values.get("--workdir", [""])[-1]
    if "--workdir" in values and not workdir.startswith("/"):
        raise UsageError("--workdir needs an absolute path", f"{workdir[:80]!r} does not begin with '/'")
    if rest[1:] and "--boot" in switches:
        raise UsageError(
            "--boot runs the rootfs's own init", "a command was given too", "Leave one of them away."
        )
    network, wish = _network(values)
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
        network=network,
        wish=wish,
        term=term or "xterm-256color",
    )
