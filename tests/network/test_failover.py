"""Uplinks come and go: containers follow, and what is pinned leaks nothing."""

from __future__ import annotations

import fcntl
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab import topology
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.ladder import LADDERS
from tests.support.netlab.product import Network, foreground
from tests.support.netlab.stream import streaming
from tests.support.netlab.tally import Tally
from tests.support.netlab.topology import HOTSPOT4, LAN4, WORLD4, line
from tests.support.processes import wait_until

pytestmark = pytest.mark.root

WIFI = line("wifi")


@pytest.fixture(params=LADDERS)
def generation(
    request: pytest.FixtureRequest, needs_root: None, tmp_path: Path, busybox_base: Path
) -> Iterator[tuple[PhoneLab, Network]]:
    lab = PhoneLab(tmp_path / "lab", request.param)
    try:
        network = Network(lab, tmp_path, busybox_base)
        try:
            yield lab, network
        finally:
            network.close()
    finally:
        lab.close()


def test_every_android_is_understood(generation: tuple[PhoneLab, Network]) -> None:
    lab, network = generation
    lab.connect("ims")
    lab.connect("mobile")
    free = network.run("free", "-p", "8000:7000")
    held = network.run("held", "--route-via", "vpn")
    assert free.ways() == {"mobile"}
    assert held.ways(0.4) == {""}
    lab.connect("wifi")
    free.goes_by("wifi")
    assert lab.ask("phone", free.address4).tag == "free"
    assert lab.ask("lan", WIFI.near4, 8000).tag == "free"
    lab.vpn_on(split=True)
    free.goes_by("vpn")
    held.goes_by("vpn")
    assert lab.ask("lan", WIFI.near4, 8000).tag == "free"
    assert free.ask(LAN4).tag == "lan"
    lab.vpn_off()
    free.goes_by("wifi")
    held.goes_by("")
    lab.disconnect("wifi")
    free.goes_by("mobile")
    lab.netd.restart()
    free.goes_by("mobile")
    lab.disconnect("mobile")
    free.goes_by("")


def test_a_kill_switch_holds_all_the_time(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    phone.vpn_on()
    held = network.run("held", "--route-via", "vpn", "--on-down", "block")
    with phone.counting(7001) as tally, streaming(held.space, 7001):
        for _ in range(3):
            assert wait_until(lambda: tally("vpn"), 5)
            phone.vpn_off()
            phone.disconnect("wifi")
            phone.connect("wifi")
            time.sleep(0.3)
            phone.vpn_on()
            held.goes_by("vpn")
        assert {title: tally(title) for title in ("wifi", "mobile", "ethernet")} == {
            "wifi": 0,
            "mobile": 0,
            "ethernet": 0,
        }


def does_not_leak(tally: Tally) -> bool:
    """By IPv4 nothing leaves by another uplink.

    By IPv6, which netd does not drop meanwhile, a packet may pass between two of the removals by which netd,
    at its start, forgets all rules, ours among them; a phone's kernel does not translate IPv6, though.
    """
    others = ("wifi", "mobile")
    return not any(tally(title, 4) for title in others) and sum(tally(title, 6) for title in others) <= 10


def test_a_kill_switch_holds_over_a_restart_of_netd(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    held = network.run("held", "--route-via", "vpn")
    free = network.run("free")
    with phone.counting(7001) as tally, streaming(held.space, 7001):
        for _ in range(3):
            phone.netd.restart()
            free.goes_by("wifi")
        assert does_not_leak(tally)
        phone.vpn_on()
        assert wait_until(lambda: tally("vpn"), 5)


def test_a_kill_switch_holds_when_netd_restarts_amid_other_changes(phone: PhoneLab, network: Network) -> None:
    """At any moment of what we do about the other change, and netd forgets only rules that it has seen."""
    seed = int(os.environ.get("NSPAWN_SEED", "0")) or random.randrange(1 << 30)
    chance = random.Random(seed)
    phone.connect("mobile")
    held = network.run("held", "--route-via", "vpn")
    free = network.run("free")
    with phone.counting(7001) as tally, streaming(held.space, 7001):
        for turn in range(4):
            phone.connect("wifi")
            time.sleep(chance.random() * 0.1)
            phone.netd.restart()
            free.goes_by("wifi")
            phone.disconnect("wifi")
            time.sleep(chance.random() * 0.1)
            phone.netd.restart()
            free.goes_by("mobile")
            assert does_not_leak(tally), (seed, turn)
        phone.vpn_on()
        assert wait_until(lambda: tally("vpn"), 5)


def test_a_kill_switch_holds_from_the_first_packet(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    script = f"for i in 1 2 3 4 5; do nc -w 1 {WORLD4} 7001; done; exec sleep 100000"
    network.create("held", "--route-via", "vpn")
    network.daemon.set("held", command=f'/bin/sh -c "{script}"')
    with phone.counting(7001) as tally:
        held = network.start("held")
        time.sleep(0.5)
        assert tally("wifi") == 0
        held.goes_by("")


def test_a_kill_switch_holds_when_everything_of_ours_is_dead(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    phone.vpn_on()
    held = network.run("held", "--route-via", "vpn")
    network.daemon.kill_both()
    with phone.counting(7001) as tally, streaming(held.space, 7001):
        assert wait_until(lambda: tally("vpn"), 5)
        phone.vpn_off()
        time.sleep(0.5)
        assert (tally("wifi"), tally("mobile")) == (0, 0)


def test_pins_are_taken_in_their_order(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one", "--route-via", "vpn,mobile")
    assert one.ways() == {"mobile"}
    phone.vpn_on()
    one.goes_by("vpn")
    phone.vpn_off()
    one.goes_by("mobile")
    phone.disconnect("mobile")
    one.goes_by("")
    phone.connect("mobile")
    one.goes_by("mobile")


def test_patterns_and_repeated_options_are_pins(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one", "--route-via", "tun*", "--route-via", "rmnet_data*")
    assert one.ways() == {"mobile"}
    phone.vpn_on()
    one.goes_by("vpn")


def test_a_fallback_takes_what_there_is_and_returns(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one", "--route-via", "ethernet", "--on-down", "fallback")
    assert one.ways() == {"wifi"}
    explained = network.nspawn.ok("net", "explain", "one").out
    assert "via wlan0 because pin ethernet is down and on_down=fallback" in explained
    phone.connect("ethernet")
    one.goes_by("ethernet")
    phone.disconnect("ethernet")
    one.goes_by("wifi")
    assert one.ask(LAN4).tag == "lan"


def test_a_loss_is_made_good_by_the_kernel_alone(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    phone.vpn_on()
    free = network.run("free")
    both = network.run("both", "--route-via", "vpn,wifi")
    soft = network.run("soft", "--route-via", "wifi", "--on-down", "fallback")
    network.daemon.kill_both()
    assert free.ways() == {"vpn"}
    phone.vpn_off()
    assert free.ways() == {"wifi"}
    assert both.ways() == {"wifi"}
    phone.disconnect("wifi")
    assert free.ways() == {"mobile"}
    assert soft.ways() == {"mobile"}
    assert both.ways(0.4) == {""}


def test_the_next_spawner_follows_what_came_meanwhile(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    one = network.run("one", "-p", "8000:7000")
    network.daemon.kill_both()
    phone.connect("wifi")
    assert one.ways() == {"mobile"}
    network.daemon.serve()
    one.goes_by("wifi")
    eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "one")


def test_a_killed_spawner_is_followed_by_one_that_watches(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    one = network.run("one")
    network.daemon.kill_spawner()
    phone.connect("wifi")
    one.goes_by("wifi")


def test_a_returning_interface_has_a_new_table_and_is_used(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    pinned = network.run("pinned", "--route-via", "wlan0", "-p", "8000:7000")
    tables = set()
    for _ in range(3):
        tables.add(phone.networks["wifi"].tables["wlan0"])
        assert pinned.ways() == {"wifi"}
        phone.disconnect("wifi")
        pinned.goes_by("")
        phone.connect("wifi")
        pinned.goes_by("wifi")
        eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "pinned")
    assert len(tables) == 3


def test_a_lockdown_keeps_everybody_in(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    free = network.run("free")
    pinned = network.run("pinned", "--route-via", "wifi", "--on-down", "fallback")
    assert free.ways() == {"wifi"}
    phone.netd.lock_down(True)
    for container in (free, pinned):
        container.goes_by("")
    with phone.counting(7001) as tally, streaming(free.space, 7001), streaming(pinned.space, 7001):
        phone.vpn_on()
        free.goes_by("vpn")
        phone.vpn_off()
        time.sleep(0.3)
        assert tally("wifi") == 0
    phone.netd.lock_down(False)
    for container in (free, pinned):
        container.goes_by("wifi")


def test_a_new_address_is_reached(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    network.run("one", "-p", "8000:7000")
    phone.phone.ip("addr add 192.168.1.51/24 dev wlan0", "addr add 2001:db8:1::51/64 dev wlan0 nodad")
    for host in ("192.168.1.51", "2001:db8:1::51"):
        eventually(lambda host=host: phone.ask("lan", host, 8000, seconds=0.4).tag, "one")  # type: ignore[misc]
    phone.phone.ip("addr del 192.168.1.51/24 dev wlan0")
    eventually(lambda: "192.168.1.51" in phone.phone.check("iptables-legacy-save"), False)


def test_a_hotspot_comes_and_goes(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    one = network.run("one", "-p", "8000:7000")
    for _ in range(2):
        phone.hotspot_on("mobile")
        eventually(lambda: one.ask(HOTSPOT4, seconds=0.4).tag, "hotspot")
        eventually(
            lambda: phone.ask("hotspot", topology.HOTSPOT_GATEWAY4, 8000, seconds=0.4).tag,
            "one",
        )
        phone.hotspot_off()
        one.goes_by("mobile")
        assert phone.phone.setting("ipv4/ip_forward") == "1"


def test_forwarding_that_another_turned_off_is_turned_on(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    phone.phone.sysctl(ipv4__ip_forward="0", ipv6__conf__all__forwarding="0")
    one.goes_by("wifi")


def test_a_flush_of_our_chains_is_repaired_with_the_next_event(phone: PhoneLab, network: Network) -> None:
    """Netfilter's legacy tables tell nobody; netd's restart tells by its rules, and an address by itself."""
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000")
    for table in ("filter", "nat", "mangle", "raw"):
        for program in ("iptables-legacy", "ip6tables-legacy"):
            phone.phone.check(program, "-t", table, "-F")
    assert not one.ask(WORLD4, seconds=0.3)
    phone.connect("mobile")
    one.goes_by("wifi")
    eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "one")
    network.nspawn.ok("net", "up")


def test_jumps_that_another_went_before_are_first_again(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    phone.phone.check("iptables-legacy", "-I", "FORWARD", "-j", "DROP")
    assert not one.ask(WORLD4, seconds=0.3)
    phone.connect("mobile")
    eventually(lambda: one.ask(WORLD4, seconds=0.4).tag, "wifi")
    assert "-A FORWARD -j DROP" in phone.phone.check("iptables-legacy-save", "-t", "filter")


def test_a_foreign_rule_for_our_subnet_is_warned_of_and_survived(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    phone.phone.ip("rule add pref 5030 from 10.0.0.0/8 table 99")
    one = network.run("one")
    assert one.ways() == {"wifi"}
    assert "5030" in network.nspawn.ok("net", "status").out
    network.stop("one")
    assert "5030:\tfrom 10.0.0.0/8 lookup" in phone.phone.check("ip", "rule")


def test_changes_wait_for_the_lock_of_iptables(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    one = network.run("one", "-p", "8000:7000")
    with open(phone.root.lock, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        phone.connect("wifi")
        time.sleep(1)
    one.goes_by("wifi")
    eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "one")


def test_many_flaps_end_in_the_right_state(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    free = network.run("free", "-p", "8000:7000")
    held = network.run("held", "--route-via", "wifi")
    for _ in range(50):
        phone.connect("wifi")
        phone.disconnect("wifi")
    free.goes_by("mobile")
    held.goes_by("")
    phone.connect("wifi")
    free.goes_by("wifi")
    held.goes_by("wifi")
    eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "free")
    alive = {str(table) for each in phone.netd.networks for table in each.tables.values()}
    used = re.findall(r"lookup (\d+) .*proto 78", phone.phone.check("ip", "rule"))
    assert set(used) <= alive | {"97"}


def test_a_foreground_run_has_a_watcher_of_its_own(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    with foreground(phone, network.nspawn, network.rootfs("one"), "--net", "-p", "8000:7000") as one:
        assert one.ways() == {"mobile"}
        assert not network.daemon.keeper
        phone.connect("wifi")
        one.goes_by("wifi")
        eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.4).tag, "one")
