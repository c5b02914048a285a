"""The settings of the program itself: config.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.model import netconfig, tables
from nspawn.model.netconfig import NetConfig
from nspawn.model.power import Rules
from nspawn.service import files

if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.fetching import Fetching

DEFAULT_PORT = 8080
#: Of the file's format.  A newer program may write a higher one; this one then leaves the file alone.
VERSION = 1
_HOTTEST = 120.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """port: of the page, 0 for no page.  problem: why the file, or its table `page`, is not used; then the
    defaults are.  power_problem, network_problem: why the table `power` or `network` is not.
    """

    port: int = DEFAULT_PORT
    power: Rules = field(default_factory=Rules)
    network: NetConfig = field(default_factory=NetConfig)
    problem: NspawnError | None = None
    power_problem: NspawnError | None = None
    network_problem: NspawnError | None = None


def load(layout: Layout) -> Config:
    """What config.toml says.  What cannot be used of it has its default, and `problem` tells why."""
    try:
        return parse(_document(layout), layout.config)
    except NspawnError as error:
        return Config(problem=error)


def fetching(layout: Layout) -> Fetching:
    """The table `images`, apart from the rest: only what fetches needs it.

    Raises NspawnError when it cannot be used: whoever named a server does not want another one asked.
    """
    from nspawn.model import fetching

    return fetching.from_table(_table(_document(layout), "images"), f"{layout.config}: images")


def _document(layout: Layout) -> Mapping[str, object]:
    try:
        return tomllib.loads(files.read(layout.config).decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise files.system_error(f"{layout.config} cannot be read", error) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{layout.config} cannot be read", str(error), "Correct it or remove it.") from None


def parse(document: Mapping[str, object], path: str) -> Config:
    """The same of a parsed document.  path: for the errors."""
    version = document.get("version", VERSION)
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        return Config(
            problem=NspawnError(
                f"{path} is of version {version} and this nspawn reads version {VERSION}",
                "a newer nspawn wrote it",
                "Update nspawn; the file was left as it is, and the defaults are used.",
            )
        )
    problem = power_problem = network_problem = None
    port, power, network = DEFAULT_PORT, Rules(), NetConfig()
    try:
        port = parse_port(_table(document, "page").get("port", DEFAULT_PORT), f"{path}: page.port")
    except NspawnError as error:
        problem = error
    try:
        found = tables.read(_table(document, "power"), _POWER, "power")
        power = Rules(**found)  # type: ignore[arg-type]  # each check gives its field's type
    except NspawnError as error:
        power_problem = type(error)(f"{path}: {error.what}", error.why, error.hint)
    try:
        network = netconfig.from_table(_table(document, "network"), f"{path}: network")
    except NspawnError as error:
        network_problem = error
    return Config(
        port=port,
        power=power,
        network=network,
        problem=problem,
        power_problem=power_problem,
        network_problem=network_problem,
    )


def parse_port(number: object, what: str) -> int:
    """The port, or UsageError."""
    return tables.whole(number, what, 0, 65535, "a port from 1 to 65535, or 0 for no page")


def _table(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        raise tables.expected("a table", table, name)
    return table


def _degrees(value: object, what: str) -> float:
    return tables.number(value, what, 0, _HOTTEST, f"degrees Celsius from 0 (off) to {_HOTTEST:g}")


def _percent(value: object, what: str) -> int:
    return tables.whole(value, what, 0, 100, "percent from 0 (off) to 100")


_POWER: dict[str, tables.Check] = {
    "freeze_above": _degrees,
    "thaw_below": _degrees,
    "freeze_below_charge": _percent,
    "thaw_above_charge": _percent,
}
