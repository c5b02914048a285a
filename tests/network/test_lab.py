"""The lab itself: the machine's own traffic goes as Android's and Linux's does, without anything of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab import topology
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.ladder import LADDERS
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.poornet import PoorNet
from tests.support.netlab.topology import HOTSPOT6, LAN4, LAN6, REMOTE4, WORLD4, WORLD6

pytestmark = pytest.mark.root


@pytest.fixture(params=LADDERS)
def generations(request: pytest.FixtureRequest, needs_root: None, tmp_path: Path) -> Iterator[PhoneLab]:
    lab = PhoneLab(tmp_path, request.param)
    yield lab
    lab.close()


def everywhere(lab: PhoneLab | PlainLab, space: str = "phone") -> set[str]:
    """Who answers from the world, by both families and protocols."""
    return {lab.ask(space, world, proto=proto).tag for world in (WORLD4, WORLD6) for proto in ("tcp", "udp")}


def test_a_phone_uses_its_default_network_and_a_vpn_before_it(generations: PhoneLab) -> None:
    lab = generations
    assert lab.ask("phone", WORLD4, seconds=0.3).why == "Network is unreachable"
    lab.connect("mobile")
    assert everywhere(lab) == {"mobile"}
    lab.connect("wifi")
    assert everywhere(lab) == {"wifi"}
    lab.vpn_on()
    assert everywhere(lab) == {"vpn"}
    assert lab.ask("phone", WORLD4).peer == topology.VPN4
    lab.vpn_off()
    assert everywhere(lab) == {"wifi"}
    lab.disconnect("wifi")
    assert everywhere(lab) == {"mobile"}
    assert lab.ask("phone", WORLD6).peer == topology.line("mobile").near6
    lab.vpn_on(split=True)
    assert everywhere(lab) == {"vpn"}


def test_an_interface_that_returns_has_another_table(phone: PhoneLab) -> None:
    phone.connect("wifi")
    before = phone.networks["wifi"].tables["wlan0"]
    phone.disconnect("wifi")
    assert not phone.phone.check("ip", "route", "show", "table", str(before))
    phone.connect("wifi")
    after = phone.networks["wifi"].tables["wlan0"]
    assert after > before
    names = (phone.root.root / "data/misc/net/rt_tables").read_text()
    assert f"{after} wlan0\n" in names
    assert f"{before} wlan0" not in names
    assert everywhere(phone) == {"wifi"}


def test_ims_and_background_networks_are_nobodys_default(phone: PhoneLab) -> None:
    phone.connect("ims")
    phone.connect("background")
    assert not phone.ask("phone", WORLD4, seconds=0.3)
    phone.connect("mobile")
    assert everywhere(phone) == {"mobile"}


def test_464xlat_gives_ipv4_by_an_interface_of_its_own(phone: PhoneLab) -> None:
    phone.connect_464xlat()
    assert everywhere(phone) == {"mobile"}
    assert phone.ask("phone", WORLD4).peer == topology.CLAT4
    tables = phone.networks["mobile"].tables
    assert set(tables) == {"rmnet_data1", "v4-rmnet_data1"}
    assert f"default dev v4-rmnet_data1 table {tables['v4-rmnet_data1']}" in phone.phone.check(
        "ip", "-4", "route", "show", "table", "all"
    )
    phone.disconnect("mobile")
    assert "v4-rmnet_data1" not in phone.phone.interfaces()


def test_a_lockdown_holds_without_its_vpn(phone: PhoneLab) -> None:
    phone.connect("wifi")
    phone.netd.lock_down(True)
    assert phone.ask("phone", WORLD4, seconds=0.3).why == "Permission denied"
    phone.vpn_on()
    assert everywhere(phone) == {"vpn"}
    phone.vpn_off()
    phone.netd.lock_down(False)
    assert everywhere(phone) == {"wifi"}


def test_a_hotspot_shares_the_uplink_and_leaves_forwarding_off(phone: PhoneLab) -> None:
    phone.connect("mobile")
    assert phone.phone.setting("ipv4/ip_forward") == "0"
    phone.hotspot_on("mobile")
    answer = phone.ask("hotspot", WORLD4)
    assert (answer.tag, answer.peer) == ("mobile", topology.line("mobile").near4)
    assert phone.ask("phone", HOTSPOT6).tag == "hotspot"
    phone.hotspot_off()
    assert phone.phone.setting("ipv4/ip_forward") == "0"
    assert phone.phone.setting("ipv6/conf/all/forwarding") == "0"


def test_ndc_counts_who_wants_forwarding(phone: PhoneLab) -> None:
    ndc = phone.root.root / "system/bin/ndc"
    phone.connect("mobile")
    assert phone.phone.check(ndc, "ipfwd", "enable", "us").startswith("200 ")
    assert phone.netd.forwarding_requests == ["us"]
    phone.hotspot_on("mobile")
    phone.hotspot_off()
    assert phone.phone.setting("ipv4/ip_forward") == "1"
    phone.phone.check(ndc, "ipfwd", "disable", "us")
    assert phone.phone.setting("ipv4/ip_forward") == "0"
    assert phone.phone.run(ndc, "nonsense").status == 1


def test_a_restart_of_netd_flushes_and_tells_all_again(generations: PhoneLab) -> None:
    lab = generations
    lab.connect("wifi")
    lab.connect("mobile")
    lab.vpn_on()
    rules = sorted(lab.phone.check("ip", "rule").splitlines())
    lab.phone.ip("rule add pref 1234 from 10.11.0.2 table 5")
    lab.phone.check("iptables-legacy", "-I", "FORWARD", "-s", "10.11.0.2", "-j", "ACCEPT")
    lab.phone.check(lab.root.root / "system/bin/ndc", "ipfwd", "enable", "us")
    lab.netd.restart()
    assert sorted(lab.phone.check("ip", "rule").splitlines()) == rules
    assert "10.11.0.2" not in lab.phone.check("iptables-legacy-save")
    assert lab.phone.setting("ipv4/ip_forward") == "0"
    assert lab.netd.forwarding_requests == []
    assert everywhere(lab) == {"vpn"}


def test_neighbours_and_routed_hosts_are_reached_and_reach_the_phone(phone: PhoneLab) -> None:
    phone.connect("wifi")
    assert phone.ask("phone", LAN4).tag == "lan"
    assert phone.ask("phone", LAN6).tag == "lan"
    assert phone.ask("phone", REMOTE4).tag == "remote"
    with phone.serving(phone.phone, "me", 9000):
        for client, seen in (("lan", LAN4), ("remote", REMOTE4)):
            answer = phone.ask(client, topology.line("wifi").near4, 9000, "udp")
            assert (answer.tag, answer.peer) == ("me", seen)


def test_packets_are_counted_where_they_arrive(phone: PhoneLab) -> None:
    phone.connect("wifi")
    phone.connect("mobile")
    with phone.counting(7001) as tally:
        phone.ask("phone", WORLD4, 7001, "udp", seconds=0.1)
        phone.ask("phone", WORLD6, 7001, "tcp", seconds=0.1)
        assert (tally("wifi"), tally("mobile")) == (2, 0)


def test_a_poorer_kernel_lacks_tables_and_matches(phone: PhoneLab) -> None:
    bin6 = phone.root.root / "system/bin/ip6tables-restore"
    bin4 = phone.root.root / "system/bin/iptables-restore"
    nat = "*nat\n:OURS -\nCOMMIT\n"
    connmark = "*mangle\n-A FORWARD -m connmark --mark 5\nCOMMIT\n"
    poor = PoorNet(phone.loop, phone.phone, {"6:nat", "4:connmark"})
    try:
        refused = phone.phone.run(*poor.command, bin6, "--noflush", stdin=nat)
        assert refused.status, refused
        assert "nat" in refused.err
        assert "nat" not in phone.phone.check("cat", "/proc/net/ip6_tables_names").split()
        phone.phone.check(*poor.command, bin6, "--noflush", stdin=nat.replace("nat", "filter"))
        phone.phone.check(*poor.command, bin6, "--noflush", stdin=connmark)
        phone.phone.check(*poor.command, bin4, "--noflush", stdin=nat)
        assert phone.phone.run(*poor.command, bin4, "--noflush", stdin=connmark).status
        phone.phone.check(bin4, "--noflush", stdin=connmark)
    finally:
        poor.close()


def test_dumpsys_and_rt_tables_tell_the_networks(generations: PhoneLab) -> None:
    lab = generations
    lab.connect("wifi")
    shown = lab.phone.check(lab.root.root / "system/bin/dumpsys", "connectivity")
    servers = "[192.168.1.1,]" if lab.generation == "10" else "[ /192.168.1.1 ]"
    assert f"InterfaceName: wlan0 DnsAddresses: {servers} " in shown


def test_a_host_uses_its_best_metric_and_a_vpn_before_it(host: PlainLab) -> None:
    host.connect("wifi")
    assert everywhere(host) == {"wifi"}
    host.connect("ethernet")
    assert everywhere(host) == {"ethernet"}
    host.vpn_on()
    assert everywhere(host) == {"vpn"}
    host.vpn_off()
    host.disconnect("ethernet")
    assert everywhere(host) == {"wifi"}


def test_labs_follow_each_other(needs_root: None, tmp_path: Path) -> None:
    for number in range(3):
        began = time.monotonic()
        lab = PhoneLab(tmp_path / str(number))
        try:
            lab.connect("wifi")
            lab.connect("mobile")
            lab.vpn_on()
            print(f"{time.monotonic() - began:.2f} s")
            assert everywhere(lab) == {"vpn"}
        finally:
            lab.close()
