"""What the network shall be, as values: made by network.plan, compared by network.diff, applied by the agent.

Interfaces are told by name here: some are made on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from nspawn.model.netview import Link, Rule
from nspawn.model.slot import Subnet, slot_of

#: MAC of the bridge: fixed, or it would follow its ports', and the containers' neighbour entries would age.
BRIDGE_MAC = "02:6e:73:70:ff:ff"
#: IFA_F_NODAD, IFA_F_NOPREFIXROUTE.
NODAD, NOPREFIXROUTE = 0x02, 0x200


def is_ours(link: Link) -> bool:
    """Whether an interface is our bridge, whatever its name, or a container's."""
    if link.kind == "bridge":
        return link.mac == BRIDGE_MAC
    return link.kind == "veth" and slot_of(link.name) >= 0


class Features(NamedTuple):
    """What this machine can.

    android: which world.  nat6: the table nat of ip6tables.  connmark: its target and its match.
    """

    android: bool = False
    bridge: bool = True
    ipv6: bool = True
    nat6: bool = True
    connmark: bool = True


class Note(NamedTuple):
    """Something that a person should know.  Texts as in an error: what, why and what next."""

    what: str
    why: str = ""
    hint: str = ""


class WantedLink(NamedTuple):
    """An interface of ours.  kind: "bridge", or "veth" which the start made; master: its bridge or ""."""

    name: str
    kind: str
    mac: str = ""
    master: str = ""


class WantedAddress(NamedTuple):
    """An address of the host on an interface of ours."""

    link: str
    family: int
    address: str
    length: int
    flags: int = 0


class WantedRoute(NamedTuple):
    """A route of protocol 78.  scope: 253 for IPv4 without a gateway; metric: IPv6 always has one, 1024.

    What goes through a gateway is added with RTNH_F_ONLINK: it was valid where it was copied from.
    In the table local (255) it is one to the machine itself.
    """

    link: str
    family: int
    dst: str
    table: int
    via: str = ""
    scope: int = 0
    metric: int = 0
    source: str = ""


class Sysctl(NamedTuple):
    """A value below /proc/sys.  only: it is set only where this is the present one; "" for any."""

    path: str
    value: str
    only: str = ""


class Proxy(NamedTuple):
    """An IPv6 address that the host answers for on an interface (proxy NDP)."""

    address: str
    link: str


class Inside(NamedTuple):
    """A global IPv6 address that a container shall have on eth0, /128, beside its own."""

    number: int
    address: str


class Egress(NamedTuple):
    """Where a slot's traffic leaves now.  number: of the slot, -1 for all that have no pin.

    link: the uplink's interface, "" when blocked; netid: Android's, 0 elsewhere; why: for people.
    """

    number: int
    link: str
    netid: int
    why: str


class Mark(NamedTuple):
    """An uplink's number in the mark's bits 21 to 24, and the interface that each family enters by."""

    mark: int
    link4: str
    link6: str


class Local(NamedTuple):
    """An address of the machine that forwards are reached at."""

    family: int
    address: str
    link: str


class Published(NamedTuple):
    """One forward (spelled as model.forwards does) of the container with these addresses."""

    forward: str
    address4: str
    address6: str


class FirewallInput(NamedTuple):
    """All that the firewall's text follows from.

    inner: interfaces of the containers as iptables spells them (`nspawn_br1`; `nsp+` point to point).
    locals, marks and published are empty while nothing is forwarded; marks also without connection marks.
    ipv6: "nat", "proxy" or "none"; proxied: global addresses of containers, let through and not translated.
    page: the page's port, 0 for no page; allow_page: containers may reach it, at the gateway's address.
    clamp: TCPMSS.
    """

    inner: tuple[str, ...]
    subnet4: str
    subnet6: str
    gateway4: str
    gateway6: str
    marks: tuple[Mark, ...] = ()
    locals: tuple[Local, ...] = ()
    published: tuple[Published, ...] = ()
    ipv6: str = "none"
    proxied: tuple[Proxy, ...] = ()
    page: int = 0
    clamp: bool = True
    allow_page: bool = False


class Plan(NamedTuple):
    """The whole of it.  mode: "bridge" or "ptp"; bridge: its name in both; ipv6 as in FirewallInput."""

    mode: str
    bridge: str
    subnet: Subnet
    links: tuple[WantedLink, ...]
    addresses: tuple[WantedAddress, ...]
    routes: tuple[WantedRoute, ...]
    rules: tuple[Rule, ...]
    sysctls: tuple[Sysctl, ...]
    proxies: tuple[Proxy, ...]
    inside: tuple[Inside, ...]
    egress: tuple[Egress, ...]
    notes: tuple[Note, ...]
    ipv6: str
    firewall: FirewallInput
