"""What every subcommand starts from and ends with: the layout, the use cases, the answer."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.service.containers import Container, Containers


def layout() -> Layout:
    """Where the state is, by the environment."""
    return Layout.from_environment(os.environ)


def containers() -> Containers:
    """The use cases of that layout."""
    from nspawn.service.containers import Containers

    return Containers(layout())


def say(text: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_json(value: object) -> int:
    """The answer for programs; status 0."""
    import json

    say(json.dumps(value, indent=2))
    return 0


#: Settings that are kept for what is being built, and change nothing yet.
_KEPT_ONLY = ("limits.",)


def tell_kept_only(keys: Iterable[str]) -> None:
    """Say which of these settings have no effect in this version."""
    for key in keys:
        if key.startswith(_KEPT_ONLY):
            sys.stderr.write(f"{key} is kept, but this version does not apply it yet\n")


def parse_changes(pairs: list[str]) -> dict[str, str]:
    """KEY=VALUE words by key, or UsageError."""
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair[:80]!r} is not KEY=VALUE", hint="As in: nspawn set box autostart=true")
        if key in changes:
            raise UsageError(f"{key[:80]}: it is given twice")
        changes[key] = value
    return changes


def start_made(containers: Containers, name: str, made: str) -> int:
    """Start a container that was just made, and tell how it went; made: as in "created".

    An error says that the container is there all the same.
    """
    try:
        container = containers.start(name)
    except NspawnError as error:
        what = f"{name} was {made}, but not started"
        raise NspawnError(what, str(error), error.hint, status=error.status) from error
    return report_start(container)


def report_start(container: Container) -> int:
    """Tell how a start went; status 0."""
    from nspawn.cli.show import clean

    for text in container.state.warnings:
        sys.stderr.write(f"nspawn: {clean(text)}\n")
    if container.damaged:
        sys.stderr.write(f"{container.damaged.render()}\n")
    say(f"{container.name}: {container.state.state}{ended(container)}")
    return 0


def ended(container: Container) -> str:
    """Why it ended, in brackets; empty while it runs."""
    from nspawn.cli.show import clean

    return f" ({clean(container.state.exit)})" if container.state.exit and not container.state.active else ""
