"""What is asked of the kernel by rtnetlink is what `ip` shows, and what `ip` makes is what is read."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from nspawn.kernel import libc
from nspawn.kernel.rtbatch import Batch
from nspawn.kernel.rtnl import Rtnl
from nspawn.model.netplan import NODAD, NOPREFIXROUTE, WantedAddress, WantedRoute
from nspawn.model.netview import Link, Route, Rule
from tests.support.command import check
from tools.trim import keeps_of_wheel

pytestmark = pytest.mark.root


@pytest.fixture
def netlink() -> Iterator[Rtnl]:
    """A socket in an empty network namespace, in which this thread is as long as the test lasts."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.unshare(libc.CLONE_NEWNET)
        try:
            with Rtnl() as found:
                yield found
        finally:
            libc.setns(home, libc.CLONE_NEWNET)
    finally:
        os.close(home)


def ip(*words: str) -> list[str]:
    return [" ".join(line.split()) for line in check(["ip", *words]).lines]


def wlan() -> None:
    for words in (
        "link set lo up",
        "link add wlan0 type veth peer name ap",
        "link set ap up",
        "link set wlan0 up",
        "addr add 192.168.1.2/24 dev wlan0",
        "addr add fd00::2/64 dev wlan0 nodad",
    ):
        ip(*words.split())


def test_rules_are_read_as_they_were_made(netlink: Rtnl) -> None:
    for words in (
        "rule add pref 10 to 10.11.0.0/24 lookup main protocol 78",
        "rule add pref 11 from 10.11.0.2 lookup 1005 protocol 78",
        "rule add pref 12 iif wlan0 fwmark 0x200000/0x1e00000 lookup 1005",
        "rule add pref 13 iif lo oif wlan0 uidrange 0-99 lookup 97 suppress_prefixlength 0",
        "rule add pref 14 unreachable",
        "rule add pref 15 ipproto tcp dport 80 prohibit",
        "rule add pref 16 not from 10.0.0.0/8 lookup 5",
        "-6 rule add pref 17 to fd11::/64 blackhole",
    ):
        ip(*words.split())
    found = [rule for rule in netlink.rules() if 0 < rule.priority < 100]
    assert found == [
        Rule(4, 10, table=254, dst="10.11.0.0/24", protocol=78),
        Rule(4, 11, table=1005, src="10.11.0.2/32", protocol=78),
        Rule(4, 12, table=1005, iif="wlan0", mark=0x200000, mask=0x1E00000),
        Rule(4, 13, table=97, iif="lo", oif="wlan0", uids=(0, 99), suppress=0),
        Rule(4, 14, action="unreachable"),
        Rule(4, 15, action="prohibit", more=True),
        Rule(4, 16, table=5, src="10.0.0.0/8", more=True),
        Rule(6, 17, action="blackhole", dst="fd11::/64"),
    ]


RULES = [
    Rule(4, 10, table=254, dst="10.11.0.0/24", protocol=78),
    Rule(4, 11, table=1005, src="10.11.0.2/32", protocol=78),
    Rule(6, 11, table=97, src="fd11::2/128", iif="br0", suppress=0, protocol=78),
    Rule(4, 12, table=1005, iif="br0", mark=0x200000, mask=0x1E00000, protocol=78),
    Rule(6, 13, action="unreachable", iif="br0", protocol=78),
    Rule(4, 14, table=1000, oif="wlan0", uids=(3, 99)),
]


def test_rules_are_made_as_they_are_read_and_go_again(netlink: Rtnl) -> None:
    before = ip("rule"), ip("-6", "rule")
    batch = Batch()
    for rule in RULES:
        batch.rule(rule, "")
    netlink.send(batch)
    assert sorted(rule for rule in netlink.rules() if 0 < rule.priority < 100) == sorted(RULES)
    assert "12: from all fwmark 0x200000/0x1e00000 iif br0 [detached] lookup 1005 proto 78" in ip("rule")
    assert "13: from all iif br0 [detached] unreachable proto 78" in ip("-6", "rule")
    batch = Batch()
    for rule in RULES:
        batch.rule(rule, "", delete=True)
    netlink.send(batch)
    assert (ip("rule"), ip("-6", "rule")) == before
    netlink.send(batch)


def test_routes_and_addresses_are_read_as_they_were_made(netlink: Rtnl) -> None:
    wlan()
    for words in (
        "route add default via 192.168.1.1 table 1005",
        "route add 8.8.8.0/24 metric 7 nexthop via 192.168.1.1 nexthop via 192.168.1.5",
        "route add unreachable 9.0.0.0/8",
        "-6 route add default via fd00::1 dev wlan0 table 1005",
        "route add 7.0.0.0/8 via inet6 fd00::1 dev wlan0",
    ):
        ip(*words.split())
    index = next(link.ifindex for link in netlink.links() if link.name == "wlan0")
    mine = [route for route in netlink.routes() if route.protocol == 3]
    assert sorted(mine) == [
        Route(4, "0.0.0.0/0", 1005, index, "192.168.1.1", protocol=3),
        Route(4, "7.0.0.0/8", 254, index, "fd00::1", protocol=3),
        Route(4, "8.8.8.0/24", 254, index, "192.168.1.1", protocol=3, metric=7),
        Route(4, "8.8.8.0/24", 254, index, "192.168.1.5", protocol=3, metric=7),
        Route(4, "9.0.0.0/8", 254, kind="unreachable", protocol=3),
        Route(6, "::/0", 1005, index, "fd00::1", protocol=3, metric=1024),
    ]
    addresses = [(a.ifindex, a.family, a.address, a.length, a.scope) for a in netlink.addresses()]
    assert (index, 4, "192.168.1.2", 24, 0) in addresses
    assert (index, 6, "fd00::2", 64, 0) in addresses
    assert (1, 4, "127.0.0.1", 8, 254) in addresses


def test_routes_are_made_beside_others_and_go_again(netlink: Rtnl) -> None:
    wlan()
    index = next(link.ifindex for link in netlink.links() if link.name == "wlan0")
    before = ip("route", "show", "table", "all"), ip("-6", "route", "show", "table", "all")
    routes = [
        WantedRoute("wlan0", 4, "0.0.0.0/0", 10005, via="192.168.7.1"),
        WantedRoute("wlan0", 4, "192.168.1.0/24", 10005, scope=253, source="192.168.1.2"),
        WantedRoute("wlan0", 6, "::/0", 10005, via="fd00::1", metric=1024),
        WantedRoute("wlan0", 6, "fd11::/64", 254, metric=1024),
    ]
    batch = Batch()
    for route in routes:
        batch.route(route, index, 78, "")
    netlink.send(batch)
    netlink.send(batch)
    assert sorted(route for route in netlink.routes() if route.protocol == 78) == [
        Route(4, "0.0.0.0/0", 10005, index, "192.168.7.1", protocol=78),
        Route(4, "192.168.1.0/24", 10005, index, scope=253, protocol=78, source="192.168.1.2"),
        Route(6, "::/0", 10005, index, "fd00::1", protocol=78, metric=1024),
        Route(6, "fd11::/64", 254, index, protocol=78, metric=1024),
    ]
    moved = [route._replace(via="192.168.7.9" if route.family == 4 else "fd00::9") for route in routes[::2]]
    batch = Batch()
    for route in moved:
        batch.route(route, index, 78, "")
    for route in routes[::2]:
        batch.route(route, index, 78, "", delete=True)
    netlink.send(batch)
    assert ip("route", "show", "table", "10005")[0] == "default via 192.168.7.9 dev wlan0 proto 78 onlink"
    assert ip("-6", "route", "show", "table", "10005") == [
        "default via fd00::9 dev wlan0 proto 78 metric 1024 onlink pref medium"
    ]
    batch = Batch()
    for route in [*moved, *routes]:
        batch.route(route, index, 78, "", delete=True)
    netlink.send(batch)
    assert (ip("route", "show", "table", "all"), ip("-6", "route", "show", "table", "all")) == before


def test_a_bridge_with_its_addresses_and_its_neighbours(netlink: Rtnl) -> None:
    wlan()
    batch = Batch()
    batch.bridge("br0", "02:6e:73:70:ff:ff", "")
    netlink.send(batch)
    bridge = next(link for link in netlink.links() if link.name == "br0")
    wlan0 = next(link for link in netlink.links() if link.name == "wlan0")
    assert bridge._replace(running=False) == Link(
        bridge.ifindex, "br0", kind="bridge", up=True, running=False, mac="02:6e:73:70:ff:ff", mtu=1500
    )
    batch = Batch()
    batch.link(wlan0.ifindex, "", master=bridge.ifindex)
    batch.address(WantedAddress("br0", 4, "10.11.0.1", 24), bridge.ifindex, "")
    batch.address(WantedAddress("br0", 6, "fd11::1", 64, NODAD | NOPREFIXROUTE), bridge.ifindex, "")
    batch.proxy("fd00::5", wlan0.ifindex, "")
    netlink.send(batch)
    netlink.send(batch)
    assert netlink.proxies() == [("fd00::5", wlan0.ifindex)]
    assert ip("neigh", "show", "proxy") == ["fd00::5 dev wlan0 proxy"]
    shown = ip("-o", "addr", "show", "br0")
    assert "inet 10.11.0.1/24 scope global" in shown[0]
    assert "inet6 fd11::1/64 scope global nodad noprefixroute" in shown[1]
    assert "tentative" not in shown[1]
    assert "forward_delay 0" in check(["ip", "-d", "link", "show", "br0"]).out
    assert "master br0" in check(["ip", "link", "show", "wlan0"]).out
    batch = Batch()
    batch.proxy("fd00::5", wlan0.ifindex, "", delete=True)
    batch.link(wlan0.ifindex, "", master=0)
    batch.address(WantedAddress("br0", 4, "10.11.0.1", 24), bridge.ifindex, "", delete=True)
    batch.remove_link(bridge.ifindex, "")
    netlink.send(batch)
    assert not ip("neigh", "show", "proxy")
    assert "br0" not in check(["ip", "link"]).out


def test_a_refused_change_is_named_and_nothing_is_taken_away_after_it(netlink: Rtnl) -> None:
    wlan()
    batch = Batch()
    batch.rule(Rule(4, 10, table=254, protocol=78), "first")
    netlink.send(batch)
    batch = Batch()
    batch.route(WantedRoute("gone0", 4, "0.0.0.0/0", 10005), 77, 78, "the route")
    batch.rule(Rule(4, 11, table=254, protocol=78), "second")
    batch.rule(Rule(4, 10, table=254, protocol=78), "first", delete=True)
    with pytest.raises(OSError, match="No such device") as caught:
        netlink.send(batch)
    assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, "the route")
    assert [rule.priority for rule in netlink.rules() if rule.protocol == 78] == [10, 11]


def test_many_changes_and_large_dumps_lose_nothing(netlink: Rtnl) -> None:
    batch = Batch()
    rules = [Rule(family, 100 + n, table=254, protocol=78) for n in range(700) for family in (4, 6)]
    for rule in rules:
        batch.rule(rule, "")
    netlink.send(batch)
    assert sorted(rule for rule in netlink.rules() if rule.protocol == 78) == sorted(rules)


def test_a_dump_that_changed_meanwhile_is_made_again(netlink: Rtnl, monkeypatch: pytest.MonkeyPatch) -> None:
    wlan()
    real = Rtnl._receive
    torn = [True, True, False]

    def receive(self: Rtnl) -> Iterator[tuple[int, int, int, bytes]]:
        for kind, flags, sequence, data in real(self):
            yield kind, flags | (0x10 if torn and kind != 3 and torn.pop(0) else 0), sequence, data

    monkeypatch.setattr(Rtnl, "_receive", receive)
    assert {link.name for link in netlink.links()} == {"lo", "ap", "wlan0"}
    torn[:] = [True] * 1000
    with pytest.raises(OSError, match="changes too fast"):
        netlink.links()


def test_kinds_of_interfaces_are_known_without_making_one(netlink: Rtnl) -> None:
    with subprocess.Popen(["ip", "monitor", "link"], stdout=subprocess.PIPE) as monitor:
        time.sleep(0.2)
        assert netlink.has_kind("bridge")
        assert netlink.has_kind("veth")
        assert not netlink.has_kind("nosuch")
        ip("link", "set", "lo", "up")
        time.sleep(0.2)
        monitor.terminate()
        out = monitor.communicate()[0].decode()
    assert [line.split()[1] for line in out.splitlines() if not line.startswith(" ")] == ["lo:"]


def test_the_library_itself_is_not_loaded_and_what_is_goes_into_the_zip(netlink: Rtnl) -> None:
    code = (
        "import sys; sys.path.insert(0, 'python')\n"
        "from nspawn.kernel.rtnl import Rtnl\n"
        "from nspawn.kernel.rtbatch import Batch\n"
        "with Rtnl() as r: r.links(), r.addresses(), r.routes(), r.rules(), r.proxies()\n"
        "first = set(sys.modules)\n"
        "Batch().bridge('br0', '02:00:00:00:00:00', '')\n"
        "for names in (first, set(sys.modules) - first):\n"
        "    files = [sys.modules[n].__file__ for n in names if n.startswith('pyroute2.')]\n"
        "    print(*[file.partition('site-packages/')[2] for file in files])\n"
    )
    looking, making = check([".venv/bin/python", "-I", "-S", "-c", code]).lines
    assert not looking
    assert not any(word in making for word in ("iproute", "nlsocket"))
    assert "pyroute2/netlink/rtnl/ifinfmsg/__init__.py" in making
    assert all(map(keeps_of_wheel, making.split()))
