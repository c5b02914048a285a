"""Containers with a network come, crash, return and are many; and what they meet is not always in order."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.netlab import topology
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.probe import Question, ask_all
from tests.support.netlab.product import Container, Network, foreground
from tests.support.netlab.residue import Residue
from tests.support.netlab.topology import LAN4, WORLD4, WORLD6, line
from tests.support.processes import wait_until

pytestmark = pytest.mark.root

WIFI = line("wifi")


def test_many_start_at_once_and_follow_a_change_together(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    count = 24
    for number in range(count):
        pins = [[], ["--route-via", "vpn"], ["--route-via", "mobile"]][number % 3]
        network.create(f"c{number}", "-p", f"{8100 + number}:7000", *pins)

    def start(number: int) -> subprocess.Popen[bytes]:
        with phone.phone.inside():
            return subprocess.Popen(
                [network.nspawn.path, "start", f"c{number}"], env=network.nspawn.environment
            )

    # Each from this thread, which alone is in the phone's namespace; they run at the same time.
    for process in [start(number) for number in range(count)]:
        assert process.wait(30) == 0
    found = []
    for number in range(count):
        name = f"c{number}"
        found.append(Container(phone, name, network.daemon.pid(name)))
        network.containers[name] = found[-1]
    assert len({each.address4 for each in found}) == count
    for uplink, pinned in (("wifi", ""), ("vpn", "vpn"), ("wifi", "")):
        if pinned:
            phone.vpn_on()
        elif phone.tunnel:
            phone.vpn_off()
        expected = [[uplink, pinned, "mobile"][number % 3] for number in range(count)]
        for world in (WORLD4, WORLD6):
            questions = [Question(each.space, world) for each in found]
            eventually(lambda asked=questions: [each.tag for each in ask_all(asked, 0.7)], expected)  # type: ignore[misc]
    questions = [Question(phone["lan"], WIFI.near4, 8100 + number) for number in range(count)]
    assert [each.tag for each in ask_all(questions)] == [each.name for each in found]


def test_a_container_that_crashes_returns_with_its_address_and_forwards(
    phone: PhoneLab, network: Network
) -> None:
    phone.connect("wifi")
    one = network.run(
        "one", "-p", "8000:7000", "--set", "restart.policy=always", "--set", "restart.delay=0.1"
    )
    address, pid = one.address4, one.pid
    one.close()
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: network.daemon.state("one")["pid"] not in (None, 0, pid), 10, 0.05)
    again = network.containers["one"] = Container(phone, "one", network.daemon.pid("one"))
    assert again.address4 == address
    assert again.ask(WORLD4).tag == "wifi"
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"


def test_a_container_keeps_its_address_under_another_name(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    address = network.run("one").address4
    network.run("two")
    network.stop("one")
    network.nspawn.ok("rename", "one", "other")
    assert network.run("three").address4 != address
    assert network.start("other").address4 == address


def test_new_settings_count_from_the_next_start(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000")
    network.nspawn.ok("set", "one", "network.pin=mobile", "network.ports=8001:7000")
    assert one.ways() == {"wifi"}
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"
    network.stop("one")
    one = network.start("one")
    assert one.ways() == {"mobile"}
    assert phone.ask("lan", WIFI.near4, 8001).tag == "one"
    assert not phone.ask("lan", WIFI.near4, 8000, seconds=0.3)


def test_a_foreground_run_and_named_containers_share_the_network(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    with foreground(phone, network.nspawn, network.rootfs("alone"), "--net", "-p", "8000:7000") as alone:
        one = network.run("one", "-p", "8001:7000")
        assert alone.ask(one.address4).tag == "one"
        assert one.ask(alone.address4).tag == "alone"
        phone.connect("ethernet")
        for container in (alone, one):
            container.goes_by("ethernet")
        phone.disconnect("ethernet")
        for container in (alone, one):
            container.goes_by("wifi")
        network.stop("one")
        assert alone.ask(WORLD4).tag == "wifi"
        assert phone.ask("lan", WIFI.near4, 8000).tag == "alone"
    network.nspawn.ok("net", "down")
    eventually(lambda: before.changed(Residue(phone.phone)), [])


def test_a_run_without_a_spawner_goes_on_when_one_came_and_went(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    with foreground(phone, network.nspawn, network.rootfs("alone"), "--net", "-p", "8000:7000") as alone:
        network.run("one")
        phone.connect("ethernet")
        alone.goes_by("ethernet")
        network.stop("one")
        network.nspawn("shutdown")
        phone.disconnect("ethernet")
        phone.connect("wifi")
        alone.goes_by("wifi")
        eventually(lambda: phone.ask("lan", WIFI.near4, 8000, seconds=0.5).tag, "alone")


def test_an_adopted_container_leaves_nothing_either(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    one = network.run("one", "-p", "8000:7000", "--route-via", "wifi")
    network.daemon.kill_spawner()
    assert one.ways() == {"wifi"}
    network.stop("one")
    network.nspawn.ok("net", "down")
    eventually(lambda: before.changed(Residue(phone.phone)), [])
    assert network.start("one").ways() == {"wifi"}


def test_a_hotspot_on_a_second_wifi_is_no_uplink(phone: PhoneLab, network: Network) -> None:
    """wlan1, as a phone with two radios names it: table 97 tells what it is."""
    phone.connect("mobile")
    hotspot = phone["hotspot"]
    phone.phone.ip(
        f"link add wlan1 type veth peer name eth0 netns {hotspot.name}",
        "link set wlan1 up",
        "addr add 192.168.43.1/24 dev wlan1",
    )
    hotspot.ip(*topology.of_client("192.168.43.20", "192.168.43.1", "2001:db8:43::20", "2001:db8:43::1"))
    local = phone.netd.add("local")
    phone.netd.attach(local, "wlan1", "192.168.43.0/24 scope link")
    phone.netd.tether("wlan1", line("mobile").device)
    one = network.run("one", "-p", "8000:7000")
    pinned = network.run("pinned", "--route-via", "wifi")
    assert one.ways() == {"mobile"}
    assert pinned.ways(0.4) == {""}
    assert phone.ask("hotspot", "192.168.43.1", 8000).tag == "one"
    assert one.ask("192.168.43.20").tag == "hotspot"


def test_of_equal_uplinks_the_phones_default_is_taken(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    phone.connect("ethernet")
    one = network.run("one")
    assert one.ways() == {"ethernet"}
    phone.netd.make_default(phone.networks["wifi"])
    one.goes_by("wifi")


def test_another_programs_bridge_is_left_alone(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    phone.phone.ip("link add nspawn_br1 type bridge", "addr add 192.168.99.1/24 dev nspawn_br1")
    before = Residue(phone.phone)
    network.create("one")
    refused = network.nspawn("start", "one")
    assert refused.status == 1, refused
    assert "nspawn_br1" in refused.err
    assert before.changed(Residue(phone.phone)) == []


def test_a_lan_that_has_our_subnet_later_does_not_cut_containers_off(
    phone: PhoneLab, network: Network
) -> None:
    phone.connect("mobile")
    one = network.run("one", "-p", "8000:7000")
    prefix = one.address4.rpartition(".")[0]
    phone.phone.ip("link add taken type bridge", "link set taken up", f"addr add {prefix}.77/24 dev taken")
    phone.connect("wifi")
    one.goes_by("wifi")
    assert phone.ask("phone", one.address4).tag == "one"
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"
    assert f"{prefix}." in network.nspawn.ok("net", "status").out


@pytest.mark.parametrize("name", ["iptables-restore", "ip6tables-restore"])
def test_a_firewall_that_fails_is_told_and_nothing_is_left(
    phone: PhoneLab, network: Network, name: str
) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    program = phone.root.root / "system/bin" / name
    good = program.read_text()
    program.write_text("#!/bin/sh\necho 'the table is on fire' >&2\nexit 4\n")
    network.create("one", "-p", "8000:7000")
    refused = network.nspawn("start", "one")
    assert refused.status == 1, refused
    assert "on fire" in refused.err
    program.write_text(good)
    network.nspawn("net", "down")
    eventually(lambda: before.changed(Residue(phone.phone)), [])
    assert network.start("one").ways() == {"wifi"}
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"


def test_damaged_files_of_slots_are_told_and_survived(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    network.stop("one")
    slots = network.daemon.root / "network/slots"
    for path in slots.iterdir():
        path.write_bytes(b"nonsense")
    two = network.run("two")
    assert two.ask(WORLD4).tag == "wifi"
    again = network.start("one")
    assert again.address4 != two.address4
    assert again.ask(LAN4).tag == "lan"
    assert one.name == "one"


def test_a_damaged_prefix_is_told_and_survived(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    network.run("one")
    network.stop("one")
    network.nspawn.ok("net", "down")
    (network.daemon.root / "network/prefix").write_bytes(b"nonsense")
    assert network.start("one").ask(WORLD4).tag == "wifi"


def test_a_container_of_another_boot_has_its_network_again(phone: PhoneLab, network: Network) -> None:
    """All interfaces, rules and chains are gone, as after a reboot; the files are there."""
    phone.connect("wifi")
    address = network.run("one", "-p", "8000:7000").address4
    network.daemon.kill_both()
    network["one"].close()
    pid = network.containers.pop("one").pid
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not Path(f"/proc/{pid}/ns/net").exists(), 5)
    phone.phone.ip_forgiving("link del nspawn_br1")
    phone.netd.restart()
    one = network.start("one")
    assert one.address4 == address
    assert one.ways() == {"wifi"}
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"
