"""`nspawn net`: how the network is, why, and taking it down."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from nspawn.cli import base
from nspawn.cli.show import clean, table
from nspawn.errors import NspawnError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from nspawn.service.network import Network


def net(arguments: argparse.Namespace) -> int:
    """`nspawn net [status|explain NAME|watch|up|down]`."""
    from nspawn.service.network import Network

    network = Network(base.layout())
    action = arguments.action
    if (action == "explain") != (arguments.name is not None):
        needs = "the name of a container is needed" if action == "explain" else "it takes no name"
        raise UsageError(f"net {action}: {needs}", hint="As in: nspawn net explain box")
    for option, actions in (
        ("json", ("status", "explain")),
        ("dry_run", ("up", "down")),
        ("force", ("down",)),
    ):
        if getattr(arguments, option) and action not in actions:
            raise UsageError(f"net {action}: it takes no --{option.replace('_', '-')}")
    call = {"status": _status, "explain": _explain, "watch": _watch, "up": _up, "down": _down}[action]
    return call(network, arguments)


def _status(network: Network, arguments: argparse.Namespace) -> int:
    found = network.status().as_dict()
    if arguments.json:
        return base.say_json(found)
    sys.stdout.write(status_text(found))
    return 0


def _explain(network: Network, arguments: argparse.Namespace) -> int:
    found = network.explain(arguments.name).as_dict()
    if arguments.json:
        return base.say_json(found)
    sys.stdout.write(explain_text(found))
    return 0


def _watch(network: Network, _arguments: argparse.Namespace) -> int:
    for lines in network.watch():
        if not lines:
            sys.stderr.write("Watching the network; Ctrl-C ends it.\n")
            sys.stderr.flush()
        for line in lines:
            base.say(f"{time.strftime('%H:%M:%S')}  {clean(line)}")
    return 0


def _up(network: Network, arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _say_plan(network.plan_up())
    outcome = network.up()
    base.say("the network is up")
    for value in outcome.all("note"):
        what, why, hint = (*value.decode("utf-8", "replace").split("|"), "", "")[:3]
        sys.stderr.write(f"{NspawnError(clean(what), clean(why), clean(hint)).render('note')}\n")
    return 0


def _down(network: Network, arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _say_plan(network.plan_down(force=arguments.force))
    removed = network.down(force=arguments.force)
    _say_commands(removed)
    sys.stderr.write("the network is down\n" if removed else "there was nothing to remove\n")
    return 0


def _say_plan(lines: list[str]) -> int:
    _say_commands(lines)
    if not lines:
        sys.stderr.write("nothing would change\n")
    return 0


def _say_commands(commands: Iterable[str]) -> None:
    """One for iptables-restore has a text of several lines."""
    for command in commands:
        for line in command.splitlines():
            base.say(clean(line))


def status_text(found: Mapping[str, Any]) -> str:
    """The answer for a person."""
    subnet, ipv6 = found["subnet"], found["ipv6"]
    where = f"bridge {found['bridge']}" if found["bridge"] else "a link of its own for each container"
    addresses = ", ".join(each for each in (subnet["ip4"], subnet["ip6"]) if each)
    state = "up" if found["up"] else "down: it is set up when a container needs it"
    lines = [
        f"The network is {state}",
        f"  {where}, {addresses}, {subnet['used']} of {subnet['room']} addresses given away",
        f"  IPv6: {ipv6['mode']}; {ipv6['why']}",
        f"  containers without a pin: {found['free']['why']}",
        "",
    ]
    if found["uplinks"]:
        lines += _table(_uplink_rows(found["uplinks"]))
    else:
        lines.append("There is no uplink: nothing leads to the internet.")
    lines += [f"{each['name']} is no uplink: {each['why']}" for each in found["excluded"]]
    if found["containers"]:
        lines += ["", *_table(_container_rows(found["containers"]))]
    forwards = _forward_rows(found["containers"])
    if len(forwards) > 1:
        lines += ["", *_table(forwards)]
    lines += _notes(found["notes"])
    return "\n".join(clean(line) for line in lines) + "\n"


def explain_text(found: Mapping[str, Any]) -> str:
    """The story, and what made it so."""
    lines = list(found["story"])
    if found["operations"]:
        lines += ["", "As commands, in the order in which the kernel asks:"]
        lines += [f"  {line}" for line in found["operations"]]
    lines += _notes(found["notes"])
    return "\n".join(clean(line) for line in lines) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    return table([[clean(cell) for cell in row] for row in rows]).splitlines()


def _uplink_rows(uplinks: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    rows = [["UPLINK", "KIND", "STATE", "IPV4", "IPV6", "TABLE", ""]]
    for each in uplinks:
        tables = str(each["table4"])
        if each["table6"] != each["table4"]:
            tables += f", {each['table6']}"
        told = [text for text in ("default" if each["default"] else "", each["why"]) if text]
        if each["interface4"] != each["name"]:
            told.append(f"IPv4 by {each['interface4']}")
        if each["apps"]:
            told.append("for some apps only")
        yes = {True: "yes", False: "no"}
        rows.append(
            [
                each["name"],
                each["kind"],
                each["state"],
                yes[each["ip4"]],
                yes[each["ip6"]],
                tables,
                "; ".join(told),
            ]
        )
    return rows


def _container_rows(containers: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    rows = [["CONTAINER", "STATE", "ADDRESS", "WAY OUT"]]
    for each in containers:
        way = each["path"]["why"]
        rows.append(
            [
                each["owner"],
                "running" if each["running"] else "stopped",
                each["ip4"] or "-",
                way if each["running"] else f"({way})",
            ]
        )
    return rows


def _forward_rows(containers: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    rows = [["FORWARD", "LEADS TO", ""]]
    for each in containers:
        for forward in each["forwards"] if each["running"] else ():
            inside = str(forward["container"])
            if forward["ports"] > 1:
                inside += f"-{forward['container'] + forward['ports'] - 1}"
            at, _, proto = forward["text"].rpartition("/")
            rows.append([f"{at.rpartition(':')[0]}/{proto}", f"{each['owner']} {inside}", forward["warning"]])
    return rows


def _notes(notes: Iterable[Mapping[str, str]]) -> list[str]:
    lines: list[str] = []
    for note in notes:
        lines += ["", f"note: {note['what']}"]
        lines += [f"  {text}" for text in (note["why"], note["hint"]) if text]
    return lines
