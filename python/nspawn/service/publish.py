"""`--publish-all`: each port that the image says it listens at, led to by the same port of the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nspawn.errors import UsageError
from nspawn.model import settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.model.settings import Settings


def check(asked: Settings) -> None:
    """UsageError where there is nothing to lead ports to."""
    if asked.network.mode != "nat":
        raise UsageError(
            "no port can be published",
            f"network.mode is {asked.network.mode}: only a network of its own has ports of its own",
            "Use --net, or leave --publish-all away.",
        )


def published(asked: Settings, ports: Iterable[str]) -> tuple[Settings, tuple[str, ...]]:
    """The settings with a forward for each port (`80/tcp`) that none leads to yet, and what to tell.

    UsageError for a port that is kept, or that another of its own forwards has.
    """
    check(asked)
    led = settings.forwarded(asked.network)
    fresh = []
    for text in ports:
        number, _slash, proto = text.partition("/")
        if not any(
            each.proto == proto and each.container <= int(number) < each.container + each.ports
            for each in led
        ):
            fresh.append(f"{number}:{number}/{proto}")
    if not fresh:
        return asked, () if led else ("it says no port to publish",)
    ports_now = (*asked.network.ports, *fresh)
    flat = settings.to_toml_mapping(replace(asked, network=replace(asked.network, ports=ports_now)))
    changed = settings.parse(flat)  # two forwards of one port are refused there
    settings.granted(changed.network)
    return changed, (f"published: {', '.join(fresh)}",)
