from __future__ import annotations

import pytest

from nspawn.errors import UsageError
from nspawn.model import netdrules, uplinks, words
from nspawn.model.netview import MAIN, Address, Link, Route, Rule
from nspawn.model.uplinks import Uplink, find, matches, order, read_tables, survey
from tests.support.netviews import LADDERS, Machine, Phone

GENERATIONS = list(LADDERS)


def kinds(phone: Phone) -> dict[str, str]:
    return {each.name: each.kind for each in find(phone.view(), True, phone.names)}


def only(phone: Phone, name: str) -> Uplink:
    (found,) = [each for each in find(phone.view(), True, phone.names) if each.name == name]
    return found


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_generations_networks_are_found_by_their_rules(generation: str) -> None:
    phone = Phone(generation)
    netid = phone.network("wlan0", 20)
    phone.network("rmnet_data1", 14)
    phone.network("eth0", 9, running=False)
    phone.vpn("tun0", 31)
    phone.default(20)
    found = {each.name: each for each in find(phone.view(), True, {})}
    assert found["wlan0"] == Uplink(
        "wlan0", 20, "wifi", 1020, 1020, netid, default=True, usable4=True, usable6=True
    )
    assert kinds(phone) == {"wlan0": "wifi", "rmnet_data1": "mobile", "eth0": "ethernet", "tun0": "vpn"}
    assert found["tun0"].netid
    assert found["tun0"].netid != netid
    assert not found["tun0"].apps
    assert (found["eth0"].carrier, found["eth0"].usable4, found["eth0"].why) == (
        False,
        False,
        "it has no carrier",
    )
    assert find(phone.view(), True, {})[0].default


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_networks_for_calls_and_for_the_background_are_never_uplinks(generation: str) -> None:
    phone = Phone(generation)
    phone.network("rmnet_data0", 12, permission=0xC0000)
    phone.network("rmnet_data2", 13, permission=0x40000)
    phone.network("rmnet_data1", 14)
    assert kinds(phone) == {"rmnet_data1": "mobile"}
    assert [(each.name, "restricted" in each.why, "background" in each.why) for each in left_out(phone)] == [
        ("rmnet_data0", True, False),
        ("rmnet_data2", False, True),
    ]


def left_out(phone: Phone) -> list[uplinks.Excluded]:
    return survey(phone.view(), phone.names)[1]


def test_while_a_networks_permission_is_taken_away_it_counts_already() -> None:
    phone = Phone()
    netid = phone.network("rmnet_data1", 14, permission=0x40000)
    phone.both(16000, table=1014, mark=0x10000 | netid, mask=0x1FFFF, iif="lo")
    assert kinds(phone) == {"rmnet_data1": "mobile"}


@pytest.mark.parametrize("name", ["ap0", "ap_br_swlan0", "swlan0", "rndis0", "ncm0", "usb0", "bt-pan"])
def test_some_names_never_lead_out_on_a_phone(name: str) -> None:
    phone = Phone()
    phone.network(name, 8)
    assert kinds(phone) == {}


@pytest.mark.parametrize("name", ["p2p-wlan0-0", "p2p0", "r_rmnet_data0", "rmnet_ipa0", "dummy0"])
def test_nor_do_these(name: str) -> None:
    phone = Phone()
    phone.network(name, 8)
    assert kinds(phone) == {}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rmnet0", "mobile"),
        ("ccmni1", "mobile"),
        ("seth_lte0", "mobile"),
        ("sipa_eth0", "mobile"),
        ("wwan0", "mobile"),
        ("wlan1", "wifi"),
        ("eth1", "ethernet"),
        ("tun7", "vpn"),
        ("v4-wlan0", "wifi"),
        ("v4-rmnet_data3", "mobile"),
    ],
)
def test_kinds_by_name(name: str, kind: str) -> None:
    phone = Phone()
    phone.network(name, 8)
    assert kinds(phone) == {name: kind}


def test_a_vpn_is_known_by_its_rule_whatever_its_name() -> None:
    phone = Phone()
    phone.vpn("corporate", 8)
    assert kinds(phone) == {"corporate": "vpn"}


def test_our_own_rule_for_what_is_tethered_makes_no_vpn() -> None:
    phone = Phone()
    phone.network("wlan0", 8)
    phone.both(1010, table=97, iif="wlan0", suppress=0, protocol=78)
    phone.both(1010, table=97, iif="wlan0", suppress=0)  # and another's copy of it
    assert kinds(phone) == {"wlan0": "wifi"}


def test_a_hotspot_on_wlan1_is_no_uplink_even_with_routes() -> None:
    phone = Phone()
    phone.network("wlan0", 20)
    phone.hotspot("wlan1", 21, upstream=20)
    phone.wide(21, 1021, ("0.0.0.0/0",), ())
    phone.both(16000, table=1021, mark=0x10070, mask=0x1FFFF, iif="lo")
    assert kinds(phone) == {"wlan0": "wifi"}
    assert [each.name for each in left_out(phone)] == ["wlan1"]


def test_split_routes_make_a_vpn_usable_and_multicast_does_not() -> None:
    phone = Phone()
    phone.vpn("tun0", 8, wide4=("0.0.0.0/1", "128.0.0.0/1"), wide6=("8000::/1",))
    phone.vpn("tun1", 9, wide4=("10.0.0.0/8",), wide6=("ff00::/8",))
    phone.vpn("tun2", 10, wide4=("10.20.0.0/16",), wide6=())
    assert [(each.usable4, each.usable6) for each in find(phone.view(), True, {})] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert only(phone, "tun2").why == "it has no route to the internet"


def test_a_vpn_for_some_apps_only_is_told_apart() -> None:
    phone = Phone()
    phone.vpn("tun0", 8, uids=((10210, 10210), (10300, 10301)))
    assert only(phone, "tun0").apps


def test_a_vpn_that_apps_may_bypass_is_for_all() -> None:
    phone = Phone()
    phone.vpn("tun0", 8, uids=())
    phone.both(24000, table=1008, mark=0, mask=0xFFFF, iif="lo", uids=(0, 99999))
    found = only(phone, "tun0")
    assert (found.default, found.apps) == (False, False)


@pytest.mark.parametrize("base", ["rmnet_data1", "wlan0"])
def test_464xlat_is_one_uplink_with_two_interfaces(base: str) -> None:
    phone = Phone()
    netid = phone.network(base, 14, wide4=())
    phone.network(f"v4-{base}", 40, netid=netid, wide6=())
    phone.default(14)
    phone.default(40)
    (found,) = find(phone.view(), True, phone.names)
    assert (found.name, found.name4, found.kind) == (base, f"v4-{base}", kinds(phone)[base])
    assert (found.table4, found.table6, found.usable4, found.usable6) == (1040, 1014, True, True)
    assert (found.interface(4), found.interface(6), found.netid) == (f"v4-{base}", base, netid)
    assert found.why == ""


def test_464xlat_of_the_network_for_calls_is_excluded_with_it() -> None:
    phone = Phone()
    netid = phone.network("rmnet_data0", 14, permission=0xC0000, wide4=())
    phone.network("v4-rmnet_data0", 40, netid=netid, permission=0xC0000, wide6=())
    assert kinds(phone) == {}


def test_an_interface_that_returned_has_its_new_table_and_its_old_rules_count_no_more() -> None:
    phone = Phone()
    phone.network("wlan0", 20)
    phone.links = [link for link in phone.links if link.name != "wlan0"]
    phone.routes = [route for route in phone.routes if route.oif != 20]
    assert kinds(phone) == {}  # gone, its rules are still there
    phone.network("wlan0", 27)
    (found,) = find(phone.view(), True, {1020: "wlan0", 1027: "wlan0"})
    assert (found.ifindex, found.table4) == (27, 1027)


def test_an_interface_without_netds_rules_is_not_used() -> None:
    phone = Phone()
    phone.link("rmnet_data4", 15)
    phone.wide(15, 1015, ("0.0.0.0/0",), ())
    assert kinds(phone) == {}
    phone.network("wlan0", 20)
    phone.rules.clear()  # netd restarts
    assert kinds(phone) == {}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_lockdown_is_a_rule_that_prohibits(generation: str) -> None:
    phone = Phone(generation)
    phone.network("wlan0", 20)
    assert not netdrules.lockdown(phone.view())
    phone.lock(((1000000, 1099999),))  # of a work profile
    assert not netdrules.lockdown(phone.view())
    phone.lock()
    assert netdrules.lockdown(phone.view())


def test_a_phones_bare_rules_give_nothing() -> None:
    assert find(Phone().view(), True, {}) == []
    assert find(Machine().view(), False, {}) == []


def test_a_machines_uplinks_are_its_default_routes() -> None:
    machine = Machine()
    machine.network("enp3s0", 2, "192.168.1", metric=200)
    machine.network("wlp2s0", 3, "192.168.2", metric=100)
    machine.network("wwan0", 4, "192.168.3", metric=700)
    machine.links.append(Link(5, "br-1234", "bridge"))
    machine.routes.append(Route(4, "172.17.0.0/16", MAIN, 5, scope=253))
    found = find(machine.view(), False, {})
    assert [(each.name, each.kind, each.default, each.table4) for each in found] == [
        ("wlp2s0", "wifi", True, 10003),
        ("enp3s0", "ethernet", False, 10002),
        ("wwan0", "mobile", False, 10004),
    ]
    assert all(each.usable4 and not each.usable6 for each in found)


def test_a_machines_vpn_may_have_a_table_of_its_own() -> None:
    machine = Machine()
    machine.network("eth0", 2, "192.168.1")
    machine.links.append(Link(7, "corp", "wireguard"))
    machine.routes.append(Route(4, "0.0.0.0/0", 51820, 7, scope=253))
    assert [(each.name, each.kind) for each in find(machine.view(), False, {})] == [
        ("eth0", "ethernet"),
        ("corp", "vpn"),
    ]


def test_copies_of_ours_make_no_uplink() -> None:
    machine = Machine()
    machine.links.append(Link(7, "eth0"))
    machine.routes.append(Route(4, "0.0.0.0/0", 10007, 7, "192.168.1.1", protocol=78))
    assert find(machine.view(), False, {}) == []


def uplink(name: str, kind: str, ifindex: int = 1, *, default: bool = False, name4: str = "") -> Uplink:
    return Uplink(name, ifindex, kind, 1, 1, default=default, name4=name4)


@pytest.mark.parametrize(
    ("word", "name", "kind", "yes"),
    [
        ("vpn", "tun0", "vpn", True),
        ("vpn", "vpn0", "wifi", False),
        ("wifi", "wlan0", "wifi", True),
        ("wlan0", "wlan0", "wifi", True),
        ("wlan0", "wlan01", "wifi", False),
        ("wlan*", "wlan12", "wifi", True),
        ("w*n?", "wlan1", "wifi", True),
        ("*", "anything", "wifi", True),
        ("rmnet_data[0-3]", "rmnet_data2", "mobile", True),
        ("rmnet_data[!0-3]", "rmnet_data2", "mobile", False),
        ("rmnet_data[!0-3]", "rmnet_data4", "mobile", True),
        ("rmnet_data[13]", "rmnet_data3", "mobile", True),
        ("rmnet[", "rmnet[", "mobile", True),
        ("[]]x", "]x", "mobile", True),
        ("v4-*", "rmnet_data1", "mobile", False),
        ("tun?", "tun", "vpn", False),
    ],
)
def test_words_and_what_they_mean(word: str, name: str, kind: str, yes: bool) -> None:
    assert matches(word, uplink(name, kind)) is yes


def test_an_uplink_is_meant_by_its_interface_of_ipv4_too() -> None:
    assert matches("v4-*", uplink("rmnet_data1", "mobile", name4="v4-rmnet_data1"))


@pytest.mark.parametrize("word", ["wlan0", "rmnet*", "vpn", "enx00e04c360001", "wl?n[0-9]", "eth0.100"])
def test_words_that_are_good(word: str) -> None:
    assert uplinks.check_word(word) == word


@pytest.mark.parametrize(
    "word", ["", "a b", "a/b", "-x", "..", "eth0:1", "wlän0", "a,b", "abcdefghijklmnop", "*" * 61, "a\n"]
)
def test_words_that_are_not(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        uplinks.check_word(word)
    assert "rmnet*" in caught.value.hint


@pytest.mark.parametrize("name", ["vpn", "wl*"])
def test_a_name_for_an_interface_is_neither_kind_nor_glob(name: str) -> None:
    with pytest.raises(UsageError):
        words.check_interface(name)


def test_the_order_of_kinds_and_within_a_kind() -> None:
    given = [
        uplink("rmnet_data1", "mobile", 3, default=True),
        uplink("wlan0", "wifi", 9),
        uplink("eth0", "ethernet", 4),
        uplink("tun1", "vpn", 12),
        uplink("tun0", "vpn", 11),
    ]
    names = [each.name for each in order(given, ("vpn", "wifi,ethernet", "mobile"))]
    assert names == ["tun0", "tun1", "eth0", "wlan0", "rmnet_data1"]
    given[1] = given[1]._replace(default=True)
    names = [each.name for each in order(given, ("wifi, ethernet", "tun1"))]
    assert names == ["wlan0", "eth0", "tun1"]  # what is not named is not there


def test_the_names_of_tables() -> None:
    text = "255 local\n1020 wlan0\n1000000020 wlan0_local\n\nrubbish\nx y\n-1 z\n"
    assert read_tables(text) == {255: "local", 1020: "wlan0", 1000000020: "wlan0_local"}


def test_strangers_rules_do_not_change_what_is_found() -> None:
    phone = Phone()
    phone.network("wlan0", 20)
    before = find(phone.view(), True, phone.names)
    phone.rules += [
        Rule(4, 5030, table=1020, src="10.0.0.0/8"),
        Rule(4, 17900, table=1020, iif="ap0"),
        Rule(4, 5210, table=MAIN, mark=0x80000, mask=0xFF0000),
        Rule(4, 999, table=1020, oif="wlan0"),
    ]
    phone.addresses.append(Address(20, 4, "192.168.1.50", 24))
    assert find(phone.view(), True, phone.names) == before
