"""`nspawn create`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base, imageoptions
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from nspawn.model.settings import Settings
    from nspawn.service.containers import Source


def create(arguments: argparse.Namespace) -> int:
    """`nspawn create`: make a container, and start it when asked."""
    import signal

    from nspawn.cli.show import Bar
    from nspawn.model.progress import Cancelled
    from nspawn.service.containers import CreateRequest

    settings, given = _settings(arguments)
    source = _source(arguments)
    request = CreateRequest(
        name=arguments.name,
        source=source,
        settings=settings,
        given=given,
        publish_all=arguments.publish_all,
    )
    containers = base.containers()
    bar = Bar()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        outcome = containers.create(request, bar, lambda: False)
    except KeyboardInterrupt:
        bar.end()
        raise Cancelled from None
    finally:
        bar.end()
        signal.signal(signal.SIGTERM, before)
    base.say(f"created {request.name}")
    tell(outcome.notes, outcome.password)
    if arguments.start:
        return base.start_made(containers, request.name, "created")
    return 0


def tell(notes: Sequence[str], password: str) -> None:
    """What a person should know of a new root file system; the password is shown here and nowhere else."""
    from nspawn.cli.show import clean

    for note in notes:
        sys.stderr.write(f"nspawn: {clean(note)}\n")
    if password:
        base.say(f"password of root: {password}")
        sys.stderr.write("It is shown this once, and not kept.  Inside, `passwd` changes it.\n")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _source(arguments: argparse.Namespace) -> Source:
    from nspawn.model import imageref
    from nspawn.service.containers import Builtin, Folder, FromImage, Tarball

    used = imageoptions.given(arguments)
    if used and arguments.image in (None, "builtin"):
        raise UsageError(
            f"{used[0]}: it counts with an image that is fetched", hint="As in: --image debian:13"
        )
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
    reference = imageoptions.reference(arguments.image, os.environ, arguments.variant)
    if isinstance(reference, imageref.Builtin):
        return Builtin()
    file = None
    if reference == imageref.File(path="-"):
        if sys.stdin.isatty() or arguments.password == "-":
            why = "it is a terminal" if sys.stdin.isatty() else "the password is read from there"
            raise UsageError("there is no image on standard input", why, "Use: ... --image - < FILE")
        file = sys.stdin.buffer
    return FromImage(
        reference=reference,
        arch=arguments.arch or "",
        wish=imageoptions.wish(arguments),
        keep=arguments.keep,
        file=file,
    )


def _settings(arguments: argparse.Namespace) -> tuple[Settings, frozenset[str]]:
    """The settings, and the keys of those that were given."""
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
    changes |= _network(arguments)
    document = settings.to_toml_mapping(settings.apply(settings.Settings(), changes))
    _extend(document, "binds", arguments.bind)
    environment = document["env"]
    assert isinstance(environment, dict)
    environment.update(parse_env(text) for text in arguments.env)
    return settings.parse(document), settings.named(changes)


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
    asked = changes or arguments.publish_all
    if asked and arguments.net is None and not given.keys() & {"network.mode", "network", "net"}:
        changes["network.mode"] = "nat"
    return changes


def _extend(table: dict[str, object], key: str, more: list[str]) -> None:
    """Options that may be repeated come behind what --set gave."""
    items = table[key]
    assert isinstance(items, list)
    items += more
