"""What the kernel says of the network, as values: links, addresses, routes, rules.

The observer makes them from netlink messages, the plan compares them, the applier turns them into messages.
Families are 4 and 6.  Prefixes are text in one spelling: `10.11.0.0/24`, `fd11::/64`; everything is
`0.0.0.0/0` and `::/0` in a route, and "" in a rule.
"""

from __future__ import annotations

from typing import NamedTuple

#: FRA_PROTOCOL, RTA protocol of what is ours: another program's rules and routes are never touched.
PROTOCOL = 78
MAIN = 254
LOCAL = 255
#: Android's table of what is tethered: hotspot, USB.
LOCAL_NETWORK = 97


class Link(NamedTuple):
    """An interface.  kind: of the driver ("bridge", "veth", "tun", "wireguard"), "" for hardware.

    up: IFF_UP; running: it has a carrier; master: the index of its bridge, 0 for none.
    """

    ifindex: int
    name: str
    kind: str = ""
    up: bool = True
    running: bool = True
    loopback: bool = False
    master: int = 0
    mac: str = ""
    mtu: int = 0
    wireless: bool = False


class Address(NamedTuple):
    """An address of an interface.  scope: 0 global, 253 link, 254 host; flags: of rtnetlink(7), IFA_F_*."""

    ifindex: int
    family: int
    address: str
    length: int
    scope: int = 0
    flags: int = 0


class Route(NamedTuple):
    """A route.  kind: "unicast", "unreachable", "prohibit", "blackhole", "local" ...; oif: an index or 0.

    via: the gateway or ""; scope as of an address; source: the preferred source address or "".
    """

    family: int
    dst: str
    table: int
    oif: int = 0
    via: str = ""
    kind: str = "unicast"
    scope: int = 0
    protocol: int = 0
    metric: int = 0
    source: str = ""

    @property
    def length(self) -> int:
        return int(self.dst.rpartition("/")[2])


class Rule(NamedTuple):
    """A rule of routing policy.  action: "lookup", "unreachable", "prohibit", "blackhole", "goto", "nop".

    mark, mask: of fwmark, both 0 for none; uids: first and last, None for all; suppress: the longest prefix
    that does not count (suppress_prefixlength), -1 for none.  more: it has something that is not told here.
    """

    family: int
    priority: int
    action: str = "lookup"
    table: int = 0
    src: str = ""
    dst: str = ""
    iif: str = ""
    oif: str = ""
    mark: int = 0
    mask: int = 0
    uids: tuple[int, int] | None = None
    suppress: int = -1
    protocol: int = 0
    more: bool = False


class View(NamedTuple):
    """All of it at one moment.  sysctls: values by path below /proc/sys, of those that were asked for."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    #: Addresses that are answered for others (proxy NDP): (address, index of the interface).
    proxies: tuple[tuple[str, int], ...] = ()

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)
