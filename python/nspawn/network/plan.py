"""What the network shall be, from what the containers want and what is there: a pure decision."""

from __future__ import annotations

from nspawn.errors import Conflict
from nspawn.model import netdrules, netplan, prefix
from nspawn.model import uplinks as model
from nspawn.model.netplan import (
    FirewallInput,
    Inside,
    Local,
    Mark,
    Plan,
    Proxy,
    Published,
    Sysctl,
    WantedAddress,
    WantedLink,
    WantedRoute,
)
from nspawn.model.netview import LOCAL, MAIN, PROTOCOL
from nspawn.model.slot import slot_of, veth
from nspawn.network import notes, rules
from nspawn.network.egress import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nspawn.model.netconfig import NetConfig
    from nspawn.model.netplan import Features
    from nspawn.model.netview import Route, Rule, View
    from nspawn.model.slot import Slot, Subnet
    from nspawn.model.uplinks import Uplink

#: IP6_RT_PRIO_USER: what the kernel makes of 0.
METRIC6 = 1024
_LINK = 253
_ULA = (6, 0xFC << 120, 7)
#: Of addresses that are no basis for others: temporary, tentative, deprecated, failed (IFA_F_*).
_POOR = 0x01 | 0x08 | 0x20 | 0x40
#: Of a container's global address: an EUI-64 of its MAC, with which proxies are recognised.
_IDENTIFIER = 0x006E73FFFE700000


def make(
    view: View,
    uplinks: Sequence[Uplink],
    subnet: Subnet,
    slots: Sequence[Slot],
    config: NetConfig,
    features: Features,
    *,
    page: int = 8080,
) -> Plan:
    """slots: the active ones.  page: its port, which containers must not reach; 0 for none.

    Raises Conflict when the bridge's name is another program's interface.
    """
    return _Making(view, uplinks, subnet, slots, config, features).plan(page)


def identifier(number: int) -> int:
    """The lower half of a container's global address."""
    return _IDENTIFIER + number


def is_proxy(address: str) -> bool:
    """Whether a proxied address is one of a container's."""
    family, number = prefix.address(address)
    return family == 6 and 0 <= (number & (1 << 64) - 1) - _IDENTIFIER < 1 << 16


def _copy(route: Route, uplink: Uplink, table: int) -> WantedRoute:
    return WantedRoute(
        uplink.name,
        route.family,
        route.dst,
        table,
        route.via,
        route.scope if route.family == 4 else 0,
        route.metric or (METRIC6 if route.family == 6 else 0),
        route.source,
    )


class _Making:
    """One plan on its way."""

    def __init__(
        self,
        view: View,
        uplinks: Sequence[Uplink],
        subnet: Subnet,
        slots: Sequence[Slot],
        config: NetConfig,
        features: Features,
    ) -> None:
        self.view = view
        self.subnet = subnet
        self.slots = sorted(slots, key=lambda slot: slot.number)
        self.config = config
        self.features = features
        self.families = (4, 6) if features.ipv6 else (4,)
        self.nat6 = features.ipv6 and features.nat6 and config.ipv6 == "auto"
        self.paths = Paths(
            uplinks,
            config,
            android=features.android,
            locked=features.android and netdrules.lockdown(view),
            families=(4, 6) if self.nat6 else (4,),
        )
        self.networks = rules.base_subnets(subnet)
        self.gateways = {4: prefix.spell(4, subnet.base4 + 1), 6: prefix.spell(6, subnet.base6 + 1)}
        self.forwarding = [slot for slot in self.slots if slot.forwards]
        self.marks: dict[str, int] = {}
        if self.forwarding and features.connmark:
            self.marks = rules.marks(self.paths.held, view.rules, config.rule_base)
        self.globals = list(self._globals())

    def plan(self, page: int) -> Plan:
        ipv6 = "nat" if self.nat6 else "proxy" if self.globals else "none"
        proxies = tuple(Proxy(address, uplink.name) for _, address, uplink in self.globals)
        return Plan(
            mode="bridge" if self.features.bridge else "ptp",
            bridge=self.config.bridge,
            subnet=self.subnet,
            links=tuple(self._links()),
            addresses=tuple(self._addresses()),
            routes=tuple(dict.fromkeys(self._routes())),
            rules=tuple(dict.fromkeys(self._rules())),
            sysctls=tuple(self._sysctls()),
            proxies=proxies,
            inside=tuple(Inside(slot.number, address) for slot, address, _ in self.globals),
            egress=(self.paths.egress(None), *(self.paths.egress(slot) for slot in self.slots)),
            notes=tuple(notes.of(self.view, self.paths, self.subnet, self.slots, self.config, self.features)),
            ipv6=ipv6,
            firewall=self._firewall(ipv6, proxies, page),
        )

    def address(self, family: int, slot: Slot) -> str:
        base = self.subnet.base4 if family == 4 else self.subnet.base6
        return prefix.spell(family, base + 2 + slot.number)

    def link(self, slot: Slot) -> str:
        """Where a slot's packets go."""
        return self.config.bridge if self.features.bridge else veth(slot.number)

    def _links(self) -> Iterator[WantedLink]:
        bridge = self.config.bridge if self.features.bridge else ""
        if bridge:
            there = self.view.link(bridge)
            if there is not None and (there.kind != "bridge" or there.mac != netplan.BRIDGE_MAC):
                raise Conflict(
                    f"the network has no bridge: there is another interface with the name {bridge}",
                    f"its kind is {there.kind or 'hardware'} and its address {there.mac or 'unknown'}",
                    f"Remove it (ip link delete {bridge}), or set `bridge` of [network] in config.toml.",
                )
            yield WantedLink(bridge, "bridge", netplan.BRIDGE_MAC)
        for slot in self.slots:
            yield WantedLink(veth(slot.number), "veth", master=bridge)

    def _outer(self) -> list[str]:
        """The interfaces that have the gateway's addresses."""
        return [self.config.bridge] if self.features.bridge else [veth(slot.number) for slot in self.slots]

    def _addresses(self) -> Iterator[WantedAddress]:
        lengths = {4: self.subnet.length4, 6: 64} if self.features.bridge else prefix.BITS
        for link in self._outer():
            for family in self.families:
                flags = netplan.NODAD | netplan.NOPREFIXROUTE if family == 6 else 0
                yield WantedAddress(link, family, self.gateways[family], lengths[family], flags)

    def _routes(self) -> Iterator[WantedRoute]:
        """Of the main table, and on plain Linux of our own tables.

        The bridge's IPv6 route is told, not left to the kernel: Android has it make such a route in the table
        1000 + index (accept_ra_rt_table).
        """
        if not self.features.bridge:
            for slot in self.slots:
                for family in self.families:
                    host = f"{self.address(family, slot)}/{prefix.BITS[family]}"
                    yield self._direct(family, host, veth(slot.number))
        elif self.features.ipv6:
            yield self._direct(6, self.networks[6], self.config.bridge)
        if self.forwarding and self.nat6:
            # Answers to forwards from ::1: the kernel takes what came by another interface for this address
            # by a route of that very interface only (net/ipv6/route.c: rt6_need_strict).
            for link in self._outer():
                yield WantedRoute(link, 6, "::1/128", LOCAL, metric=METRIC6)
        for slot, address, _ in self.globals:
            yield self._direct(6, f"{address}/128", self.link(slot))
        if not self.features.android:
            yield from self._copies()

    def _direct(self, family: int, dst: str, link: str) -> WantedRoute:
        if family == 6:
            return WantedRoute(link, 6, dst, MAIN, metric=METRIC6)
        return WantedRoute(link, 4, dst, MAIN, scope=_LINK, source=self.gateways[4])

    def _copies(self) -> Iterator[WantedRoute]:
        """What pins and marks look up on plain Linux: nothing of an uplink without a carrier."""
        pinned = {each.ifindex: each for slot in self.slots for each in self.paths.pinned(slot)}
        pinned |= {each.ifindex: each for _, _, each in self.globals}
        marked = {each.ifindex: each for each in self.paths.all if each.name in self.marks}
        families = self.families if self.nat6 or self.globals else (4,)
        for route in self.view.routes:
            if route.kind != "unicast" or route.family not in families or route.table == LOCAL:
                continue
            marks = marked.get(route.oif)
            if route.protocol == PROTOCOL:
                if marks is not None and self._is_last_way(route, marks):
                    yield _copy(route, marks, route.table)
                continue
            if route.dst.startswith(("fe80:", "ff")):
                continue
            pin = pinned.get(route.oif)
            if pin is not None and pin.carrier:
                yield _copy(route, pin, pin.table(route.family))
            if marks is not None:
                yield _copy(route, marks, marks.answers(route.family))

    def _is_last_way(self, route: Route, uplink: Uplink) -> bool:
        """Whether it is the way out that the machine had by this uplink: who came in there is still answered.

        Without an address, or with those of another network, it leads nowhere.
        """
        if route.table != uplink.answers(route.family) or uplink.usable(route.family):
            return False
        if not model.is_wide(route.dst) or not any(
            (each.ifindex, each.family, each.scope) == (route.oif, route.family, 0)
            for each in self.view.addresses
        ):
            return False
        if not route.via:
            return True
        gateway = prefix.parse(route.via)
        return any(
            (each.oif, each.family, each.via) == (route.oif, route.family, "")
            and each.protocol != PROTOCOL
            and prefix.overlap(prefix.parse(each.dst), gateway)
            for each in self.view.routes
            if each.table != LOCAL
        )

    def _rules(self) -> Iterator[Rule]:
        bridge = self.config.bridge if self.features.bridge else ""
        for family in self.families:
            ground = rules.Ground(
                family,
                self.config.rule_base,
                self.networks[family],
                bridge,
                out=family == 4 or self.nat6,
            )
            yield from rules.for_all(ground, self.paths, self.marks)
            for slot in self.slots:
                yield from rules.for_slot(ground, self.paths, slot, self.address(family, slot))
            if family == 6:
                for slot, address, uplink in self.globals:
                    yield from rules.for_global(ground, slot, address, uplink)

    def _sysctls(self) -> Iterator[Sysctl]:
        """accept_ra: Android's default would let a container announce routes to the phone.

        rp_filter: strict, it would drop the answers to what left by a pin; loose does not.  accept_ra of an
        uplink: with forwarding on, 1 means no more, and the routes that it gave are purged (Android has 2).
        """
        for link in self._outer():
            yield Sysctl(f"net/ipv4/conf/{link}/route_localnet", "1")
            if self.features.ipv6:
                yield Sysctl(f"net/ipv6/conf/{link}/disable_ipv6", "0")
                yield Sysctl(f"net/ipv6/conf/{link}/accept_ra", "0")
        for uplink in self.paths.all:
            yield Sysctl(f"net/ipv4/conf/{uplink.interface(4)}/rp_filter", "2", only="1")
            if self.features.ipv6:
                yield Sysctl(f"net/ipv6/conf/{uplink.name}/accept_ra", "2", only="1")
        for link in dict.fromkeys(uplink.name for _, _, uplink in self.globals):
            yield Sysctl(f"net/ipv6/conf/{link}/proxy_ndp", "1")
        yield Sysctl("net/ipv4/ip_forward", "1")
        if self.features.ipv6:
            yield Sysctl("net/ipv6/conf/all/forwarding", "1")

    def _globals(self) -> Iterator[tuple[Slot, str, Uplink]]:
        """For each slot that wants one: a global address, of the first uplink that has 64 bits for it."""
        if not self.features.ipv6 or self.config.ipv6 == "off":
            return
        for slot in self.slots:
            if slot.ipv6 != "proxy":
                continue
            among = self.paths.pinned(slot) if slot.pins else self.paths.free or self.paths.all
            for uplink in among:
                base = self._network_of(uplink)
                if base:
                    yield slot, prefix.spell(6, base | identifier(slot.number)), uplink
                    break

    def _network_of(self, uplink: Uplink) -> int:
        if uplink.kind == "vpn" or not uplink.usable6:
            return 0
        found = []
        for address in self.view.addresses:
            if address.ifindex == uplink.ifindex and address.family == 6 and address.scope == 0:
                family, number = prefix.address(address.address)
                if address.length == 64 and not prefix.overlap(_ULA, (family, number, 128)):
                    found.append((address.flags & _POOR, number >> 64 << 64))
        return min(found)[1] if found else 0

    def _firewall(self, ipv6: str, proxies: tuple[Proxy, ...], page: int) -> FirewallInput:
        return FirewallInput(
            inner=(self.config.bridge,) if self.features.bridge else ("nsp+",),
            subnet4=self.networks[4],
            subnet6=self.networks[6] if self.features.ipv6 else "",
            gateway4=self.gateways[4],
            gateway6=self.gateways[6],
            marks=tuple(
                Mark(self.marks[each.name], each.interface(4), each.interface(6))
                for each in sorted(self.paths.held, key=lambda each: self.marks.get(each.name, 0))
                if each.name in self.marks
            ),
            locals=tuple(self._locals()) if self.forwarding else (),
            published=tuple(
                Published(text, self.address(4, slot), self.address(6, slot))
                for slot in self.forwarding
                for text in slot.forwards
            ),
            ipv6=ipv6,
            proxied=proxies,
            page=page,
            allow_page=self.config.allow_page,
        )

    def _locals(self) -> list[Local]:
        """Sorted: the kernel's order changes when interfaces come and go."""
        names = {link.ifindex: link for link in self.view.links}
        found = []
        for address in self.view.addresses:
            link = names.get(address.ifindex)
            if link is None or link.loopback or link.name == self.config.bridge or slot_of(link.name) >= 0:
                continue
            if address.scope == 0 and address.family in self.families:
                found.append(Local(address.family, address.address, link.name))
        return sorted(found)
