"""A stand-in for the kernel's tables: applies operations to a View, as strictly as the kernel does.

Deleting a rule takes the first that has what is named (net/core/fib_rules.c, rule_find), adding one that is
there is an error, a route goes with its interface.
"""

from __future__ import annotations

from collections.abc import Iterable

from nspawn.model.netplan import Proxy, Sysctl, WantedAddress, WantedLink, WantedRoute
from nspawn.model.netview import PROTOCOL, Address, Link, Route, Rule, View
from nspawn.network.operation import Operation


class Refused(Exception):
    pass


class Kernel:
    def __init__(self, view: View, *, old: bool = False) -> None:
        """old: before 4.17; rules have no protocol."""
        self.old = old
        self.links = list(view.links)
        self.addresses = list(view.addresses)
        self.routes = list(view.routes)
        self.rules = list(view.rules)
        self.sysctls = dict(view.sysctls)
        self.proxies = list(view.proxies)

    def view(self) -> View:
        return View(
            tuple(self.links),
            tuple(self.addresses),
            tuple(self.routes),
            tuple(self.rules),
            tuple(self.sysctls.items()),
            tuple(self.proxies),
        )

    def apply(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            assert operation.describe()
            getattr(self, f"{operation.verb}_{type(operation.what).__name__.lower()}")(operation.what)

    def index(self, name: str) -> int:
        for link in self.links:
            if link.name == name:
                return link.ifindex
        raise Refused(f"no interface {name}")

    def add_wantedlink(self, link: WantedLink) -> None:
        if any(each.name == link.name for each in self.links):
            raise Refused(f"{link.name} exists")
        ifindex = max((each.ifindex for each in self.links), default=0) + 1
        self.links.append(Link(ifindex, link.name, link.kind, mac=link.mac))

    def set_wantedlink(self, link: WantedLink) -> None:
        at = self.links.index(next(each for each in self.links if each.name == link.name))
        master = self.index(link.master) if link.master else 0
        self.links[at] = self.links[at]._replace(up=True, master=master)

    def delete_wantedlink(self, link: WantedLink) -> None:
        index = self.index(link.name)
        self.links = [
            each._replace(master=0) if each.master == index else each
            for each in self.links
            if each.ifindex != index
        ]
        self.addresses = [each for each in self.addresses if each.ifindex != index]
        self.routes = [each for each in self.routes if each.oif != index]
        self.proxies = [each for each in self.proxies if each[1] != index]
        self.sysctls = {
            path: value for path, value in self.sysctls.items() if f"/conf/{link.name}/" not in path
        }

    def add_wantedaddress(self, address: WantedAddress) -> None:
        new = Address(self.index(address.link), address.family, address.address, address.length)
        if any(each[:3] == new[:3] and each.length == new.length for each in self.addresses):
            raise Refused(f"{address} exists")
        self.addresses.append(new._replace(flags=address.flags))

    def delete_wantedaddress(self, address: WantedAddress) -> None:
        key = (self.index(address.link), address.family, address.address, address.length)
        left = [each for each in self.addresses if each[:4] != key]
        if left == self.addresses:
            raise Refused(f"no {address}")
        self.addresses = left

    def _route(self, route: WantedRoute) -> Route:
        return Route(
            route.family,
            route.dst,
            route.table,
            self.index(route.link) if route.link else 0,
            route.via,
            "unicast",
            route.scope,
            PROTOCOL,
            route.metric,
            route.source,
        )

    def add_wantedroute(self, route: WantedRoute) -> None:
        new = self._route(route)
        if new in self.routes:
            raise Refused(f"{route} exists")
        if route.family == 6:
            assert route.metric, "the kernel would choose one, and we would not know it again"
        self.routes.append(new)

    def delete_wantedroute(self, route: WantedRoute) -> None:
        new = self._route(route)
        if new not in self.routes:
            raise Refused(f"no {route}")
        self.routes.remove(new)

    def add_rule(self, rule: Rule) -> None:
        assert rule.protocol == PROTOCOL
        if self.old:
            rule = rule._replace(protocol=-1)
        if rule in self.rules:
            raise Refused(f"{rule} exists")
        at = sum(1 for each in self.rules if each.priority <= rule.priority)
        self.rules = sorted(self.rules, key=lambda each: each.priority)
        self.rules.insert(at, rule)

    def delete_rule(self, rule: Rule) -> None:
        for at, each in enumerate(self.rules):
            if self._meets(rule, each):
                del self.rules[at]
                return
        raise Refused(f"no {rule}")

    def _meets(self, asked: Rule, each: Rule) -> bool:
        if (asked.family, asked.priority, asked.action) != (each.family, each.priority, each.action):
            return False
        if not self.old and asked.protocol != each.protocol:
            return False
        names = ("table", "src", "dst", "iif", "oif", "mark", "mask", "uids")
        if any(getattr(asked, name) and getattr(asked, name) != getattr(each, name) for name in names):
            return False
        return asked.suppress in (-1, each.suppress)

    def set_sysctl(self, sysctl: Sysctl) -> None:
        self.sysctls[sysctl.path] = sysctl.value

    def add_proxy(self, proxy: Proxy) -> None:
        new = (proxy.address, self.index(proxy.link))
        if new in self.proxies:
            raise Refused(f"{proxy} exists")
        self.proxies.append(new)

    def delete_proxy(self, proxy: Proxy) -> None:
        self.proxies.remove((proxy.address, self.index(proxy.link)))
