from __future__ import annotations

import pytest

from nspawn.errors import Conflict
from nspawn.model import uplinks
from nspawn.model.netconfig import NetConfig
from nspawn.model.netplan import Features, Inside, Local, Plan, Proxy, Published
from nspawn.model.netview import Address, Link, Route, Rule, View
from nspawn.model.slot import Slot
from nspawn.network.operation import rule_text
from nspawn.network.plan import make
from tests.support.netviews import LADDERS, Machine, Phone

ANDROID = Features(android=True)
STOCK = Features(android=True, nat6=False)
PLAIN = Features()
B = 1000


def plan(
    where: Phone | Machine,
    slots: list[Slot] | None = None,
    features: Features | None = None,
    config: NetConfig | None = None,
) -> Plan:
    config = config or NetConfig()
    if features is None:
        features = ANDROID if isinstance(where, Phone) else PLAIN
    view = where.view()
    names = where.names if isinstance(where, Phone) else {}
    found = uplinks.find(view, features.android, names)
    return make(view, found, config.wanted(), slots or [], config, features)


def texts(rules: tuple[Rule, ...], family: int = 4) -> list[str]:
    """As `ip rule` shows them, without the protocol, which all have."""
    assert all(rule.protocol == 78 for rule in rules)
    return [rule_text(rule).removesuffix(" protocol 78") for rule in rules if rule.family == family]


def slot(number: int = 3, *pins: str, on_down: str = "block", forwards: tuple[str, ...] = ()) -> Slot:
    return Slot(number, f"name:c{number}", pins=pins, on_down=on_down, forwards=forwards)


def day() -> Phone:
    """WiFi, mobile and a VPN are up."""
    phone = Phone()
    phone.network("wlan0", 20)
    phone.network("rmnet_data1", 14)
    phone.network("rmnet_data0", 12, permission=0xC0000)
    phone.vpn("tun0", 31)
    phone.default(20)
    return phone


def test_the_rules_of_a_phone() -> None:
    assert texts(plan(day()).rules) == [
        "1000: from all to 10.11.0.0/24 lookup main",
        "1010: from all iif nspawn_br1 lookup 97 suppress_prefixlength 0",
        "3700: from all iif nspawn_br1 lookup 1020 suppress_prefixlength 0",
        "3800: from all iif nspawn_br1 lookup 1031",
        "3801: from all iif nspawn_br1 lookup 1020",
        "3802: from all iif nspawn_br1 lookup 1014",
        "3999: from all iif nspawn_br1 unreachable",
    ]


def test_with_nat_ipv6_has_the_same_rules_and_without_it_leads_nowhere() -> None:
    with_nat = plan(day())
    assert with_nat.ipv6 == "nat"
    assert [line.replace("fd11::/64", "10.11.0.0/24") for line in texts(with_nat.rules, 6)] == texts(
        with_nat.rules, 4
    )
    without = plan(day(), features=STOCK)
    assert without.ipv6 == "none"
    assert texts(without.rules, 4) == texts(with_nat.rules, 4)
    assert texts(without.rules, 6) == [
        "1000: from all to fd11::/64 lookup main",
        "3999: from all iif nspawn_br1 unreachable",
    ]
    assert [note.what for note in without.notes] == ["IPv6 is not reachable from containers"]
    assert with_nat.notes == ()
    off = plan(day(), config=NetConfig(ipv6="off"))
    assert (off.ipv6, off.notes, texts(off.rules, 6)) == ("none", (), texts(without.rules, 6))


def test_a_kernel_without_ipv6_gets_none_of_it() -> None:
    bare = plan(day(), [slot()], Features(android=True, ipv6=False))
    assert texts(bare.rules, 6) == []
    assert all(address.family == 4 for address in bare.addresses)
    assert not any("ipv6" in sysctl.path for sysctl in bare.sysctls)
    assert (bare.routes, bare.firewall.subnet6) == ((), "")


def test_the_bridge_its_addresses_and_its_values() -> None:
    made = plan(day(), [slot(0), slot(7)])
    assert [(link.name, link.kind, link.master) for link in made.links] == [
        ("nspawn_br1", "bridge", ""),
        ("nsp0", "veth", "nspawn_br1"),
        ("nsp7", "veth", "nspawn_br1"),
    ]
    assert [each[:4] for each in made.addresses] == [
        ("nspawn_br1", 4, "10.11.0.1", 24),
        ("nspawn_br1", 6, "fd11::1", 64),
    ]
    assert [(route.link, route.dst, route.table) for route in made.routes] == [
        ("nspawn_br1", "fd11::/64", 254)
    ]
    assert {each.path: each.value for each in made.sysctls if not each.only} == {
        "net/ipv4/conf/nspawn_br1/route_localnet": "1",
        "net/ipv6/conf/nspawn_br1/disable_ipv6": "0",
        "net/ipv6/conf/nspawn_br1/accept_ra": "0",
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
    }


def test_a_pin_that_blocks() -> None:
    made = plan(day(), [slot(3, "vpn", "rmnet*")])
    assert [line for line in texts(made.rules) if "10.11.0.5" in line] == [
        "1131: from 10.11.0.5/32 iif nspawn_br1 lookup 1031",
        "1132: from 10.11.0.5/32 iif nspawn_br1 lookup 1014",
        "1139: from 10.11.0.5/32 iif nspawn_br1 unreachable",
    ]
    assert [line for line in texts(made.rules, 6) if "fd11::5" in line] == [
        "1131: from fd11::5/128 iif nspawn_br1 lookup 1031",
        "1132: from fd11::5/128 iif nspawn_br1 lookup 1014",
        "1139: from fd11::5/128 iif nspawn_br1 unreachable",
    ]


def test_a_pin_that_falls_back_has_the_lan_first_and_no_end() -> None:
    made = plan(day(), [slot(3, "mobile", on_down="fallback")])
    assert [line for line in texts(made.rules) if "10.11.0.5" in line] == [
        "1130: from 10.11.0.5/32 iif nspawn_br1 lookup 1020 suppress_prefixlength 0",
        "1131: from 10.11.0.5/32 iif nspawn_br1 lookup 1014",
    ]


def test_a_pin_never_means_the_network_for_calls() -> None:
    made = plan(day(), [slot(3, "mobile", "rmnet_data0")])
    assert not any("lookup 1012" in line for line in texts(made.rules))


EGRESS = [
    # pins, on_down, what is up, interface, why
    ((), "block", "wlan0 mobile vpn", "tun0", "via tun0, the first that is there of vpn > wifi"),
    ((), "block", "wlan0 mobile", "wlan0", "via wlan0, the first"),
    ((), "block", "mobile", "rmnet_data1", "via rmnet_data1"),
    ((), "block", "", "", "nowhere because no uplink is up"),
    (("vpn",), "block", "wlan0 mobile vpn", "tun0", "via tun0 because of pin vpn"),
    (("vpn",), "block", "wlan0 mobile", "", "blocked because pin vpn is down and on_down=block"),
    (("vpn",), "fallback", "wlan0", "wlan0", "via wlan0 because pin vpn is down and on_down=fallback"),
    (
        ("vpn",),
        "fallback",
        "",
        "",
        "nowhere because pin vpn is down and on_down=fallback, and no uplink is up",
    ),
    (("vpn,mobile",), "block", "wlan0 mobile", "rmnet_data1", "via rmnet_data1 because of pin vpn,mobile"),
    (("wlan9",), "fallback", "mobile", "rmnet_data1", "because pin wlan9 is down and on_down=fallback"),
    (("vpn",), "block", "wlan0 lock", "", "blocked because pin vpn is down"),
    (
        ("wifi",),
        "fallback",
        "wlan0 vpn lock",
        "tun0",
        "because pin wifi is no VPN, and Android's VPN lockdown",
    ),
    (("wifi",), "block", "wlan0 vpn lock", "", "blocked because pin wifi is no VPN"),
    ((), "block", "wlan0 vpn lock", "tun0", "via tun0 because of Android's VPN lockdown"),
    ((), "block", "wlan0 lock", "", "nowhere because Android's VPN lockdown is on and no VPN is up"),
]


@pytest.mark.parametrize(("pins", "on_down", "up", "link", "why"), EGRESS)
def test_where_a_slot_leaves_and_why(
    pins: tuple[str, ...], on_down: str, up: str, link: str, why: str
) -> None:
    phone = Phone()
    netids = {"": 0}
    if "wlan0" in up:
        netids["wlan0"] = phone.network("wlan0", 20)
        phone.default(20)
    if "mobile" in up:
        netids["rmnet_data1"] = phone.network("rmnet_data1", 14)
    if "vpn" in up.split():
        phone.vpn("tun0", 31)
    if "lock" in up.split():
        phone.lock()
    made = plan(phone, [slot(3, *pins, on_down=on_down)])
    assert [each.number for each in made.egress] == [-1, 3]
    found = made.egress[1]
    assert found.link == link
    assert why in found.why
    if link != "tun0":
        assert found.netid == netids[link]


def test_under_lockdown_only_the_vpns_tables_are_looked_up() -> None:
    phone = day()
    phone.lock()
    made = plan(phone, [slot(3, "wifi", on_down="fallback", forwards=("8080:80/tcp",)), slot(4, "wifi")])
    tables = {rule.table for rule in made.rules if rule.action == "lookup"}
    assert tables == {254, 97, 1031}
    assert [note.what for note in made.notes] == ["containers reach only a VPN"]


def test_a_vpn_for_some_apps_is_taken_only_by_who_asks_for_it() -> None:
    phone = Phone()
    phone.network("wlan0", 20)
    phone.vpn("tun0", 31, uids=((10200, 10200),))
    made = plan(phone, [slot(3, "vpn")])
    assert [each.link for each in made.egress] == ["wlan0", "tun0"]
    assert "3800: from all iif nspawn_br1 lookup 1020" in texts(made.rules)


def test_an_uplink_without_a_carrier_has_no_rules() -> None:
    phone = Phone()
    phone.network("wlan0", 20, running=False)
    phone.network("rmnet_data1", 14)
    made = plan(phone, [slot(3, "wifi")])
    assert not any("lookup 1020" in line for line in texts(made.rules))
    assert made.egress[0].link == "rmnet_data1"


def test_an_uplink_whose_routes_went_keeps_its_rules() -> None:
    phone = Phone()
    phone.network("wlan0", 20, wide4=(), wide6=())
    phone.network("rmnet_data1", 14)
    made = plan(phone)
    assert made.egress[0].link == "rmnet_data1"
    assert "3800: from all iif nspawn_br1 lookup 1020" in texts(made.rules)


def test_464xlat_has_a_table_for_each_family() -> None:
    phone = Phone()
    netid = phone.network("rmnet_data1", 14, wide4=())
    phone.network("v4-rmnet_data1", 40, netid=netid, wide6=())
    made = plan(phone, [slot(3, forwards=("8080:80/tcp",))])
    assert "3800: from all iif nspawn_br1 lookup 1040" in texts(made.rules, 4)
    assert "3800: from all iif nspawn_br1 lookup 1014" in texts(made.rules, 6)
    (mark,) = made.firewall.marks
    assert (mark.link4, mark.link6) == ("v4-rmnet_data1", "rmnet_data1")


def test_marks_are_there_when_something_is_forwarded() -> None:
    phone = day()
    phone.addresses += [
        Address(1, 4, "127.0.0.1", 8, 254),
        Address(20, 4, "192.168.1.50", 24),
        Address(20, 6, "fe80::1", 64, 253),
        Address(14, 4, "10.64.0.2", 30),
    ]
    assert plan(phone, [slot(3)]).firewall.marks == ()
    assert plan(phone, [slot(3)]).firewall.locals == ()
    made = plan(phone, [slot(3, "vpn", forwards=("8080:80/tcp", "53:53/udp")), slot(4)])
    firewall = made.firewall
    assert {(mark.link4, mark.link6) for mark in firewall.marks} == {
        (name, name) for name in ("tun0", "wlan0", "rmnet_data1")
    }
    tables = {"wlan0": 1020, "rmnet_data1": 1014, "tun0": 1031}
    for mark in firewall.marks:
        assert 1 <= mark.mark <= 15
        line = (
            f"{B + 20 + mark.mark}: from all iif nspawn_br1 fwmark {mark.mark << 21:#x}/0x1e00000 "
            f"lookup {tables[mark.link4]}"
        )
        assert line in texts(made.rules, 4)
        assert line in texts(made.rules, 6)
    assert firewall.locals == (Local(4, "10.64.0.2", "rmnet_data1"), Local(4, "192.168.1.50", "wlan0"))
    assert firewall.published == (
        Published("8080:80/tcp", "10.11.0.5", "fd11::5"),
        Published("53:53/udp", "10.11.0.5", "fd11::5"),
    )
    assert (firewall.inner, firewall.subnet4, firewall.gateway6) == (
        ("nspawn_br1",),
        "10.11.0.0/24",
        "fd11::1",
    )


def test_without_connection_marks_there_are_no_rules_for_them_and_it_is_said() -> None:
    made = plan(day(), [slot(3, forwards=("8080:80/tcp",))], Features(android=True, connmark=False))
    assert made.firewall.marks == ()
    assert not any("fwmark" in line for line in texts(made.rules))
    assert any("another way" in note.what for note in made.notes)


def test_an_uplink_keeps_its_mark_when_others_come_and_go() -> None:
    forwarded = [slot(3, forwards=("8080:80/tcp",))]
    phone = Phone()
    phone.network("wlan0", 20)
    phone.network("rmnet_data1", 14)
    first = marks(plan(phone, forwarded))
    for at in range(10):  # some of them wish for a number that is taken
        more = Phone()
        more.network(f"eth{at}", 2)
        more.network(f"eth{at + 10}", 3)
        for name, ifindex in (("wlan0", 20), ("rmnet_data1", 14)):
            more.network(name, ifindex)
        more.rules += plan(phone, forwarded).rules
        found = marks(plan(more, forwarded))
        assert {name: found[name] for name in first} == first
        assert len(set(found.values())) == 4


def marks(made: Plan) -> dict[str, int]:
    return {mark.link6: mark.mark for mark in made.firewall.marks}


def test_more_uplinks_than_marks_are_no_error() -> None:
    phone = Phone()
    for at in range(20):
        phone.network(f"rmnet_data{at}", 20 + at)
    made = plan(phone, [slot(3, "mobile", forwards=("8080:80/tcp",))])
    assert sorted(mark.mark for mark in made.firewall.marks) == list(range(1, 16))
    assert len([line for line in texts(made.rules) if "10.11.0.5" in line]) == 9
    assert len({rule.priority for rule in made.rules}) == len(texts(made.rules))


def test_the_page_is_for_containers_only_when_allowed() -> None:
    made = plan(day())
    assert (made.firewall.page, made.firewall.allow_page) == (8080, False)
    assert plan(day(), config=NetConfig(allow_page=True)).firewall.allow_page


def test_point_to_point_where_the_kernel_has_no_bridge() -> None:
    made = plan(day(), [slot(0), slot(3, "vpn")], Features(android=True, bridge=False))
    assert made.mode == "ptp"
    assert [(link.name, link.master) for link in made.links] == [("nsp0", ""), ("nsp3", "")]
    assert [each[:4] for each in made.addresses] == [
        ("nsp0", 4, "10.11.0.1", 32),
        ("nsp0", 6, "fd11::1", 128),
        ("nsp3", 4, "10.11.0.1", 32),
        ("nsp3", 6, "fd11::1", 128),
    ]
    assert [(route.link, route.dst, route.table, route.source) for route in made.routes] == [
        ("nsp0", "10.11.0.2/32", 254, "10.11.0.1"),
        ("nsp0", "fd11::2/128", 254, ""),
        ("nsp3", "10.11.0.5/32", 254, "10.11.0.1"),
        ("nsp3", "fd11::5/128", 254, ""),
    ]
    assert texts(made.rules) == [
        "1000: from all to 10.11.0.0/24 lookup main",
        "1010: from 10.11.0.0/24 lookup 97 suppress_prefixlength 0",
        "3700: from 10.11.0.0/24 lookup 1020 suppress_prefixlength 0",
        "3800: from 10.11.0.0/24 lookup 1031",
        "3801: from 10.11.0.0/24 lookup 1020",
        "3802: from 10.11.0.0/24 lookup 1014",
        "3999: from 10.11.0.0/24 unreachable",
        "1131: from 10.11.0.5/32 iif nsp3 lookup 1031",
        "1139: from 10.11.0.5/32 iif nsp3 unreachable",
    ]
    assert made.firewall.inner == ("nsp+",)
    assert "net/ipv4/conf/nsp3/route_localnet" in {each.path for each in made.sysctls}
    assert [note.what for note in made.notes] == ["containers have no bridge"]


@pytest.mark.parametrize(
    "there", [Link(9, "nspawn_br1"), Link(9, "nspawn_br1", "bridge", mac="02:00:00:00:00:01")]
)
def test_anothers_interface_of_the_bridges_name_is_left_alone(there: Link) -> None:
    phone = day()
    phone.links.append(there)
    with pytest.raises(Conflict) as caught:
        plan(phone)
    assert "config.toml" in caught.value.hint


def global_address(phone: Phone) -> None:
    phone.addresses += [
        Address(20, 6, "fe80::1", 64, 253),
        Address(20, 6, "fd00:1::5", 64),
        Address(20, 6, "2001:db8:7::1234", 64, flags=0x01),
        Address(20, 6, "2001:db8:1::50", 64),
        Address(31, 6, "2001:db8:99::1", 64),
    ]


def test_a_global_address_of_the_wifis_network_for_a_container_that_wants_one() -> None:
    phone = day()
    global_address(phone)
    wants = Slot(3, "name:c3", ipv6="proxy")
    made = plan(phone, [wants, slot(4)], STOCK)
    address = "2001:db8:1:0:6e:73ff:fe70:3"
    assert made.ipv6 == "proxy"
    assert made.inside == (Inside(3, address),)
    assert made.proxies == (Proxy(address, "wlan0"),)
    assert made.firewall.proxied == made.proxies
    assert ("nspawn_br1", f"{address}/128") in {(route.link, route.dst) for route in made.routes}
    assert texts(made.rules, 6) == [
        "1000: from all to fd11::/64 lookup main",
        "3999: from all iif nspawn_br1 unreachable",
        f"1000: from all to {address}/128 lookup main",
        f"1138: from {address}/128 iif nspawn_br1 lookup 1020",
        f"1139: from {address}/128 iif nspawn_br1 unreachable",
    ]
    assert "net/ipv6/conf/wlan0/proxy_ndp" in {each.path for each in made.sysctls}
    assert plan(phone, [slot(4)], STOCK).ipv6 == "none"


def test_without_a_global_network_there_is_no_global_address() -> None:
    phone = day()
    phone.addresses.append(Address(20, 6, "fd00:1::5", 64))
    made = plan(phone, [Slot(3, "name:c3", ipv6="proxy")], STOCK)
    assert (made.ipv6, made.proxies, made.inside) == ("none", (), ())


def test_a_pinned_container_has_its_global_address_from_its_pin() -> None:
    phone = day()
    global_address(phone)
    made = plan(phone, [Slot(3, "name:c3", ipv6="proxy", pins=("mobile",))], STOCK)
    assert made.inside == ()
    phone.addresses.append(Address(14, 6, "2001:db8:64::2", 64))
    made = plan(phone, [Slot(3, "name:c3", ipv6="proxy", pins=("mobile",))], STOCK)
    assert made.inside == (Inside(3, "2001:db8:64:0:6e:73ff:fe70:3"),)


def notes(phone: Phone | Machine) -> list[tuple[str, str, str]]:
    return [tuple(note) for note in plan(phone).notes]  # type: ignore[misc]


FOREIGN = [
    (Rule(4, 5030, table=1014, src="10.0.0.0/8"), "containers are not affected", ""),
    (Rule(4, 4500, table=1014, src="10.11.0.0/24"), "containers are not affected", ""),
    (Rule(4, 999, table=1014, src="10.0.0.0/8"), "before ours", ""),
    (Rule(4, 999, table=1014), "before ours", ""),
    (Rule(4, 500, table=1014, dst="10.0.0.0/8"), "before ours", ""),
    (Rule(4, 1500, table=1014, iif="nspawn_br1"), "among ours", "another rule_base"),
    (Rule(6, 5030, action="unreachable", src="fd00::/8"), "containers are not affected", ""),
]


@pytest.mark.parametrize(("rule", "why", "hint"), FOREIGN)
def test_a_foreign_rule_that_takes_our_packets_is_told(rule: Rule, why: str, hint: str) -> None:
    phone = day()
    phone.rules.append(rule)
    ((what, told, next_step),) = notes(phone)
    assert rule_text(rule) in what
    assert why in told
    assert hint in next_step


@pytest.mark.parametrize(
    "rule",
    [
        Rule(4, 5030, table=1014, src="10.12.0.0/16"),
        Rule(4, 5030, table=1014, src="192.168.0.0/16"),
        Rule(4, 5210, table=254, mark=0x80000, mask=0xFF0000),
        Rule(4, 5270, table=52),
        Rule(4, 5030, table=1014, iif="ap0"),
        Rule(4, 500, table=1014, iif="lo"),
        Rule(4, 500, table=1014, uids=(0, 0)),
        Rule(4, 500, action="goto"),
        Rule(4, 500, table=1014, more=True),
        Rule(4, 4500, table=1014, dst="10.0.0.0/8"),
    ],
)
def test_a_foreign_rule_about_others_is_not(rule: Rule) -> None:
    phone = day()
    phone.rules.append(rule)
    assert notes(phone) == []


def test_a_lower_base_is_proposed_where_it_helps() -> None:
    phone = day()
    phone.rules.append(Rule(4, 4000, table=1014, src="10.0.0.0/8"))
    made = plan(phone, config=NetConfig(rule_base=5000))
    assert [note.hint for note in made.notes] == ["Set rule_base = 1000 in config.toml: [network]."]
    phone.rules[-1] = phone.rules[-1]._replace(priority=3999)
    assert "rule_base = 999 " in plan(phone, config=NetConfig(rule_base=5000)).notes[0].hint


def test_addresses_that_came_later_are_told() -> None:
    phone = day()
    phone.routes.append(Route(4, "10.11.0.0/16", 1020, 20))
    ((what, why, _),) = notes(phone)
    assert what == "the containers' network is used elsewhere too"
    assert "10.11.0.0/16 on wlan0" in why


def machine() -> Machine:
    found = Machine()
    found.network("eth0", 2, "192.168.1")
    found.network("eth1", 3, "192.168.2", metric=200)
    return found


def test_a_plain_machines_own_rules_count_for_who_has_no_pin() -> None:
    made = plan(machine(), [slot(3)])
    assert texts(made.rules, 4) == ["1000: from all to 10.11.0.0/24 lookup main"]
    assert texts(made.rules, 6) == ["1000: from all to fd11::/64 lookup main"]
    assert [route.dst for route in made.routes] == ["fd11::/64"]
    assert made.egress[0][:3] == (-1, "eth0", 0)
    assert "machine's own routes" in made.egress[1].why


def test_a_plain_machine_without_nat_for_ipv6_lets_none_out() -> None:
    made = plan(machine(), [slot(3)], Features(nat6=False))
    assert texts(made.rules, 4) == ["1000: from all to 10.11.0.0/24 lookup main"]
    assert texts(made.rules, 6)[1:] == ["3999: from all iif nspawn_br1 unreachable"]


def test_a_pin_on_a_plain_machine_has_copies_of_the_routes() -> None:
    made = plan(machine(), [slot(3, "eth1"), slot(4, "eth1", on_down="fallback")])
    assert [tuple(route) for route in made.routes if route.table != 254] == [
        ("eth1", 4, "192.168.2.0/24", 10003, "", 253, 0, "192.168.2.50"),
        ("eth1", 4, "0.0.0.0/0", 10003, "192.168.2.1", 0, 200, ""),
    ]
    assert texts(made.rules, 4)[1:] == [
        "1131: from 10.11.0.5/32 iif nspawn_br1 lookup 10003",
        "1139: from 10.11.0.5/32 iif nspawn_br1 unreachable",
        "1140: from 10.11.0.6/32 iif nspawn_br1 lookup main suppress_prefixlength 0",
        "1141: from 10.11.0.6/32 iif nspawn_br1 lookup 10003",
    ]
    assert made.egress[1][:2] == (3, "eth1")
    paths = [each.path for each in made.sysctls]
    for path in ("net/ipv4/conf/eth1/rp_filter", "net/ipv6/conf/eth1/accept_ra"):
        assert made.sysctls[paths.index(path)] == (path, "2", "1")
        assert paths.index(path) < paths.index("net/ipv6/conf/all/forwarding")


def test_forwards_on_a_plain_machine_answer_by_where_they_came_in() -> None:
    made = plan(machine(), [slot(3, forwards=("8080:80/tcp",))])
    assert {(mark.link4, mark.link6) for mark in made.firewall.marks} == {("eth0", "eth0"), ("eth1", "eth1")}
    assert {route.table for route in made.routes} == {254, 255, 10_000_002, 10_000_003}
    assert len([line for line in texts(made.rules, 4) if "fwmark" in line]) == 2


def test_on_a_plain_machine_a_foreign_rule_is_followed() -> None:
    where = machine()
    where.rules.append(Rule(4, 5030, table=100, src="10.0.0.0/8"))
    ((_, why, _),) = notes(where)
    assert why == "containers without a pin follow it"


@pytest.mark.parametrize("generation", list(LADDERS))
def test_every_rule_of_ours_is_before_netds_and_a_second_plan_is_the_same(generation: str) -> None:
    phone = Phone(generation)
    phone.network("wlan0", 20)
    phone.vpn("tun0", 31)
    slots = [slot(number, "vpn", forwards=(f"{9000 + number}:80/tcp",)) for number in (0, 252)]
    first = plan(phone, slots)
    assert max(rule.priority for rule in first.rules) == B + 2999
    pins = [rule.priority for rule in first.rules if rule.src]
    assert max(pins) < B + 2700
    phone.rules += first.rules
    assert plan(phone, slots) == first


def test_slots_in_any_order_give_the_same_plan() -> None:
    slots = [slot(number, "vpn") for number in range(5)]
    assert plan(day(), slots) == plan(day(), slots[::-1])


def test_nothing_is_there() -> None:
    view = View()
    made = make(view, [], NetConfig().wanted(), [], NetConfig(), ANDROID)
    assert texts(made.rules)[-1] == "3999: from all iif nspawn_br1 unreachable"
    assert made.egress[0].why == "nowhere because no uplink is up"
