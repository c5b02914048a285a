from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nspawn.model import uplinks
from nspawn.model.netconfig import NetConfig
from nspawn.model.netplan import (
    BRIDGE_MAC,
    Features,
    Plan,
    Proxy,
    Sysctl,
    WantedAddress,
    WantedLink,
    WantedRoute,
    is_ours,
)
from nspawn.model.netview import MAIN, Address, Link, Route, Rule, View
from nspawn.model.slot import Slot
from nspawn.network.diff import lost, operations, teardown
from nspawn.network.operation import Operation
from nspawn.network.plan import make
from tests.support.netkernel import Kernel
from tests.support.netviews import Machine, Phone

BRIDGE = "nspawn_br1"
CONFIG = NetConfig()
FORWARDS = ("8080:80/tcp",)


def slots() -> list[Slot]:
    return [
        Slot(0, "name:plain"),
        Slot(1, "name:pinned", pins=("vpn", "wlan*"), forwards=FORWARDS),
        Slot(4, "name:back", pins=("mobile",), on_down="fallback"),
        Slot(9, "name:global", ipv6="proxy"),
    ]


def phone(generation: str = "13") -> Phone:
    found = Phone(generation)
    found.network("wlan0", 20)
    found.network("rmnet_data1", 14)
    found.vpn("tun0", 31)
    found.default(20)
    found.addresses += [Address(20, 4, "192.168.1.50", 24), Address(20, 6, "2001:db8:1::50", 64)]
    with_veths(found)
    return found


def machine() -> Machine:
    found = Machine()
    found.network("eth0", 2, "192.168.1")
    found.network("wlan0", 3, "192.168.2", metric=200)
    with_veths(found)
    return found


def with_veths(where: Phone | Machine) -> None:
    where.links += [Link(50 + slot.number, f"nsp{slot.number}", "veth") for slot in slots()]


def plan(view: View, features: Features, wanted: list[Slot]) -> Plan:
    names: dict[int, str] = {}
    found = uplinks.find(view, features.android, names)
    return make(view, found, CONFIG.wanted(), wanted, CONFIG, features)


ANDROID, PTP, PLAIN = Features(android=True), Features(android=True, bridge=False, nat6=False), Features()


def world(features: Features) -> View:
    return (phone() if features.android else machine()).view()


@pytest.mark.parametrize("features", [ANDROID, PTP, PLAIN])
def test_a_second_run_has_nothing_to_do_and_teardown_leaves_what_was_there(features: Features) -> None:
    before = world(features)
    kernel = Kernel(before)
    made = plan(before, features, slots())
    steps = operations(before, made)
    assert {step.verb for step in steps} == {"add", "set"}
    kernel.apply(steps)
    after = kernel.view()
    assert operations(after, plan(after, features, slots())) == []
    kernel.apply(teardown(after, BRIDGE, {"net/ipv4/ip_forward": "0"}))
    left = kernel.view()
    assert left.rules == before.rules
    assert left.routes == before.routes
    assert left.addresses == before.addresses
    assert left.links == tuple(link for link in before.links if not link.name.startswith("nsp"))
    assert left.proxies == ()
    assert dict(left.sysctls)["net/ipv4/ip_forward"] == "0"
    assert [step for step in teardown(left, BRIDGE, {}) if step.verb != "set"] == []


def test_the_first_steps_as_lines_to_paste() -> None:
    view = world(ANDROID)
    lines = [step.describe() for step in operations(view, plan(view, ANDROID, slots()[:2]))]
    assert lines[:4] == [
        f"ip link add nspawn_br1 address {BRIDGE_MAC} type bridge && ip link set nspawn_br1 up",
        "ip link set nsp0 master nspawn_br1 up",
        "ip link set nsp1 master nspawn_br1 up",
        "sysctl -w net.ipv4.conf.nspawn_br1.route_localnet=1",
    ]
    for line in (
        "ip -4 addr add 10.11.0.1/24 dev nspawn_br1",
        "ip -6 addr add fd11::1/64 dev nspawn_br1 nodad noprefixroute",
        "ip -6 route append fd11::/64 dev nspawn_br1 table main proto 78 metric 1024",
        "ip -4 rule add pref 1000 from all to 10.11.0.0/24 lookup main protocol 78",
        "ip -4 rule add pref 1111 from 10.11.0.3/32 iif nspawn_br1 lookup 1031 protocol 78",
        "ip -4 rule add pref 1119 from 10.11.0.3/32 iif nspawn_br1 unreachable protocol 78",
        "ip -6 rule add pref 3700 from all iif nspawn_br1 lookup 1020 suppress_prefixlength 0 protocol 78",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            Operation("delete", WantedRoute("eth0", 4, "0.0.0.0/0", 10002, "192.168.1.1", metric=100)),
            "ip -4 route delete 0.0.0.0/0 via 192.168.1.1 dev eth0 table 10002 proto 78 metric 100",
        ),
        (
            Operation("add", WantedRoute("eth0", 4, "0.0.0.0/0", 10002, "192.168.1.1")),
            "ip -4 route append 0.0.0.0/0 via 192.168.1.1 dev eth0 table 10002 proto 78 onlink",
        ),
        (
            Operation("add", WantedRoute("nsp3", 4, "10.11.0.5/32", MAIN, scope=253, source="10.11.0.1")),
            "ip -4 route append 10.11.0.5/32 dev nsp3 table main proto 78 scope link src 10.11.0.1",
        ),
        (Operation("add", Proxy("2001:db8::1", "wlan0")), "ip -6 neigh add proxy 2001:db8::1 dev wlan0"),
        (
            Operation("set", Sysctl("net/ipv4/conf/eth0.1/rp_filter", "2")),
            "sysctl -w net.ipv4.conf.eth0/1.rp_filter=2",
        ),
        (Operation("set", WantedLink("nsp0", "veth")), "ip link set nsp0 nomaster up"),
        (Operation("delete", WantedLink(BRIDGE, "bridge")), "ip link delete nspawn_br1"),
        (
            Operation("delete", WantedAddress(BRIDGE, 4, "10.11.0.1", 24)),
            "ip -4 addr delete 10.11.0.1/24 dev nspawn_br1",
        ),
        (
            Operation("add", Rule(4, 7, "prohibit", mark=1, mask=0xFF, oif="a", iif="lo", uids=(0, 9))),
            "ip -4 rule add pref 7 from all iif lo oif a fwmark 0x1/0xff uidrange 0-9 prohibit",
        ),
    ],
)
def test_each_step_is_a_line_to_paste(step: Operation, line: str) -> None:
    assert step.describe() == line


def changed(view: View, features: Features, wanted: list[Slot]) -> tuple[list[str], View]:
    steps = operations(view, plan(view, features, wanted))
    kernel = Kernel(view)
    kernel.apply(steps)
    after = kernel.view()
    assert operations(after, plan(after, features, wanted)) == []
    return [step.describe() for step in steps], after


def running(features: Features = ANDROID, *, where: Phone | Machine | None = None) -> View:
    return changed((where or phone()).view(), features, slots())[1]


def test_wifi_that_returns_with_a_new_index_moves_the_rules_adding_first() -> None:
    view = running()
    again = phone()
    again.links = [link for link in again.links if link.name != "wlan0"]
    again.routes = [route for route in again.routes if route.oif != 20]
    again.rules = [rule for rule in again.rules if rule.table != 1020]
    again.addresses = []
    again.network("wlan0", 77)
    again.default(77)
    again.links = [*again.links, *(link for link in view.links if link.name == BRIDGE)]
    bridge = view.link(BRIDGE)
    assert bridge is not None
    again.addresses += [each for each in view.addresses if each.ifindex == bridge.ifindex]
    again.routes += [route for route in view.routes if route.protocol == 78 and route.dst == "fd11::/64"]
    again.rules += [rule for rule in view.rules if rule.protocol == 78]
    lines, _ = changed(again.view(), ANDROID, slots())
    rules = [line for line in lines if " rule " in line]
    adds = [" rule add " in line for line in rules]
    assert adds == sorted(adds, reverse=True)
    assert all("lookup 1077" in line for line in rules if " rule add " in line)
    assert all("1020" in line or "2001:db8" in line for line in rules if " rule delete " in line)


def test_what_others_removed_comes_again() -> None:
    view = running()
    bridge = view.link(BRIDGE)
    assert bridge is not None
    netd_restarted = view._replace(rules=tuple(rule for rule in view.rules if rule.protocol != 78))
    lines, after = changed(netd_restarted, ANDROID, slots())
    assert all(" rule add " in line for line in lines)
    assert sorted(after.rules) == sorted(view.rules)
    forwarding_off = view._replace(
        sysctls=tuple((path, "0" if "forward" in path else value) for path, value in view.sysctls)
    )
    assert changed(forwarding_off, ANDROID, slots())[0] == [
        "sysctl -w net.ipv4.ip_forward=1",
        "sysctl -w net.ipv6.conf.all.forwarding=1",
    ]
    down = view._replace(links=tuple(x._replace(up=x.name != BRIDGE, master=0) for x in view.links))
    assert changed(down, ANDROID, slots())[0] == [
        "ip link set nspawn_br1 up",
        *(f"ip link set nsp{slot.number} master nspawn_br1 up" for slot in slots()),
    ]


def test_after_a_restart_of_netd_who_is_held_is_held_before_anything_is_passed_on() -> None:
    view = running()
    view = view._replace(
        rules=tuple(rule for rule in view.rules if rule.protocol != 78),
        sysctls=tuple((path, "0" if "forward" in path else value) for path, value in view.sysctls),
    )
    lines, _ = changed(view, ANDROID, slots())
    assert lines[-2:] == ["sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv6.conf.all.forwarding=1"]
    for family in ("-4", "-6"):
        rules = [int(line.split()[5]) for line in lines if line.startswith(f"ip {family} rule add pref")]
        assert rules == sorted(rules)
        assert rules[-1] == 3999


def test_what_went_meanwhile_is_put_back_the_lowest_first() -> None:
    view = running()
    made = plan(view, ANDROID, slots())
    assert lost(view.rules, made) == []
    left = [rule for rule in view.rules if rule.priority not in (3999, 1119)]
    assert [step.describe() for step in lost(left, made)] == [
        "ip -4 rule add pref 1119 from 10.11.0.3/32 iif nspawn_br1 unreachable protocol 78",
        "ip -6 rule add pref 1119 from fd11::3/128 iif nspawn_br1 unreachable protocol 78",
        "ip -4 rule add pref 3999 from all iif nspawn_br1 unreachable protocol 78",
        "ip -6 rule add pref 3999 from all iif nspawn_br1 unreachable protocol 78",
    ]


def test_a_bridge_with_a_former_name_goes() -> None:
    view = running()
    view = view._replace(
        links=tuple(x._replace(name="former") if x.name == BRIDGE else x for x in view.links)
    )
    lines, after = changed(view, ANDROID, slots())
    assert lines[-1] == "ip link delete former"
    assert after.link("former") is None


def test_a_slot_that_left_takes_its_rules_along() -> None:
    lines, after = changed(running(), ANDROID, slots()[:1])
    assert not any("10.11.0.3" in rule.src or "10.11.0.6" in rule.src for rule in after.rules)
    assert not any(rule.mark for rule in after.rules if rule.protocol == 78)
    assert all("delete" in line for line in lines)


def test_an_address_of_a_former_subnet_goes() -> None:
    view = running()
    bridge = view.link(BRIDGE)
    assert bridge is not None
    stale = (Address(bridge.ifindex, 4, "10.99.0.1", 24), Address(bridge.ifindex, 6, "fe80::7", 64, 253))
    lines, _ = changed(view._replace(addresses=view.addresses + stale), ANDROID, slots())
    assert lines == ["ip -4 addr delete 10.99.0.1/24 dev nspawn_br1"]


def test_a_loose_filter_is_asked_for_only_where_it_is_strict() -> None:
    view = world(PLAIN)
    paths = [f"net/ipv4/conf/{name}/rp_filter" for name in ("eth0", "wlan0")]
    for value, count in (("0", 0), ("1", 2), ("2", 0)):
        now = view._replace(sysctls=tuple((path, value) for path in paths))
        lines = [step.describe() for step in operations(now, plan(now, PLAIN, slots()))]
        assert len([line for line in lines if "rp_filter=2" in line]) == count


def test_a_rule_less_told_than_one_that_stays_does_not_take_it_along() -> None:
    view = running()
    extra = Rule(4, 1010, table=97, iif=BRIDGE, protocol=78)  # ours has suppress_prefixlength
    rules = tuple(sorted((*view.rules, extra), key=lambda rule: rule.priority))
    changed(view._replace(rules=rules), ANDROID, slots())


def test_before_linux_4_17_ours_are_known_by_what_they_say() -> None:
    where = phone()
    where.rules = [rule._replace(protocol=-1) for rule in where.rules]
    where.rules.append(Rule(4, 1500, table=99, iif="ap0", protocol=-1))
    where.rules.append(Rule(4, 5030, table=1014, src="10.0.0.0/8", protocol=-1))
    before = where.view()
    kernel = Kernel(before, old=True)
    kernel.apply(operations(before, plan(before, ANDROID, slots())))
    after = kernel.view()
    assert operations(after, plan(after, ANDROID, slots())) == []
    fewer = plan(after, ANDROID, slots()[:1])
    kernel.apply(operations(after, fewer))
    assert operations(kernel.view(), plan(kernel.view(), ANDROID, slots()[:1])) == []
    kernel.apply(teardown(kernel.view(), BRIDGE, {}))
    assert sorted(kernel.view().rules) == sorted(before.rules)


# Any state: some of what ours would be in some world, things of ours that are out of date, and strangers'.

T = TypeVar("T")

STRANGERS = [
    Rule(4, 5030, table=1014, src="10.0.0.0/8"),
    Rule(4, 1000, table=MAIN, dst="10.11.0.0/24", protocol=4),
    Rule(4, 1010, table=97, iif=BRIDGE, suppress=0, protocol=3),
    Rule(4, 1119, action="unreachable", src="10.11.0.3/32", iif=BRIDGE),
    Rule(6, 3999, action="unreachable", iif=BRIDGE, protocol=4),
    Rule(4, 3999, table=1020, mark=0x100, mask=0x100, protocol=4),
    Rule(6, 5270, table=52, protocol=3),
]
STALE = [
    Rule(4, 1010, table=97, iif=BRIDGE, protocol=78),
    Rule(4, 1010, table=97, protocol=78),
    Rule(4, 1111, table=1031, src="10.11.0.3/32", protocol=78),
    Rule(4, 1111, table=1031, iif=BRIDGE, protocol=78),
    Rule(4, 1119, action="unreachable", protocol=78),
    Rule(4, 1000, table=MAIN, protocol=78),
    Rule(4, 3801, table=1999, iif=BRIDGE, protocol=78),
    Rule(6, 3800, table=1020, iif=BRIDGE, protocol=78),
    Rule(4, 1025, table=1020, iif=BRIDGE, mark=5 << 21, mask=0x1E00000, protocol=78),
    Rule(4, 1026, table=1020, iif=BRIDGE, mark=6 << 21, mask=0x1E00000, protocol=78),
    Rule(6, 1026, table=1014, iif=BRIDGE, mark=6 << 21, mask=0x1E00000, protocol=78),
    Rule(4, 25, table=7, protocol=78),
    Rule(4, 3700, table=1020, iif=BRIDGE, protocol=78),
]
ROUTES_OF_STRANGERS = [
    Route(6, "fd11::/64", MAIN, 20, protocol=2, metric=256),
    Route(4, "10.11.0.0/24", MAIN, 20, protocol=2, scope=253),
    Route(4, "0.0.0.0/0", 10002, 2, "192.168.1.254", protocol=4),
]
STALE_ROUTES = [
    Route(6, "fd11::/64", MAIN, 20, protocol=78, metric=1024),
    Route(4, "0.0.0.0/0", 10002, 2, "192.168.1.254", protocol=78, metric=100),
    Route(4, "0.0.0.0/0", 10003, 3, "192.168.2.1", protocol=78, metric=200, source="192.168.2.50"),
    Route(4, "10.11.0.5/32", MAIN, 50, protocol=78, scope=253, source="10.11.0.1"),
    Route(4, "10.77.0.0/16", 10003, 0, protocol=78),
]


def some(of: list[T]) -> st.SearchStrategy[list[T]]:
    return st.lists(st.sampled_from(of), unique=True, max_size=len(of))


@st.composite
def states(draw: st.DrawFn) -> tuple[View, Features, list[Slot], tuple[tuple[Rule, ...], tuple[Route, ...]]]:
    features = draw(st.sampled_from([ANDROID, PTP, PLAIN, ANDROID._replace(nat6=False, connmark=False)]))
    before = world(features)
    other = features._replace(bridge=draw(st.booleans()))
    kernel = Kernel(before)
    former = draw(st.lists(st.sampled_from(slots()), unique_by=lambda slot: slot.number))
    kernel.apply(operations(before, plan(before, other, former)))
    view = kernel.view()
    indexes = {link.ifindex for link in view.links}
    kept_rules = [rule for rule in view.rules if rule.protocol != 78 or draw(st.booleans())]
    kept_routes = [route for route in view.routes if route.protocol != 78 or draw(st.booleans())]
    rules = [*kept_rules, *draw(some(STRANGERS)), *draw(some(STALE))]
    routes = [*kept_routes, *draw(some(ROUTES_OF_STRANGERS)), *draw(some(STALE_ROUTES))]
    addresses = [each for each in view.addresses if each.ifindex < 50 or draw(st.booleans())]
    view = view._replace(
        rules=tuple(sorted(dict.fromkeys(rules), key=lambda rule: rule.priority)),
        routes=tuple(r for r in dict.fromkeys(routes) if r.oif in indexes | {0}),
        addresses=tuple(addresses),
        links=tuple(
            link._replace(up=draw(st.booleans()), master=0 if draw(st.booleans()) else link.master)
            if link.name.startswith("nsp")
            else link
            for link in view.links
        ),
        sysctls=tuple((path, draw(st.sampled_from("012"))) for path, _ in view.sysctls),
    )
    wanted = draw(st.lists(st.sampled_from(slots()), unique_by=lambda slot: slot.number))
    foreign = (
        tuple(rule for rule in view.rules if rule.protocol != 78),
        tuple(route for route in view.routes if route.protocol != 78),
    )
    return view, features, wanted, foreign


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(states())
def test_from_any_state_the_plan_is_reached_and_then_all_is_quiet(
    state: tuple[View, Features, list[Slot], tuple[tuple[Rule, ...], tuple[Route, ...]]],
) -> None:
    view, features, wanted, (rules, routes) = state
    made = plan(view, features, wanted)
    kernel = Kernel(view)
    kernel.apply(operations(view, made))
    after = kernel.view()
    again = plan(after, features, wanted)
    assert again.rules == made.rules
    assert operations(after, again) == []
    assert {rule for rule in after.rules if rule.protocol == 78} == set(made.rules)
    assert len([rule for rule in after.rules if rule.protocol == 78]) == len(made.rules)
    names = {link.ifindex: link.name for link in after.links}
    assert {(address, names[index]) for address, index in after.proxies} == set(made.proxies)
    ours = {link.ifindex for link in after.links if is_ours(link)}
    assert {link.name for link in after.links if link.kind == "bridge"} == {
        link.name for link in made.links if link.kind == "bridge"
    }
    assert {(names[each[0]], *each[1:4]) for each in after.addresses if each.ifindex in ours} == {
        each[:4] for each in made.addresses
    }
    assert [rule for rule in after.rules if rule.protocol != 78] == list(rules)
    assert [route for route in after.routes if route.protocol != 78] == list(routes)
    kernel.apply(teardown(after, BRIDGE, {}))
    left = kernel.view()
    assert list(left.rules) == list(rules)
    gone = {link.ifindex for link in after.links} - {link.ifindex for link in left.links}
    assert list(left.routes) == [route for route in routes if route.oif not in gone]
    assert {link.name for link in left.links} == {
        link.name for link in view.links if link.name != BRIDGE and not link.name.startswith("nsp")
    }
