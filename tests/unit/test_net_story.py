"""What people are told of the network: the story of a container, and the lines of `net watch`."""

from __future__ import annotations

from typing import Any, cast

import pytest

from nspawn.model import settings
from nspawn.model.firewall import Features as Tables
from nspawn.model.forwards import parse_publish
from nspawn.model.netconfig import NetConfig
from nspawn.model.netplan import Features
from nspawn.model.netview import Address, Link, Route, Rule, View
from nspawn.model.slot import Slot, Subnet
from nspawn.model.uplinks import Uplink
from nspawn.network import plan
from nspawn.network.egress import Paths
from nspawn.service import netstory, netwatch
from nspawn.service.netlook import Look
from nspawn.service.netstatus import Member, ipv6_why, uplink_dict

SUBNET = Subnet(10 << 24 | 11 << 16, 24, 0xFD11 << 112)
WIFI = Uplink("wlan0", 7, "wifi", 1007, 1007, 101, default=True, usable4=True, usable6=True)
MOBILE = Uplink("rmnet_data1", 8, "mobile", 1008, 1008, 102, usable4=True, usable6=False)
VPN_DOWN = Uplink("tun0", 9, "vpn", 1009, 1009, 103, carrier=False, why="it is down")


class FakeWalls:
    """A machine whose firewall has everything."""

    tools = (4, 6)

    def features(self, _family: int) -> Tables:
        return Tables()


def look(
    slots: list[Slot],
    uplinks: tuple[Uplink, ...] = (WIFI, MOBILE, VPN_DOWN),
    *,
    features: Features | None = None,
    config: NetConfig | None = None,
    rules: tuple[Rule, ...] = (),
) -> Look:
    """A phone with these uplinks, on which these slots are active."""
    view = View(
        links=tuple(Link(each.ifindex, each.name) for each in uplinks),
        addresses=(Address(7, 4, "192.168.1.5", 24),),
        routes=tuple(Route(4, "0.0.0.0/0", each.table4, each.ifindex) for each in uplinks if each.usable4),
        rules=rules,
    )
    known = features or Features(android=True)
    chosen = config or NetConfig()
    made = plan.make(view, list(uplinks), SUBNET, slots, chosen, known)
    return Look(
        view=view,
        uplinks=list(uplinks),
        slots=slots,
        active=slots,
        subnet=SUBNET,
        fresh=False,
        config=chosen,
        page=8080,
        features=known,
        plan=made,
        operations=[],
        walls=cast("Any", FakeWalls()),
        notes=[*made.notes],
    )


def member(found: Look, slot: Slot, *, running: bool = True) -> Member:
    paths = Paths(found.uplinks, found.config, android=True, locked=False, families=(4, 6))
    return Member(
        name="web",
        owner="web",
        running=running,
        slot=slot,
        where={"slot": slot.number, "ip4": "10.11.0.2", "ip6": "fd11::2", "mac": "", "interface": "nsp0"},
        egress=paths.egress(slot),
        forwards=tuple((parse_publish(text), "") for text in slot.forwards),
    )


def story(slot: Slot, **more: Any) -> str:
    found = look([slot], **more)
    return "\n".join(netstory.explain(member(found, slot), found).story)


def test_without_a_pin_it_takes_the_first_that_is_up() -> None:
    told = story(Slot(0, "name:web", host="web"))
    assert "web runs with 10.11.0.2 and fd11::2, as eth0 inside and nsp0 on this machine." in told
    assert "Its traffic leaves via wlan0, the first that is there of vpn > wifi,ethernet > mobile." in told
    assert "There is wlan0, rmnet_data1." in told
    assert "Other containers find it as web.nspawn." in told


def test_a_pin_that_is_down_falls_back_and_says_why() -> None:
    told = story(Slot(0, "name:web", pins=["vpn", "eth*"], on_down="fallback"))
    assert "Its traffic leaves via wlan0 because pin vpn,eth* is down and on_down=fallback." in told
    assert "Pin vpn: tun0 is down (it is down)." in told
    assert "Pin eth*: nothing of that kind is there." in told


def test_a_pin_that_is_down_blocks() -> None:
    told = story(Slot(0, "name:web", pins=["vpn"]))
    assert "Its traffic is blocked because pin vpn is down and on_down=block." in told
    assert "nothing leaves by another way" in told


def test_ipv6_is_told_as_it_is() -> None:
    assert "By IPv6 it reaches the internet" in story(Slot(0, "name:web"))
    assert "reaches nothing outside now: rmnet_data1 has none" in story(Slot(0, "name:web", pins=["mobile"]))
    assert "It has no IPv6: ipv6=off" in story(Slot(0, "name:web", ipv6="off"))
    without = Features(android=True, nat6=False)
    assert "does not reach the internet: this kernel has no NAT" in story(
        Slot(0, "name:web"), features=without
    )
    assert "no uplink has a network of 64 bits" in story(Slot(0, "name:web", ipv6="proxy"), features=without)


@pytest.mark.parametrize(
    ("features", "config", "told"),
    [
        (Features(ipv6=False), NetConfig(), "this machine has no IPv6"),
        (Features(), NetConfig(ipv6="off"), "config.toml says so"),
        (Features(), NetConfig(), "NAT66"),
        (Features(nat6=False), NetConfig(), "IPv4 is not affected"),
    ],
)
def test_why_ipv6_is_as_it_is(features: Features, config: NetConfig, told: str) -> None:
    assert told in ipv6_why(look([], features=features, config=config))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8080:80", "Port 8080/tcp of this machine leads to its port 80."),
        ("127.0.0.1:53:53/udp", "Port 53/udp of 127.0.0.1 leads to its port 53."),
        ("5000-5010:6000", "Ports 5000-5010/tcp of this machine lead to its ports 6000-6010."),
        ("5000-5010:5000", "Ports 5000-5010/tcp of this machine lead to the same ones inside."),
        ("[2001:db8::1]:80:80", "Port 80/tcp of 2001:db8::1 leads to its port 80."),
    ],
)
def test_a_forward_is_a_sentence(text: str, told: str) -> None:
    assert netstory.forward_sentence(parse_publish(text)) == told


def test_the_commands_are_those_of_this_container_only() -> None:
    web = Slot(0, "name:web", pins=["wifi"], forwards=["8080:80/tcp"])
    other = Slot(1, "name:other", pins=["mobile"], forwards=["9090:90/tcp"])
    found = look([web, other])
    told = netstory.explain(member(found, web), found).operations
    assert any("from 10.11.0.2/32" in line and "lookup 1007" in line for line in told)
    assert any(line.startswith("iptables -t nat") and "10.11.0.2:80" in line for line in told)
    assert not any("10.11.0.3" in line or "fd11::3" in line for line in told)


def test_what_does_not_run_has_no_commands() -> None:
    slot = Slot(0, "name:web")
    found = look([])
    told = netstory.explain(member(found, slot, running=False), found)
    assert told.operations == ()
    assert "Its traffic would leave via wlan0" in "\n".join(told.story)


def status(**more: Any) -> dict[str, Any]:
    return {
        "up": True,
        "uplinks": [uplink_dict(WIFI)],
        "free": {"uplink": "wlan0", "why": "via wlan0"},
        "containers": [
            {
                "owner": "web",
                "running": True,
                "ip4": "10.11.0.2",
                "path": {"uplink": "wlan0", "why": "via wlan0"},
            }
        ],
        "ipv6": {"mode": "nat", "why": "NAT66"},
        "notes": [],
    } | more


def test_no_difference_no_lines() -> None:
    assert netwatch.differences(status(), status()) == []


def test_each_difference_is_a_line() -> None:
    after = status(
        up=False,
        uplinks=[uplink_dict(MOBILE), uplink_dict(VPN_DOWN)],
        free={"uplink": "rmnet_data1", "why": "via rmnet_data1"},
        containers=[
            {"owner": "new", "running": True, "ip4": "10.11.0.3", "path": {"uplink": None, "why": "blocked"}}
        ],
        notes=[{"what": "a rule of another program", "why": "5030", "hint": ""}],
    )
    assert netwatch.differences(status(), after) == [
        "the network is down",
        "uplink wlan0 is gone",
        "uplink rmnet_data1 (mobile) is there: up, IPv4",
        "uplink tun0 (vpn) is there: down, it is down",
        "containers without a pin: via rmnet_data1",
        "web has stopped",
        "new has started with 10.11.0.3: blocked",
        "note: a rule of another program: 5030",
    ]
    assert netwatch.differences(after, status())[-1] == "no longer: a rule of another program"


def test_the_settings_of_a_container_make_its_wish() -> None:
    from nspawn.service import slots

    value = settings.apply(settings.Settings(), {"net": "nat", "port_range": "8020:8025", "hostname": "a.b"})
    wish = slots.wish("web", value, 3)
    assert (wish.number, wish.owner, wish.host, len(wish.forwards)) == (3, "name:web", "a.b", 3)
