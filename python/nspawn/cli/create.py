"""`nspawn create`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from nspawn.model.settings import Settings
    from nspawn.service.containers import Source


def create(arguments: argparse.Namespace) -> int:
    """`nspawn create`: make a container, and start it when asked."""
    import signal

    from nspawn.cli.show import Bar
    from nspawn.model.progress import Cancelled
    from nspawn.service.containers import CreateRequest

    settings = _settings(arguments)
    request = CreateRequest(name=arguments.name, source=_source(arguments), settings=settings)
    containers = base.containers()
    bar = Bar()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        container = containers.create(request, bar, lambda: False)
    except KeyboardInterrupt:
        bar.end()
        raise Cancelled from None
    finally:
        bar.end()
        signal.signal(signal.SIGTERM, before)
    base.say(f"created {container.name}")
    if arguments.start:
        return base.report_start(containers.start(container.name))
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _source(arguments: argparse.Namespace) -> Source:
    from nspawn.service.containers import Builtin, Folder, Tarball

    if arguments.rootfs is not None:
        return Folder(os.path.abspath(arguments.rootfs))
    if arguments.tar == "-":
        if sys.stdin.isatty():
            raise UsageError(
                "there is no archive on standard input", "it is a terminal", "Use: ... --tar - < FILE"
            )
        return Tarball(sys.stdin.buffer)
    if arguments.tar is not None:
        return Tarball(os.path.abspath(arguments.tar))
    if arguments.image != "builtin":
        raise UsageError(
            f"there is no image {arguments.image[:80]!r}",
            "so far only 'builtin' comes along",
            "Use --tar for an archive, or --rootfs for a folder.",
        )
    return Builtin()


def _settings(arguments: argparse.Namespace) -> Settings:
    from nspawn.model import settings
    from nspawn.model.runspec import parse_env

    changes = {}
    for option, key in (
        ("command", "command"),
        ("user", "user"),
        ("workdir", "workdir"),
        ("hostname", "hostname"),
        ("net", "network.mode"),
        ("restart", "restart.policy"),
    ):
        value = getattr(arguments, option)
        if value is not None:
            changes[key] = value
    for option, key in (
        ("boot", "boot"),
        ("read_only", "read_only"),
        ("ephemeral", "ephemeral"),
        ("autostart", "autostart.enabled"),
    ):
        if getattr(arguments, option):
            changes[key] = "true"
    changes |= base.parse_changes(arguments.set)
    base.tell_kept_only(changes)
    for key in ("image", "rootfs"):
        if key in changes:
            raise UsageError(f"{key}: it is what --image, --rootfs and --tar say")
    document = settings.to_toml_mapping(settings.apply(settings.Settings(), changes | _network(arguments)))
    _extend(document, "binds", arguments.bind)
    environment = document["env"]
    assert isinstance(environment, dict)
    environment.update(parse_env(text) for text in arguments.env)
    return settings.parse(document)


def _network(arguments: argparse.Namespace) -> dict[str, str]:
    """Settings of the network by key; an option that needs one of its own asks for it."""
    given = base.parse_changes(arguments.set)
    changes = {}
    for key, option, values in (
        ("network.ports", "--publish", arguments.publish),
        ("network.port_range", "--port-range", arguments.port_range),
        ("network.pin", "--route-via", [word for text in arguments.route_via for word in text.split(",")]),
        ("network.dns", "--dns", [word for text in arguments.dns for word in text.split(",")]),
        ("network.ip", "--ip", arguments.ip),
        ("network.on_down", "--on-down", arguments.on_down),
        ("network.ipv6", "--ipv6", arguments.ipv6),
    ):
        if not values:
            continue
        if key in given:
            raise UsageError(f"{option} and --set {key}=... say the same", hint="Leave one of them away.")
        changes[key] = values if isinstance(values, str) else json.dumps(values)
    if changes and arguments.net is None and not given.keys() & {"network.mode", "network", "net"}:
        changes["network.mode"] = "nat"
    return changes


def _extend(table: dict[str, object], key: str, more: list[str]) -> None:
    """Options that may be repeated come behind what --set gave."""
    items = table[key]
    assert isinstance(items, list)
    items += more
