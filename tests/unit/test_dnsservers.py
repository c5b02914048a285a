"""Servers out of resolv.conf and out of Android's dumps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.model.dnsservers import is_address, is_loopback, of_link_properties, of_resolv_conf


def test_servers_of_a_resolv_conf_are_its_addresses_in_order_once() -> None:
    text = (
        "# nameserver 9.9.9.9\n;nameserver 9.9.9.8\nsearch lan\n"
        "nameserver 192.0.2.1\nnameserver\t2001:db8::1 # comment\n nameserver fe80::1%wlan0\n"
        "nameserver 192.0.2.1\nnameserver example.org\nnameserver 300.1.1.1\nnameserver\noptions edns0\n"
    )
    assert of_resolv_conf(text) == ("192.0.2.1", "2001:db8::1", "fe80::1%wlan0")
    assert of_resolv_conf("") == ()
    assert len(of_resolv_conf("".join(f"nameserver 192.0.2.{n}\n" for n in range(99)))) == 8


_OLD = (
    "NetworkAgentInfo [WIFI () - 100] LinkProperties{InterfaceName: wlan0 LinkAddresses: [192.168.1.2/24,]  "
    "Routes: [0.0.0.0/0 -> 192.168.1.1 wlan0,] DnsAddresses: [192.168.1.1,8.8.8.8,] Domains: null"
)
_NEW = (
    "lp{{InterfaceName: wlan0 LinkAddresses: [ fe80::1/64 ] DnsAddresses: [ /192.168.1.1,/fe80::1%wlan0 ] "
    "UsePrivateDns: true ValidatedPrivateDnsAddresses: [ /9.9.9.9 ] PcscfAddresses: [ /9.9.9.8 ]}}"
)
_STACKED = (
    "{InterfaceName: rmnet0 DnsAddresses: [ dns.example/2001:db8::1, /192.0.2.1 ] Stacked: [[ "
    "{InterfaceName: v4-rmnet0 LinkAddresses: [ 192.0.0.4/32 ] DnsAddresses: [ ]} ]]}"
)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            _OLD,
            [("wlan0", ("192.168.1.1", "8.8.8.8"))],
        ),
        (
            _NEW,
            [("wlan0", ("192.168.1.1", "fe80::1%wlan0"))],
        ),
        (
            _STACKED,
            [("rmnet0", ("2001:db8::1", "192.0.2.1"))],
        ),
        ("InterfaceName: tun0 ValidatedPrivateDnsAddresses: [ /9.9.9.9 ]", []),
        ("InterfaceName: tun0 DnsAddresses: [ /9.9.9.9", [("tun0", ("9.9.9.9",))]),
        ("DnsAddresses: [ /9.9.9.9 ]", []),
        ("InterfaceName: ", []),
        ("", []),
    ],
)
def test_servers_of_a_dump_are_known_by_their_interface(
    line: str, found: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert of_link_properties(line) == found


@given(st.text(max_size=200))
def test_any_line_can_be_looked_at(text: str) -> None:
    of_link_properties(f"InterfaceName: {text} DnsAddresses: [{text}")
    assert all(is_address(server) for server in of_resolv_conf(f"nameserver {text}"))


def test_addresses_are_told_from_what_is_none() -> None:
    for text in ("192.0.2.1", "::", "fe80::1%wlan0"):
        assert is_address(text)
    for text in ("", "192.0.2", "192.0.2.1%wlan0", "fe80::1%", "a\0b", "::1::", "localhost", "0x7f.1"):
        assert not is_address(text)
    assert is_loopback("127.0.0.53")
    assert is_loopback("::1")
    assert not is_loopback("192.0.2.1")
