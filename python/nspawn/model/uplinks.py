"""Which interfaces lead to the internet, of what kind they are, and in which order they are taken."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nspawn.model.netview import View

KINDS = ("vpn", "wifi", "ethernet", "mobile")


class Uplink(NamedTuple):
    """An interface that leads somewhere.

    table4, table6: where its routes are (on plain Linux: where we copy them to); netid: Android's, or 0.
    default: Android's default network, or of the machine's default route.  usable4, usable6: there is a way
    out.  why: what is wrong with it, "" when nothing.  name4: the interface of IPv4 when it is another one
    (464XLAT: v4-IF).  carrier: up and running.  apps: a VPN that is for some apps only.
    """

    name: str
    ifindex: int
    kind: str
    table4: int
    table6: int
    netid: int = 0
    default: bool = False
    usable4: bool = False
    usable6: bool = False
    why: str = ""
    name4: str = ""
    carrier: bool = True
    apps: bool = False

    def table(self, family: int) -> int:
        return self.table4 if family == 4 else self.table6

    def usable(self, family: int) -> bool:
        return self.usable4 if family == 4 else self.usable6

    def interface(self, family: int) -> str:
        return (self.name4 or self.name) if family == 4 else self.name


def read_tables(text: str) -> dict[int, str]:
    """The names in /data/misc/net/rt_tables."""
    raise NotImplementedError


def find(view: View, android: bool, rt_tables: Mapping[int, str]) -> list[Uplink]:
    """All uplinks."""
    raise NotImplementedError


def lockdown(view: View) -> bool:
    """Whether Android blocks what does not go through a VPN."""
    raise NotImplementedError


def check_word(word: str) -> str:
    """An interface, a glob or a kind, or UsageError."""
    raise NotImplementedError


def matches(word: str, uplink: Uplink) -> bool:
    """Whether a word of a pin or of the order means this uplink."""
    raise NotImplementedError


def order(uplinks: Iterable[Uplink], order: Sequence[str]) -> list[Uplink]:
    """Those that the order names, best first."""
    raise NotImplementedError
