"""Plain Linux, when the default route goes from one uplink to another: what changes, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nspawn.model import uplinks
from nspawn.model.netconfig import NetConfig
from nspawn.model.netplan import Features, Plan
from nspawn.model.netview import MAIN, Address, Link, Route, View
from nspawn.model.slot import Slot
from nspawn.network.diff import operations
from nspawn.network.plan import make
from tests.support.netkernel import Kernel
from tests.support.netviews import Machine

CONFIG = NetConfig()
ETHERNET = Route(4, "0.0.0.0/0", MAIN, 2, "192.168.1.1", protocol=3, metric=100)
WIFI = Route(4, "0.0.0.0/0", MAIN, 3, "192.168.2.1", protocol=3, metric=100)


class Host:
    """eth0 has the default route, wlan0 had it before; containers are pinned to one or both."""

    def __init__(self, *slots: Slot) -> None:
        self.slots = list(slots)
        machine = Machine()
        machine.network("eth0", 2, "192.168.1")
        machine.network("wlan0", 3, "192.168.2")
        machine.links += [Link(50 + slot.number, f"nsp{slot.number}", "veth") for slot in slots]
        self.kernel = Kernel(machine.view())
        self.settle()
        self.change(gone=(WIFI,))

    def plan(self) -> Plan:
        view = self.kernel.view()
        return make(
            view, uplinks.find(view, False, {}), CONFIG.wanted(), self.slots, CONFIG, Features(nat6=False)
        )

    def settle(self) -> list[str]:
        """Make it as it should be: the operations; a second time there are none."""
        steps = operations(self.kernel.view(), self.plan())
        self.kernel.apply(steps)
        assert operations(self.kernel.view(), self.plan()) == []
        return [step.describe() for step in steps]

    def change(self, *come: Route, gone: tuple[Route, ...] = ()) -> list[str]:
        """Routes of the machine come and go."""
        self.kernel.routes = [route for route in self.kernel.routes if route not in gone] + list(come)
        return self.settle()

    def link(self, ifindex: int, **more: bool) -> list[str]:
        self.kernel.links = [
            each._replace(**more) if each.ifindex == ifindex else each  # type: ignore[arg-type]
            for each in self.kernel.links
        ]
        return self.settle()

    def ways(self, table: int) -> list[str]:
        return [route.via for route in self.kernel.routes if route.table == table and route.length == 0]

    def view(self) -> View:
        return self.kernel.view()


def many(*pins: str, on_down: str = "block") -> list[Slot]:
    return [
        Slot(number, f"name:c{number}", pins=pins, on_down=on_down, forwards=(f"{9000 + number}:80/tcp",))
        for number in range(50)
    ]


@pytest.mark.parametrize(
    ("pins", "on_down"),
    [(("eth0", "wlan0"), "block"), (("wl*",), "fallback"), (("ethernet,wifi",), "block"), ((), "block")],
)
def test_only_routes_are_changed_whatever_the_number_of_containers(
    pins: tuple[str, ...], on_down: str
) -> None:
    host = Host(*many(*pins, on_down=on_down))
    firewall = host.plan().firewall
    there = host.change(WIFI, gone=(ETHERNET,))
    back = host.change(ETHERNET, gone=(WIFI,))
    assert (1 if pins else 0) <= len(there) == len(back) <= 4, there
    assert all(line.startswith("ip -4 route ") for line in [*there, *back]), there
    assert host.plan().firewall == firewall


def test_a_pin_without_a_way_out_ends_at_its_last_rule() -> None:
    """Nothing but the neighbours is in its table: the kernel goes on to the next rule, `unreachable`."""
    host = Host(Slot(3, "name:c3", pins=("wlan0",)))
    rules = [rule for rule in host.view().rules if rule.src == "10.11.0.5/32" and rule.family == 4]
    assert [(rule.action, rule.table) for rule in rules] == [("lookup", 10003), ("unreachable", 0)]
    assert [route.dst for route in host.view().routes if route.table == 10003] == ["192.168.2.0/24"]
    assert host.plan().egress[1].why == "blocked because pin wlan0 is down and on_down=block"
    host.change(WIFI)
    assert host.ways(10003) == ["192.168.2.1"]
    assert host.plan().egress[1].link == "wlan0"


def test_a_cable_that_is_out_for_a_moment_leaves_the_rules_and_empties_the_table() -> None:
    host = Host(*many("eth0", "wlan0"))
    host.change(WIFI)
    lines = host.link(2, running=False)
    assert not any(route.table == 10002 for route in host.view().routes)
    assert all(line.startswith("ip -4 route delete ") for line in lines)
    assert host.plan().egress[1].link == "wlan0"
    assert all(line.startswith("ip -4 route append ") for line in host.link(2, running=True))
    assert host.plan().egress[1].link == "eth0"


def test_an_interface_that_is_gone_takes_its_rules_along() -> None:
    host = Host(Slot(3, "name:c3", pins=("wlan0",), forwards=("8080:80/tcp",)))
    host.kernel.links = [link for link in host.kernel.links if link.ifindex != 3]
    host.kernel.routes = [route for route in host.kernel.routes if route.oif != 3]
    host.settle()
    assert not {10003, 10_000_003} & {rule.table for rule in host.view().rules}
    assert [rule.action for rule in host.view().rules if rule.src == "10.11.0.5/32"] == ["unreachable"]
    assert [mark.link4 for mark in host.plan().firewall.marks] == ["eth0"]


def test_what_came_in_by_an_uplink_is_answered_by_it_after_the_default_has_moved() -> None:
    host = Host(Slot(3, "name:c3", pins=("eth0",), forwards=("8080:80/tcp",)))
    host.change(WIFI, gone=(ETHERNET,))
    assert host.ways(10002) == []
    assert host.ways(10_000_002) == ["192.168.1.1"]
    assert host.ways(10_000_003) == ["192.168.2.1"]
    marks = {rule.table for rule in host.view().rules if rule.mark and rule.family == 4}
    assert marks == {10_000_002, 10_000_003}


def without_address(host: Host) -> None:
    host.kernel.addresses = [each for each in host.kernel.addresses if each.ifindex != 2]


def in_another_network(host: Host) -> None:
    host.kernel.routes = [
        each for each in host.kernel.routes if (each.oif, each.dst, each.table) != (2, "192.168.1.0/24", MAIN)
    ]
    host.kernel.addresses.append(Address(2, 4, "172.20.0.9", 16))
    host.kernel.routes.append(Route(4, "172.20.0.0/16", MAIN, 2, scope=253, protocol=2))


def without_carrier(host: Host) -> None:
    host.link(2, running=False)


@pytest.mark.parametrize("change", [without_address, in_another_network, without_carrier])
def test_the_last_way_is_kept_no_longer_than_it_can_lead_anywhere(change: Callable[[Host], None]) -> None:
    host = Host(Slot(3, "name:c3", forwards=("8080:80/tcp",)))
    host.change(WIFI, gone=(ETHERNET,))
    assert host.ways(10_000_002) == ["192.168.1.1"]
    change(host)
    host.settle()
    assert host.ways(10_000_002) == []


def test_another_gateway_takes_the_place_of_the_last_one() -> None:
    host = Host(Slot(3, "name:c3", forwards=("8080:80/tcp",)))
    host.change(ETHERNET._replace(via="192.168.1.254"), gone=(ETHERNET,))
    assert host.ways(10_000_002) == ["192.168.1.254"]
