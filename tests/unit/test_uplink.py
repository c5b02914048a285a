from __future__ import annotations

import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.kernel import routes
from nspawn.model.uplink import Link, Route, is_there

UP = 0x1 | 0x40


def link(name: str, index: int = 2, flags: int = UP) -> Link:
    return Link(index, name, flags)


def route(length: int = 0, oif: int = 2, *, multicast: bool = False) -> Route:
    return Route(2, length, 1021, (oif,), multicast=multicast)


@pytest.mark.parametrize(
    ("found", "links", "there"),
    [
        ([], [link("wlan0")], False),
        ([route()], [], False),
        ([route()], [link("wlan0")], True),
        ([route()], [link("wlan0", flags=0x1)], False),  # no carrier
        ([route()], [link("wlan0", flags=0x40)], False),
        ([route()], [link("lo", flags=UP | 0x8)], False),
        ([route(oif=3)], [link("wlan0")], False),
        ([route(1)], [link("tun0")], True),  # a VPN's half of everything
        ([route(24)], [link("wlan0")], False),
        ([route(8, multicast=True)], [link("wlan0")], False),
        ([route()], [link("dummy0")], False),
        ([route()], [link("p2p-wlan0-0")], True),
        ([route()], [link("p2p0")], False),
        ([route()], [link("ap0")], False),
        ([route()], [link("apple0")], True),
        ([route()], [link("rmnet_data3")], True),
    ],
)
def test_what_is_an_uplink(found: list[Route], links: list[Link], there: bool) -> None:
    assert is_there(found, links) is there


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoders_fail(data: bytes) -> None:
    routes.messages(data)
    routes.decode_route(data)
    routes.decode_link(data)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def test_a_route_of_two_ways_in_a_table_with_a_long_number() -> None:
    hops = struct.pack("=HBBI", 8, 0, 0, 7) + struct.pack("=HBBI", 8, 0, 0, 9)
    payload = struct.pack("=8BI", 2, 0, 0, 0, 252, 0, 0, 1, 0)
    payload += attribute(15, struct.pack("=I", 1021)) + attribute(9, hops)
    found = routes.decode_route(payload)
    assert found is not None
    assert (found.table, found.oif, found.length) == (1021, (7, 9), 0)
    unreachable = struct.pack("=8BI", 2, 0, 0, 0, 252, 0, 0, 7, 0)
    assert routes.decode_route(unreachable) is None


def test_the_kernel_says_what_iproute2_says() -> None:
    text = subprocess.run(
        ["ip", "-o", "link"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {line.split(": ")[1].split("@")[0] for line in text}
    assert {link.name for link in routes.links()} == names
    shown = 0
    for family in ("-4", "-6"):
        lines = subprocess.run(
            ["ip", family, "-o", "route", "show", "table", "all", "type", "unicast"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        shown += len(lines)
    assert len(routes.routes()) == shown
