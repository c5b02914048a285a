"""The table `network` of config.toml, checked."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class NetConfig(NamedTuple):
    """What a person may choose for the whole network."""

    bridge: str = "nspawn_br1"
    subnet: str = "10.11.0.0/24"
    subnet6: str = "fd11::/64"
    order: tuple[str, ...] = ("vpn", "wifi,ethernet", "mobile")
    rule_base: int = 1000
    ipv6: str = "auto"
    dns: tuple[str, ...] = ()
    allow_page: bool = False


def from_table(table: Mapping[str, object], what: str = "network") -> NetConfig:
    """The table `[network]` as tomllib gives it, checked in whole; or UsageError.  what: begins the errors."""
    raise NotImplementedError
