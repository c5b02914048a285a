"""Phones and machines as network views: what netd leaves, written from the facts, without a kernel."""

from __future__ import annotations

from nspawn.model.netview import LOCAL, LOCAL_NETWORK, MAIN, Address, Link, Route, Rule, View

#: Priorities of netd's rules by generation (facts: network, section 1).
LADDERS = {
    "10": {"oif0": 10500, "v2l": 11000, "vpn": 12000, "deny": 12500, "explicit": 13000, "oif": 14000}
    | {"local": 17000, "tether": 18000, "implicit": 19000, "default": 22000},
    "12": {"oif0": 11000, "v2l": 12000, "vpn": 13000, "deny": 14000, "explicit": 16000, "oif": 17000}
    | {"local": 20000, "tether": 21000, "implicit": 23000, "default": 29000},
    "13": {"oif0": 11000, "v2l": 12000, "vpn": 13000, "deny": 14000, "explicit": 16000, "oif": 17000}
    | {"local": 20000, "tether": 21000, "implicit": 23000, "IF_local": 26000, "default": 31000},
    "lineage": {"oif0": 11000, "v2l": 12000, "vpn": 13000, "deny": 14000, "explicit": 16000, "oif": 17000}
    | {"local": 20000, "tether": 21000, "implicit": 23000, "IF_local": 26000, "default": 31000},
}
ALL_APPS = ((0, 10133), (10135, 99999))


class Phone:
    """Each method is what a phone does; `view()` is what the kernel then says."""

    def __init__(self, generation: str = "13") -> None:
        self.generation = generation
        self.at = LADDERS[generation]
        self.links: list[Link] = [Link(1, "lo", loopback=True)]
        self.addresses: list[Address] = []
        self.routes: list[Route] = [Route(4, "127.0.0.0/8", LOCAL, 1, kind="local")]
        self.rules: list[Rule] = []
        self.names = {255: "local", 254: "main", 97: "local_network", 98: "legacy_system"}
        self._netid = 99
        self.both(0, table=LOCAL)
        self.both(10000, table=99, mark=0xC0000, mask=0xD0000)
        self.both(self.at["explicit"], table=97, mark=0x10063, mask=0x1FFFF, iif="lo")
        self.both(self.at["local"], table=97, mark=0, mask=0x10000)
        self.both(32000, action="unreachable")

    def both(self, priority: int, **more: object) -> None:
        for family in (4, 6):
            self.rules.append(Rule(family, priority, **more))  # type: ignore[arg-type]

    def link(self, name: str, ifindex: int, kind: str = "", *, running: bool = True) -> Link:
        link = Link(ifindex, name, kind, running=running)
        self.links.append(link)
        self.names[1000 + ifindex] = name
        return link

    def network(
        self,
        name: str,
        ifindex: int,
        *,
        permission: int = 0,
        netid: int = 0,
        wide4: tuple[str, ...] = ("0.0.0.0/0",),
        wide6: tuple[str, ...] = ("::/0",),
        running: bool = True,
    ) -> int:
        """A physical network comes; its netid."""
        self.link(name, ifindex, running=running)
        if not netid:
            self._netid += 1
            netid = self._netid
        table = 1000 + ifindex
        self.both(self.at["oif0"], table=table, iif="lo", oif=name, uids=(0, 0))
        explicit, mask = permission | 0x10000 | netid, permission | 0x1FFFF
        self.both(self.at["explicit"], table=table, mark=explicit, mask=mask, iif="lo")
        self.both(self.at["oif"], table=table, mark=permission, mask=permission, iif="lo", oif=name)
        if not permission:
            self.both(self.at["implicit"], table=table, mark=netid, mask=0x1FFFF, iif="lo")
        self.wide(ifindex, table, wide4, wide6)
        self.routes.append(Route(6, "fe80::/64", table, ifindex, protocol=2, metric=256))
        self.routes.append(Route(6, "ff00::/8", table, ifindex, protocol=2, metric=256))
        return netid

    def wide(self, ifindex: int, table: int, wide4: tuple[str, ...], wide6: tuple[str, ...]) -> None:
        via = {4: "192.168.1.1", 6: "fe80::1"}
        for family, each in ((4, wide4), (6, wide6)):
            for dst in each:
                metric = 1024 if family == 6 else 0
                self.routes.append(Route(family, dst, table, ifindex, via[family], protocol=4, metric=metric))

    def default(self, ifindex: int) -> None:
        """The default network."""
        mark, mask = (0xC0000, 0xCFFFF) if self.generation == "lineage" else (0, 0xFFFF)
        self.both(self.at["default"], table=1000 + ifindex, mark=mark, mask=mask, iif="lo")
        if "IF_local" in self.at:
            table = 1_000_000_000 + ifindex
            self.both(self.at["IF_local"], table=table, mark=0, mask=0x10000, iif="lo")

    def vpn(
        self,
        name: str,
        ifindex: int,
        *,
        wide4: tuple[str, ...] = ("0.0.0.0/0",),
        wide6: tuple[str, ...] = ("::/0",),
        uids: tuple[tuple[int, int], ...] = ALL_APPS,
        lockdown: bool = False,
    ) -> None:
        self.link(name, ifindex, "tun")
        self._netid += 1
        netid, table = self._netid, 1000 + ifindex
        self.both(self.at["v2l"], table=97, iif=name)
        self.both(self.at["vpn"], table=table, mark=0xC0000 | netid, mask=0xCFFFF)
        self.both(self.at["explicit"], table=table, mark=0x10000 | netid, mask=0x1FFFF, iif="lo", uids=(0, 0))
        for each in uids:
            self.both(self.at["vpn"], table=table, mark=0, mask=0x20000, iif="lo", uids=each)
            self.both(self.at["oif"], table=table, iif="lo", oif=name, uids=each)
            explicit = 0x10000 | netid
            self.both(self.at["explicit"], table=table, mark=explicit, mask=0x1FFFF, iif="lo", uids=each)
        for family, each_wide in ((4, wide4), (6, wide6)):
            for dst in each_wide:
                metric = 1024 if family == 6 else 0
                self.routes.append(Route(family, dst, table, ifindex, scope=0, protocol=4, metric=metric))
        if lockdown:
            self.lock()

    def lock(self, uids: tuple[tuple[int, int], ...] = ALL_APPS) -> None:
        for each in uids:
            self.both(self.at["deny"], action="prohibit", mark=0, mask=0x20000, iif="lo", uids=each)

    def hotspot(self, name: str, ifindex: int, upstream: int) -> None:
        self.link(name, ifindex)
        self.both(self.at["oif0"], table=97, iif="lo", oif=name, uids=(0, 0))
        self.both(self.at["oif"], table=97, iif="lo", oif=name)
        self.both(self.at["tether"], table=1000 + upstream, iif=name)
        self.routes.append(Route(4, "192.168.43.0/24", LOCAL_NETWORK, ifindex, scope=253))
        self.addresses.append(Address(ifindex, 4, "192.168.43.1", 24))

    def view(self) -> View:
        return View(
            tuple(self.links),
            tuple(self.addresses),
            tuple(self.routes),
            tuple(sorted(self.rules, key=lambda rule: rule.priority)),
        )


class Machine:
    """Plain Linux."""

    def __init__(self) -> None:
        self.links: list[Link] = [Link(1, "lo", loopback=True)]
        self.addresses: list[Address] = []
        self.routes: list[Route] = []
        self.rules: list[Rule] = [
            Rule(family, priority, table=table, protocol=2)
            for family in (4, 6)
            for priority, table in ((0, LOCAL), (32766, MAIN))
        ]

    def network(self, name: str, ifindex: int, net: str, kind: str = "", metric: int = 100) -> None:
        """net: as in "192.168.1": the three numbers of a /24 with a router at .1."""
        self.links.append(Link(ifindex, name, kind))
        self.addresses.append(Address(ifindex, 4, f"{net}.50", 24))
        self.routes.append(Route(4, f"{net}.0/24", MAIN, ifindex, scope=253, protocol=2, source=f"{net}.50"))
        self.routes.append(Route(4, "0.0.0.0/0", MAIN, ifindex, f"{net}.1", protocol=3, metric=metric))
        self.routes.append(Route(4, f"{net}.50/32", LOCAL, ifindex, kind="local", protocol=2))

    def view(self) -> View:
        rules = sorted(self.rules, key=lambda rule: rule.priority)
        return View(tuple(self.links), tuple(self.addresses), tuple(self.routes), tuple(rules))
