"""Names inside containers: of each other, and of the world by the network that the phone uses now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.names import NameServer, ask_name
from tests.support.netlab.product import Network
from tests.support.netlab.topology import VPN_SERVER4, line

pytestmark = pytest.mark.root

#: What each uplink's name server says of every name.
TOLD = {"wifi": "192.0.2.1", "mobile": "192.0.2.2", "vpn": "192.0.2.3"}


@pytest.fixture
def servers(phone: PhoneLab) -> Iterator[dict[str, NameServer]]:
    with ExitStack() as stack:
        found = {}
        for uplink, told in TOLD.items():
            found[uplink] = NameServer(phone.loop, phone[uplink], told)
            stack.callback(found[uplink].close)
        yield found


def gateway(address: str) -> str:
    return address.rpartition(".")[0] + ".1"


def test_the_containers_servers_are_the_gateway(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    text = network.nspawn.ok("exec", "one", "cat", "/etc/resolv.conf").out
    assert f"nameserver {gateway(one.address4)}\n" in text


def test_containers_find_each_other(
    phone: PhoneLab, network: Network, servers: dict[str, NameServer]
) -> None:
    phone.connect("wifi")
    one, two = network.run("one"), network.run("two")
    server = gateway(one.address4)
    for proto in ("udp", "tcp"):
        assert ask_name(one.space, server, "two.nspawn", proto) == [two.address4]
    assert ask_name(two.space, f"{two.address6.partition('::')[0]}::1", "one.nspawn") == [one.address4]
    assert ask_name(one.space, server, "three.nspawn") == []
    network.stop("two")
    assert ask_name(one.space, server, "two.nspawn") == []
    assert not any(name.endswith("nspawn") for each in servers.values() for name in each.asked)


def test_names_are_asked_of_the_network_in_use(
    phone: PhoneLab, network: Network, servers: dict[str, NameServer]
) -> None:
    phone.connect("mobile")
    one = network.run("one")
    server = gateway(one.address4)

    def told() -> list[str]:
        try:
            return ask_name(one.space, server, "example.org", seconds=1)
        except OSError:
            return []

    eventually(told, [TOLD["mobile"]])
    phone.connect("wifi")
    eventually(told, [TOLD["wifi"]])
    phone.vpn_on()
    eventually(told, [TOLD["vpn"]])
    phone.vpn_off()
    eventually(told, [TOLD["wifi"]])
    assert "example.org" in servers["mobile"].asked


def test_programs_inside_get_names_and_pages(
    phone: PhoneLab, network: Network, servers: dict[str, NameServer]
) -> None:
    phone.connect("wifi")
    network.run("one")
    network.run("two")
    found = network.nspawn.ok("exec", "one", "nslookup", "example.org").out
    assert TOLD["wifi"] in found
    network.nspawn.ok("exec", "two", "sh", "-c", "mkdir -p /www && echo hello >/www/index.html")
    network.nspawn.ok("exec", "two", "httpd", "-p", "80", "-h", "/www")
    assert network.nspawn.ok("exec", "one", "wget", "-q", "-O", "-", "http://two.nspawn/").out == "hello\n"
    assert network.nspawn.ok("exec", "one", "nc", "203.0.113.1", "7000").out == "wifi 192.168.1.50\n"


def test_servers_that_were_chosen_are_asked(
    phone: PhoneLab, network: Network, servers: dict[str, NameServer]
) -> None:
    phone.connect("wifi")
    phone.connect("mobile")
    network.run("one", "--dns", f"{line('mobile').gate4},{VPN_SERVER4}", "--route-via", "mobile")
    text = network.nspawn.ok("exec", "one", "cat", "/etc/resolv.conf").out
    assert f"nameserver {line('mobile').gate4}\nnameserver {VPN_SERVER4}\n" in text
    assert TOLD["mobile"] in network.nspawn.ok("exec", "one", "nslookup", "example.org").out
