"""Where the page listens: config.toml, table `page`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.service import files

if TYPE_CHECKING:
    from nspawn.layout import Layout

DEFAULT_PORT = 8080


def port(layout: Layout) -> int:
    """The port of the page: `page.port` of config.toml, 8080 by default, 0 for no page.

    Raises UsageError that names what is wrong in the file.
    """
    try:
        data = files.read(layout.config)
    except FileNotFoundError:
        return DEFAULT_PORT
    except OSError as error:
        raise files.system_error(f"{layout.config} cannot be read", error) from None
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{layout.config} cannot be read", str(error), "Correct it or remove it.") from None
    page = document.get("page", {})
    number = page.get("port", DEFAULT_PORT) if isinstance(page, Mapping) else None
    return parse_port(number, f"{layout.config}: page.port")


def parse_port(number: object, what: str) -> int:
    """The port, or UsageError."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 65535:
        raise UsageError(
            f"{what}: expected a port from 1 to 65535, or 0 for no page, got {str(number)[:40]!r}"
        )
    return number


def addresses(number: int) -> list[str]:
    """What the keeper listens on, as HOST:PORT: loopback only."""
    return [f"127.0.0.1:{number}", f"[::1]:{number}"] if number else []


def addresses_or_none(layout: Layout) -> list[str]:
    """The addresses of the settings; none when they are wrong: containers start all the same."""
    try:
        return addresses(port(layout))
    except NspawnError:
        return []
