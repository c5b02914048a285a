"""Where the page listens: config.toml, table `page`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.service import files

if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.record import Record

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


def find_own(answer: Record) -> int:
    """The port on which the page really is ours, before a code is handed to it.

    answer: of the spawner's ping.  Another program may hold the usual port (facts: web, Threats), so the
    sockets of the keeper are looked up among those that listen (proc_pid_net(5)).
    """
    ours = _sockets(answer.integer("keeper"))
    for port_, inode in _listening("/proc/net/tcp"):
        if inode in ours:
            return port_
    refused = "; ".join(value.decode("utf-8", "replace") for value in answer.all("refused"))
    raise NspawnError(
        "the page is not served",
        refused or "the spawner was started without it",
        "Free the port or set page.port in config.toml, then: nspawn shutdown && nspawn serve",
    )


def _sockets(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _listening(path: str) -> list[tuple[int, str]]:
    """(port, inode) of each listening socket."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except OSError:
        return []
    pattern = r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F:]+ 0A(?: +\S+){5} +(\d+)"
    return [(int(number, 16), inode) for number, inode in re.findall(pattern, text, re.MULTILINE)]
