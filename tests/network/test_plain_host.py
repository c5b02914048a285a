"""A plain Linux host: its main table leads out, pins choose an interface, forwards come from all sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.lab import eventually
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network, foreground
from tests.support.netlab.topology import LAN4, VPN4, WORLD4, line

pytestmark = pytest.mark.root

WIFI, ETHERNET = line("wifi"), line("ethernet")


@pytest.fixture(params=["legacy", "nft"])
def either(
    request: pytest.FixtureRequest, host: PlainLab, tmp_path: Path, busybox_base: Path
) -> Iterator[Network]:
    """With one iptables or the other."""
    found = Network(host, tmp_path, busybox_base, backend=request.param)
    try:
        yield found
    finally:
        found.close()


def test_what_has_no_pin_goes_as_the_host_does(host: PlainLab, on_host: Network) -> None:
    host.connect("wifi")
    one = on_host.run("one")
    assert one.ways() == {"wifi"}
    assert one.ask(WORLD4).peer == WIFI.near4
    host.connect("ethernet")
    one.goes_by("ethernet")
    host.vpn_on()
    one.goes_by("vpn")
    host.vpn_off()
    host.disconnect("ethernet")
    one.goes_by("wifi")


@pytest.mark.parametrize("pin", ["wlan0", "wl*"])
def test_a_pin_chooses_an_interface(host: PlainLab, on_host: Network, pin: str) -> None:
    host.connect("ethernet")
    host.connect("wifi")
    one = on_host.run("one", "--route-via", pin)
    assert one.ways() == {"wifi"}
    host.vpn_on()
    assert one.ways() == {"wifi"}
    host.disconnect("wifi")
    one.goes_by("")
    host.connect("wifi")
    one.goes_by("wifi")


def test_a_pin_to_a_vpn_holds(host: PlainLab, on_host: Network) -> None:
    host.connect("ethernet")
    one = on_host.run("one", "--route-via", "wg0,vpn")
    assert one.ways(0.4) == {""}
    host.vpn_on()
    one.goes_by("vpn")
    host.vpn_off()
    one.goes_by("")


def test_forwards_come_from_all_sides(host: PlainLab, either: Network) -> None:
    host.connect("ethernet")
    host.connect("wifi")
    one = either.run("one", "-p", "8000:7000/tcp", "-p", "8000:7000/udp")
    two = either.run("two", "--route-via", "ethernet", "-p", "8001:7000")
    assert one.ways() == {"ethernet"}
    for proto in ("tcp", "udp"):
        for address in (WIFI.near4, WIFI.near6):
            answer = host.ask("lan", address, 8000, proto)
            assert answer.tag == "one", (proto, address, answer)
            # The default route is another's: the reply leaves where the request came in.
            assert host.ask("remote", address, 8000, proto).tag == "one"
            assert host.ask("phone", address, 8000, proto).tag == "one"
            assert two.ask(address, 8000, proto).tag == "one"
        assert host.ask("phone", "127.0.0.1", 8000, proto).tag == "one"
    assert host.ask("lan", WIFI.near4, 8001).tag == "two"
    assert host.ask("ethernet", ETHERNET.near4, 8001).tag == "two"
    assert one.ask(LAN4).tag == "lan"


def test_forwards_work_under_a_vpn(host: PlainLab, on_host: Network) -> None:
    host.connect("wifi")
    one = on_host.run("one", "-p", "8000:7000")
    host.vpn_on()
    one.goes_by("vpn")
    eventually(lambda: host.ask("remote", WIFI.near4, 8000, seconds=0.4).tag, "one")
    eventually(lambda: host.ask("vpn", VPN4, 8000, seconds=0.4).tag, "one")
    assert host.ask("lan", WIFI.near6, 8000).tag == "one"


def test_after_the_default_has_moved_requests_are_answered_by_where_they_came_in(
    host: PlainLab, on_host: Network
) -> None:
    host.connect("wifi")
    one = on_host.run("one", "-p", "8000:7000")
    pinned = on_host.run("pinned", "--route-via", "wlan0", "-p", "8001:7000")
    assert (one.ways(), pinned.ways()) == ({"wifi"}, {"wifi"})
    host.connect("ethernet")
    eventually(lambda: host.phone.check("ip", "-6", "rule").count("fwmark"), 2)
    rules = [host.phone.check("ip", family, "rule") for family in ("-4", "-6")]
    wifi = [f"default via {gate} dev wlan0 metric 600" for gate in (WIFI.gate4, WIFI.gate6)]
    host.phone.ip(*(f"route del {each}" for each in wifi))
    one.goes_by("ethernet")
    pinned.goes_by("")
    for address in (WIFI.near4, WIFI.near6):
        for port, tag in ((8000, "one"), (8001, "pinned")):
            assert host.ask("remote", address, port).tag == tag
            assert host.ask("lan", address, port).tag == tag
    assert [host.phone.check("ip", family, "rule") for family in ("-4", "-6")] == rules
    host.phone.ip(*(f"route add {each}" for each in wifi))
    pinned.goes_by("wifi")


def test_strict_reverse_path_filters_are_survived(host: PlainLab, on_host: Network) -> None:
    host.phone.sysctl(ipv4__conf__all__rp_filter="0", ipv4__conf__default__rp_filter="1")
    host.connect("ethernet")
    host.connect("wifi")
    one = on_host.run("one", "--route-via", "wifi", "-p", "8000:7000")
    assert one.ways() == {"wifi"}
    assert host.ask("remote", WIFI.near4, 8000).tag == "one"


def test_a_foreground_run_works(host: PlainLab, on_host: Network) -> None:
    host.connect("wifi")
    with foreground(host, on_host.nspawn, on_host.rootfs("one"), "--net", "-p", "8000:7000") as one:
        assert one.ways() == {"wifi"}
        assert host.ask("lan", WIFI.near4, 8000).tag == "one"


def test_the_firewall_of_another_lets_containers_out(host: PlainLab, either: Network) -> None:
    """A policy of DROP, as docker sets it on FORWARD."""
    for program in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"):
        if either.nspawn.environment["PATH"].partition(":")[0].endswith(program.rpartition("-")[2]):
            host.phone.check(program, "-P", "FORWARD", "DROP")
    host.connect("wifi")
    one = either.run("one", "-p", "8000:7000")
    assert one.ways() == {"wifi"}
    assert host.ask("lan", WIFI.near4, 8000).tag == "one"
