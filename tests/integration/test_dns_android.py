"""The forwarder on a fake phone: a fake of Android's resolver, and servers out of `dumpsys connectivity`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import dnslab
from tests.support.command import run
from tests.support.dnslab import MOBILE, MOBILE6, MOBILE_SAYS, NOBODY, WIFI, WIFI_SAYS, DnsLab
from tests.support.fakednsproxyd import FakeDnsproxyd, fake_dnsproxyd
from tests.support.program import REPOSITORY

pytestmark = pytest.mark.root

WIFI_NET, MOBILE_NET, VPN_NET = 100, 101, 102
#: As the forms of facts/network.md, with what surrounds them in a dump: requests, a stacked 464XLAT, history.
NEW_DUMP = f"""\
NetworkProviders for: WifiNetworkFactory
Current Networks:
  NetworkAgentInfo{{network{{100}} lp{{{{InterfaceName: wlan0 LinkAddresses: [ fe80::1/64,192.0.2.1/24 ] \
DnsAddresses: [ /{WIFI} ] UsePrivateDns: true ValidatedPrivateDnsAddresses: [ /{NOBODY} ] Domains: lan \
MTU: 1500 Routes: [ 0.0.0.0/0 -> 192.0.2.254 wlan0 mtu 0 ]}}}} nc{{[ Transports: WIFI ]}}}}
  NetworkAgentInfo{{network{{101}} lp{{{{InterfaceName: rmnet0 LinkAddresses: [ 2001:db8:5::1/64 ] \
DnsAddresses: [ /{MOBILE6},/{MOBILE} ] PcscfAddresses: [ /{NOBODY} ] Domains: null MTU: 1500 \
Stacked: [[ {{InterfaceName: v4-rmnet0 LinkAddresses: [ 192.0.0.4/32 ] DnsAddresses: [ ] }} ]] }}}}}}
Network history:
  lp{{{{InterfaceName: wlan0 LinkAddresses: [ ] DnsAddresses: [ /{NOBODY} ]}}}}
"""
OLD_DUMP = f"""\
NetworkAgentInfo [WIFI () - 100] LinkProperties{{InterfaceName: wlan0 LinkAddresses: [192.0.2.1/24,]  \
Routes: [0.0.0.0/0 -> 192.0.2.254 wlan0,] DnsAddresses: [{WIFI},] Domains: null MTU: 0}}
NetworkAgentInfo [MOBILE () - 101] LinkProperties{{InterfaceName: rmnet0 LinkAddresses: [] \
DnsAddresses: [{MOBILE},{MOBILE6},] Domains: null MTU: 0}}
"""


@pytest.fixture(scope="module")
def built(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsLab]:
    with dnslab.dns_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(built: DnsLab, tmp_path: Path) -> Iterator[DnsLab]:
    built.begin(tmp_path)
    built.android()
    built.slot(0, "web")
    built.slot(1, "db", pins=("mobile",))
    built.state(("egress", f"* wlan0 {WIFI_NET}"), ("egress", f"1 rmnet0 {MOBILE_NET}"))
    yield built
    built.end()


@pytest.fixture
def proxy(lab: DnsLab) -> Iterator[FakeDnsproxyd]:
    with fake_dnsproxyd(lab.phone) as fake:
        fake.addresses = {
            (WIFI_NET, "www.example"): ["203.0.113.10", "2001:db8::10"],
            (MOBILE_NET, "www.example"): ["203.0.113.11"],
            (VPN_NET, "www.example"): ["203.0.113.12"],
        }
        yield fake


def test_androids_own_resolver_is_asked_by_the_network_of_who_asks(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    lab.activate()
    assert lab.short(0, "www.example") == ["203.0.113.10"], lab.said
    assert lab.short(0, "www.example", "AAAA", "+tcp") == ["2001:db8::10"]
    assert lab.short(1, "www.example") == ["203.0.113.11"]
    assert proxy.netids == [WIFI_NET, WIFI_NET, MOBILE_NET]
    assert lab.status(0, "missing.example") == "NXDOMAIN"
    assert lab.short(1, "web.nspawn") == ["10.11.0.2"]
    assert lab.dumps == 0
    assert lab.asked("wifi") + lab.asked("mobile") == 2, "only the lab's own"


def test_a_change_of_the_uplink_is_followed_at_once(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    lab.activate()
    assert lab.short(0, "www.example") == ["203.0.113.10"]
    lab.state(("egress", f"* tun0 {VPN_NET}"), ("egress", "1 - 0 blocked"))
    assert lab.short(0, "www.example") == ["203.0.113.12"], lab.said
    proxy.requests.clear()
    assert lab.status(1, "www.example") == "SERVFAIL"
    assert proxy.requests == []


def test_without_any_uplink_nobody_is_asked(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    lab.state(("egress", "* - 0 nothing is up"))
    lab.activate()
    assert lab.status(0, "www.example") == "SERVFAIL"
    assert proxy.requests == []


def test_before_the_agent_has_said_anything_the_default_network_is_asked(
    lab: DnsLab, proxy: FakeDnsproxyd
) -> None:
    Path(lab.layout.network_state).unlink()
    proxy.addresses[0, "www.example"] = ["203.0.113.9"]
    lab.activate()
    assert lab.short(0, "www.example") == ["203.0.113.9"], lab.said
    assert lab.status(1, "www.example") == "SERVFAIL"


def test_an_answer_of_the_resolver_that_is_too_large_for_udp_comes_by_tcp(
    lab: DnsLab, proxy: FakeDnsproxyd
) -> None:
    proxy.mode = "large"
    lab.activate()
    assert " tc " in lab.dig(0, "www.example", "+ignore").out
    assert "203.0.113.10" in lab.short(0, "www.example", "+tcp")
    proxy.mode = "slow"
    assert lab.short(0, "www.example") == ["203.0.113.10"]


@pytest.mark.parametrize("mode", ["errno", "hangup", "garbage"])
def test_when_the_resolver_fails_nobody_is_asked_past_it(
    lab: DnsLab, proxy: FakeDnsproxyd, mode: str
) -> None:
    """Its private DNS is not to be gone around."""
    proxy.mode = mode
    lab.dumpsys(NEW_DUMP)
    lab.activate()
    before = lab.asked("wifi")
    assert lab.status(0, "uplink.example") == "SERVFAIL"
    assert lab.asked("wifi") == before
    proxy.mode = ""
    assert lab.short(0, "www.example") == ["203.0.113.10"], lab.said


def test_a_silent_resolver_stops_nobody_else(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    proxy.mode = "silent"
    lab.activate()
    assert "timed out" in lab.dig(0, "www.example", "+time=1").out
    assert lab.short(0, "web.nspawn") == ["10.11.0.2"]
    proxy.mode = ""
    assert lab.short(0, "www.example") == ["203.0.113.10"]


@pytest.mark.parametrize("dump", [NEW_DUMP, OLD_DUMP], ids=["new", "old"])
def test_without_the_resolvers_socket_the_uplinks_servers_are_asked(lab: DnsLab, dump: str) -> None:
    lab.dumpsys(dump)
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS], lab.said
    assert lab.short(1, "uplink.example") == [MOBILE_SAYS]
    assert lab.dumps == 1
    lab.state(("egress", f"* v4-rmnet0 {MOBILE_NET}"))
    assert lab.short(0, "uplink.example") == [], "the stacked interface is not there, and no other is taken"
    lab.state(("egress", f"* rmnet0 {MOBILE_NET}"))
    assert lab.short(0, "uplink.example") == [MOBILE_SAYS]
    assert lab.dumps >= 2


def test_a_resolver_that_cannot_resnsend_is_left_alone(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    proxy.mode = "old"
    lab.dumpsys(NEW_DUMP)
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS], lab.said
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]
    assert len(proxy.requests) == 1


def test_a_pinned_uplink_whose_network_is_unknown_is_asked_by_its_device(
    lab: DnsLab, proxy: FakeDnsproxyd
) -> None:
    """A WireGuard of somebody's own: Android's resolver would ask by the default network."""
    lab.state(("egress", f"* wlan0 {WIFI_NET}"), ("egress", "1 rmnet0 0"), ("server", MOBILE))
    lab.dumpsys("")
    lab.activate()
    assert lab.short(1, "uplink.example") == [MOBILE_SAYS], lab.said
    assert proxy.requests == []


def test_a_dumpsys_that_hangs_is_given_up(lab: DnsLab) -> None:
    lab.state(("egress", f"* wlan0 {WIFI_NET}"), ("server", WIFI))
    lab.dumpsys("")
    (lab.phone / "system/bin/dumpsys").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS], lab.said
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]


# Our own processes' look-ups (android/resolver.py)

_LOOK_UP = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from nspawn.android.resolver import install
install()
found = []
for name in sys.argv[2:]:
    try:
        found.append([entry[4][0] for entry in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)])
    except socket.gaierror as error:
        found.append(error.errno)
print(json.dumps(found))
"""


def look_up(lab: DnsLab, *names: str) -> object:
    """What a process of ours on the phone gets; an error's number in the place of addresses."""
    words = [sys.executable, "-c", _LOOK_UP, str(REPOSITORY / "python"), *names]
    result = run(["ip", "netns", "exec", lab.space("host"), *words], environment=lab.environment, timeout=60)
    assert result.status == 0, result
    return json.loads(result.out)


@pytest.mark.parametrize("dump", [NEW_DUMP, OLD_DUMP], ids=["new", "old"])
def test_our_own_processes_ask_the_phones_servers_without_its_resolver(lab: DnsLab, dump: str) -> None:
    lab.dumpsys(dump)
    found = look_up(lab, "uplink.example", "six.example", "missing.example", "198.51.100.7", "localhost")
    assert found == [[WIFI_SAYS], ["2001:db8::7"], -2, ["198.51.100.7"], ["::1", "127.0.0.1"]]
    many = look_up(lab, dnslab.MANY)
    assert isinstance(many, list)
    assert len(many[0]) == 40, "by TCP"


def test_our_own_processes_ask_the_phones_resolver_first(lab: DnsLab, proxy: FakeDnsproxyd) -> None:
    proxy.addresses[0, "www.example"] = ["2001:db8::9", "203.0.113.9"]
    lab.dumpsys(NEW_DUMP)
    assert look_up(lab, "www.example", "uplink.example") == [["2001:db8::9", "203.0.113.9"], -5]
    assert lab.dumps == 0
