from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model import prefix
from nspawn.model.netconfig import NetConfig, from_table
from nspawn.model.netplan import BRIDGE_MAC
from nspawn.model.netview import LOCAL, MAIN, Address, Link, Route, View
from nspawn.model.slot import Subnet
from nspawn.network.subnet import choose, conflicts

WLAN = Link(5, "wlan0")
BRIDGE = Link(9, "nspawn_br1", "bridge", mac=BRIDGE_MAC)


def chosen(view: View, config: NetConfig | None = None) -> tuple[str, str]:
    subnet, _ = choose(view, config or NetConfig())
    return (
        f"{prefix.spell(4, subnet.base4)}/{subnet.length4}",
        f"{prefix.spell(6, subnet.base6)}/64",
    )


@pytest.mark.parametrize(
    ("dst", "table", "expected"),
    [
        ("10.11.0.0/24", 1005, "10.11.1.0/24"),
        ("10.11.0.0/16", 1005, "10.12.0.0/24"),
        ("10.11.0.128/25", MAIN, "10.11.1.0/24"),
        ("10.11.0.7/32", LOCAL, "10.11.1.0/24"),
        ("10.0.0.0/9", 52, "10.128.0.0/24"),
        ("10.11.1.0/24", MAIN, "10.11.0.0/24"),
        ("10.0.0.0/8", 1005, "10.11.0.0/24"),  # ours is within, and more specific
        ("0.0.0.0/0", 1005, "10.11.0.0/24"),
        ("192.168.1.0/24", 1005, "10.11.0.0/24"),
    ],
)
def test_a_route_in_any_table_is_in_the_way(dst: str, table: int, expected: str) -> None:
    view = View((WLAN,), routes=(Route(4, dst, table, 5),))
    assert chosen(view)[0] == expected


def test_an_address_is_in_the_way_too() -> None:
    view = View((WLAN,), addresses=(Address(5, 4, "10.11.0.9", 22), Address(5, 6, "fd11::9", 64)))
    assert chosen(view) == ("10.11.4.0/24", "fd11:0:0:1::/64")
    _, notes = choose(view, NetConfig())
    assert [note.what for note in notes] == [
        "the containers have 10.11.4.0/24 instead of 10.11.0.0/24",
        "the containers have fd11:0:0:1::/64 instead of fd11::/64",
    ]
    assert all("10.11.0.9/22 on wlan0" in note.why or "fd11::9" in note.why for note in notes)


def test_routes_that_reject_are_in_the_way_too() -> None:
    view = View(routes=(Route(4, "10.11.0.0/16", 300, kind="blackhole"),))
    subnet, (note,) = choose(view, NetConfig())
    assert prefix.spell(4, subnet.base4) == "10.12.0.0"
    assert "10.11.0.0/16 on blackhole" in note.why


def test_what_is_ours_is_not_in_the_way() -> None:
    view = View(
        (BRIDGE, Link(11, "nsp3", "veth")),
        (Address(9, 4, "10.11.0.1", 24), Address(11, 4, "10.11.0.1", 32)),
        (
            Route(4, "10.11.0.0/24", MAIN, 9, protocol=2),
            Route(4, "10.11.0.5/32", MAIN, 11, protocol=2),
            Route(6, "fd11::/64", MAIN, 77, protocol=78),
        ),
    )
    assert chosen(view) == ("10.11.0.0/24", "fd11::/64")
    assert conflicts(view, NetConfig().wanted(), "nspawn_br1") == []


def test_when_all_of_10_is_taken_others_are_tried_and_last_the_wanted_one_is_used() -> None:
    ten = tuple(Route(4, f"{10}.{half}.0.0/9", 7, 5) for half in (0, 128))
    assert chosen(View((WLAN,), routes=ten))[0] == "172.16.0.0/24"
    more = (Route(4, "172.16.0.0/12", 7, 5), Route(4, "192.168.0.0/16", 7, 5))
    view = View((WLAN,), routes=ten + more)
    assert chosen(view)[0] == "10.11.0.0/24"
    _, (note,) = choose(view, NetConfig())
    assert "no other is free" in note.why


def test_a_wider_wanted_network_gives_way_to_one_of_the_usual_size() -> None:
    view = View((WLAN,), routes=(Route(4, "10.50.7.0/24", 1005, 5),))
    config = from_table({"subnet": "10.50.0.0/16"})
    assert chosen(view, config)[0] == "10.11.0.0/24"
    config = from_table({"subnet": "10.51.0.0/16"})
    assert chosen(view, config)[0] == "10.51.0.0/16"


def test_a_conflict_that_comes_later_is_told() -> None:
    subnet = Subnet(10 << 24 | 11 << 16, 24, 0xFD11 << 112)
    view = View((WLAN,), routes=(Route(4, "10.11.0.0/16", 1005, 5), Route(4, "0.0.0.0/0", 1005, 5)))
    assert conflicts(view, subnet, "nspawn_br1") == ["10.11.0.0/16 on wlan0"]


NETS = st.tuples(st.integers(0, 2**32 - 1), st.integers(9, 32)).map(
    lambda pair: f"{prefix.spell(4, prefix.network(4, *pair))}/{pair[1]}"
)


@given(st.lists(NETS, max_size=60))
def test_the_chosen_one_is_free(nets: list[str]) -> None:
    view = View((WLAN,), routes=tuple(Route(4, net, 1005, 5) for net in nets))
    subnet, _ = choose(view, NetConfig())
    ours = (4, subnet.base4, subnet.length4)
    told = [net for net in nets if not net.startswith(("127.", "169.254."))]
    assert not any(prefix.overlap(ours, prefix.parse(net)) for net in told)


def test_a_table_of_settings_is_read_in_whole() -> None:
    config = from_table(
        {
            "bridge": "br-c",
            "subnet": "172.20.0.0/22",
            "subnet6": "FD00:1:2:3::/64",
            "order": ["wifi, eth*", "vpn"],
            "rule_base": 1,
            "ipv6": "off",
            "dns": ["9.9.9.9", "2620:FE::fe"],
            "allow_page": True,
        }
    )
    assert config == NetConfig(
        "br-c",
        "172.20.0.0/22",
        "fd00:1:2:3::/64",
        ("wifi,eth*", "vpn"),
        1,
        "off",
        ("9.9.9.9", "2620:fe::fe"),
        allow_page=True,
    )
    assert from_table({}) == NetConfig()
    assert from_table({"subnet": NetConfig().subnet, "subnet6": NetConfig().subnet6}) == NetConfig()
    assert NetConfig().wanted().fields() == (
        ("base4", 168493056),
        ("length4", 24),
        ("base6", str(0xFD11 << 112)),
    )


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("subnet", "10.11.0.0/30", "too small"),
        ("subnet", "10.0.0.0/7", "too large"),
        ("subnet", "0.0.0.0/1", "too large"),
        ("subnet", "8.8.8.0/24", "not private"),
        ("subnet", "172.16.0.0/8", "is an address in a network"),
        ("subnet", "172.0.0.0/8", "not private"),
        ("subnet", "100.64.0.0/16", "not private"),
        ("subnet", "10.11.0.1/24", "is an address in a network"),
        ("subnet", "10.11.0.0", "too small"),
        ("subnet", "10.11.0.0/x", "not a network"),
        ("subnet", "10.11.0/24", "not a network"),
        ("subnet", "fd11::/64", "not an IPv4"),
        ("subnet", 5, "expected a text"),
        ("subnet", "10.11.0.0/\u0662", "not a network"),
        ("subnet", "10.11.0.0\0/24", "not a network"),
        ("subnet6", "fd11::/48", "not 64 bits"),
        ("subnet6", "2001:db8::/64", "not private"),
        ("subnet6", "fd11::1/64", "is an address in a network"),
        ("subnet6", "10.0.0.0/8", "not an IPv6"),
        ("bridge", "nsp3", "taken"),
        ("bridge", "lo", "taken"),
        ("bridge", "a-name-that-is-too-long", "no interface"),
        ("bridge", "wl*", "one interface"),
        ("bridge", "a/b", "neither"),
        ("bridge", "", "neither"),
        ("order", [], "empty"),
        ("order", "vpn", "list"),
        ("order", ["vpn", 3], "list"),
        ("order", ["vpn,,wifi"], "neither"),
        ("rule_base", 0, "expected 1 to"),
        ("rule_base", 7001, "expected 1 to"),
        ("rule_base", True, "expected 1 to"),
        ("rule_base", "1000", "expected 1 to"),
        ("ipv6", "nat", "expected one of"),
        ("ipv6", ["auto"], "expected one of"),
        ("dns", ["one.one.one.one"], "no address"),
        ("dns", ["1.1.1.1:53"], "no address"),
        ("dns", "1.1.1.1", "list"),
        ("allow_page", 1, "true or false"),
        ("bridgex", "x", "no such setting"),
    ],
)
def test_settings_that_are_wrong_are_explained(key: str, value: object, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_table({key: value}, "config.toml: network")
    assert caught.value.what.startswith(f"config.toml: network.{key}: ")
    assert part in caught.value.render()


@given(st.text(max_size=40))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for key in ("subnet", "subnet6", "bridge"):
        try:
            from_table({key: text})
        except UsageError:
            pass
    for key in ("order", "dns"):
        try:
            from_table({key: [text]})
        except UsageError:
            pass
