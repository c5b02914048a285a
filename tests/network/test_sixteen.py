"""What the shell original does wrong (facts/network.md, section 2), as what ours does; in that order."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab import topology
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.product import Network, foreground
from tests.support.netlab.residue import Residue
from tests.support.netlab.stream import streaming
from tests.support.netlab.topology import (
    HOTSPOT4,
    HOTSPOT6,
    HOTSPOT_GATEWAY4,
    LAN4,
    LAN6,
    WORLD4,
    WORLD6,
    line,
)
from tests.support.processes import wait_until

pytestmark = pytest.mark.root

WIFI4, WIFI6 = line("wifi").near4, line("wifi").near6
MOBILE4 = line("mobile").near4


@pytest.fixture
def poor(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    """A kernel of a stock Android 11 and later: IPv6 is not translated."""
    found = Network(phone, tmp_path, busybox_base, lacking=["6:nat"])
    yield found
    found.close()


def test_01_ipv4_does_not_suffer_from_a_kernel_that_does_not_translate_ipv6(
    phone: PhoneLab, poor: Network
) -> None:
    phone.connect("wifi")
    one = poor.run("one", "-p", "8000:7000")
    assert one.ask(WORLD4).tag == "wifi"
    # IPv6 fails at once, and does not leave programs waiting.
    assert one.ask(WORLD6).why == "Network is unreachable"
    assert phone.ask("lan", WIFI4, 8000).tag == "one"
    assert "IPv6" in poor.nspawn.ok("net", "status").out
    with foreground(phone, poor.nspawn, poor.rootfs("two"), "--net") as two:
        assert two.ask(WORLD4).tag == "wifi"


def test_02_wifi_that_returns_is_used_again(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one")
    assert one.ways() == {"wifi"}
    phone.disconnect("wifi")
    one.goes_by("mobile")
    phone.connect("wifi")
    one.goes_by("wifi")


def test_03_a_vpn_that_connects_later_and_again_is_used(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    assert one.ways() == {"wifi"}
    for _ in range(2):
        phone.vpn_on()
        one.goes_by("vpn")
        assert one.ask(WORLD4).peer == topology.VPN4
        phone.vpn_off()
        one.goes_by("wifi")


def test_04_a_pin_to_a_vpn_does_not_leak_and_returns(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    phone.vpn_on()
    one = network.run("one", "--route-via", "tun0")
    assert one.ways() == {"vpn"}
    with phone.counting(7001) as tally:
        with streaming(one.space, 7001):
            assert wait_until(lambda: tally("vpn"), 5)
            phone.vpn_off()
            assert one.ways(0.3) == {""}
            phone.vpn_on()
            one.goes_by("vpn")
        assert (tally("wifi"), tally("mobile")) == (0, 0)


def test_05_the_clean_up_works_when_the_interface_is_gone(phone: PhoneLab, network: Network) -> None:
    before = Residue(phone.phone)
    phone.connect("wifi")
    with foreground(phone, network.nspawn, network.rootfs("one"), "--net", "--route-via", "wlan0") as one:
        assert one.ways() == {"wifi"}
        phone.disconnect("wifi")
    network.nspawn.ok("--cleanup-route")
    assert before.changed(Residue(phone.phone)) == []
    network.nspawn.ok("-C")


@pytest.mark.parametrize("pin", ["", "wifi", "vpn"])
def test_06_under_a_vpn_neighbours_and_forwards_go_on(phone: PhoneLab, network: Network, pin: str) -> None:
    phone.connect("wifi")
    phone.vpn_on()
    pins = ["--route-via", pin] if pin else []
    one = network.run("one", "-p", "8000:7000/tcp", "-p", "8000:7000/udp", *pins)
    for client, wifi in (("lan", WIFI4), ("lan", WIFI6), ("remote", WIFI4), ("remote", WIFI6)):
        for proto in ("tcp", "udp"):
            assert phone.ask(client, wifi, 8000, proto).tag == "one", (client, wifi, proto)
    assert phone.ask("phone", one.address4).tag == "one"
    assert phone.ask("phone", one.address6).tag == "one"
    if not pin:
        assert one.ask(LAN4).tag == "lan"
        assert one.ask(LAN6).tag == "lan"


def test_07_a_pinned_container_serves_neighbours_and_hotspot_clients(
    phone: PhoneLab, network: Network
) -> None:
    phone.connect("wifi")
    phone.connect("mobile")
    phone.hotspot_on("mobile")
    one = network.run("one", "--route-via", "mobile", "-p", "8000:7000")
    assert one.ways() == {"mobile"}
    assert phone.ask("lan", WIFI4, 8000).tag == "one"
    assert phone.ask("lan", WIFI6, 8000).tag == "one"
    assert phone.ask("hotspot", HOTSPOT_GATEWAY4, 8000).tag == "one"
    assert one.ask(HOTSPOT4).tag == "hotspot"
    assert one.ask(HOTSPOT6).tag == "hotspot"


@pytest.mark.parametrize("order", [("mobile", "ims", "background"), ("background", "ims", "mobile")])
def test_08_of_several_mobile_interfaces_the_one_with_the_internet_is_used(
    phone: PhoneLab, network: Network, order: tuple[str, ...]
) -> None:
    for uplink in order:
        phone.connect(uplink)
    one = network.run("one")
    two = network.run("two", "--route-via", "mobile")
    assert one.ways() == {"mobile"}
    assert two.ways() == {"mobile"}
    phone.disconnect("mobile")
    assert wait_until(lambda: one.ways(0.3) == {""}, 5)
    assert two.ways(0.3) == {""}


def test_09_ipv4_goes_through_464xlat(phone: PhoneLab, network: Network) -> None:
    phone.connect_464xlat()
    one = network.run("one", "-p", "8000:7000")
    pinned = network.run("two", "--route-via", "mobile")
    for container in (one, pinned):
        assert container.ways() == {"mobile"}
        assert container.ask(WORLD4).peer == topology.CLAT4
    assert phone.ask("mobile", topology.CLAT4, 8000).tag == "one"
    phone.disconnect("mobile")
    assert wait_until(lambda: one.ways(0.3) == {""}, 5)
    phone.connect_464xlat()
    one.goes_by("mobile")


def test_10_an_address_is_a_containers_own_for_its_life(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    first = {name: network.run(name).address4 for name in ("a", "b")}
    network.stop("a")
    assert network.run("c").address4 not in first.values()
    again = network.start("a")
    assert again.address4 == first["a"]
    assert again.ways() == {"wifi"}
    network.stop("c")
    network.nspawn.ok("rm", "c")
    assert len({each.address4 for each in (network["a"], network["b"], network.run("d"))}) == 3


def test_11_a_subnet_that_is_taken_is_left_to_the_others(phone: PhoneLab, network: Network) -> None:
    phone.phone.ip("link add taken type bridge", "link set taken up", "addr add 10.11.0.7/16 dev taken")
    phone.phone.ip("addr add fd11::7/64 dev taken nodad")
    phone.connect("wifi")
    found = [network.run(name) for name in ("a", "b")]
    for container in found:
        assert not container.address4.startswith("10.11.")
        assert not container.address6.startswith("fd11::")
        assert container.ways() == {"wifi"}
    assert found[0].address4.rpartition(".")[0] == found[1].address4.rpartition(".")[0]
    assert found[0].ask(found[1].address4).tag == "b"
    assert found[0].ask(found[1].address6).tag == "b"
    # It is remembered, also when the other is gone.
    for name in ("a", "b"):
        network.stop(name)
    phone.phone.ip("link del taken")
    assert network.start("a").address4 == found[0].address4


def test_12_forwards_are_reached_from_everywhere(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    one = network.run("one", "-p", "8000:7000")
    two = network.run("two")
    for host in ("127.0.0.1", MOBILE4, line("mobile").near6):
        assert phone.ask("phone", host, 8000).tag == "one", host
    assert phone.ask("mobile", MOBILE4, 8000).tag == "one"
    assert two.ask(MOBILE4, 8000).tag == "one"
    assert one.ask(MOBILE4, 8000).tag == "one"
    # WiFi and the hotspot were off at the start.
    phone.connect("wifi")
    phone.hotspot_on("mobile")
    eventually(lambda: phone.ask("lan", WIFI4, 8000, seconds=0.5).tag, "one")
    eventually(lambda: phone.ask("remote", WIFI6, 8000, seconds=0.5).tag, "one")
    eventually(lambda: phone.ask("hotspot", HOTSPOT_GATEWAY4, 8000, seconds=0.5).tag, "one")
    assert two.ask(WIFI4, 8000).tag == "one"
    assert phone.ask("phone", WIFI4, 8000).tag == "one"


def test_13_ports_are_mapped_one_by_one_and_do_not_stay(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000", "-p", "8100-8102:7000", "-P", "9000:9001")
    with phone.serving(one.space, "nine", 9001), phone.serving(one.space, "two", 7002):
        assert phone.ask("lan", WIFI4, 8000).tag == "one"
        assert phone.ask("lan", WIFI4, 8100).tag == "one"
        assert phone.ask("lan", WIFI4, 8102).tag == "two"
        assert phone.ask("lan", WIFI4, 9001, "udp").tag == "nine"
        assert phone.ask("lan", WIFI4, 8000, "udp", seconds=0.3).tag == ""
    network.stop("one")
    network.nspawn.ok("set", "one", "network.ports=8001:7000", "network.port_range=")
    network.start("one")
    assert phone.ask("lan", WIFI4, 8001).tag == "one"
    with phone.serving(phone.phone, "phone", 8000):
        assert phone.ask("lan", WIFI4, 8000).tag == "phone"


def test_14_a_hotspot_that_ends_and_a_restart_of_netd_are_repaired(phone: PhoneLab, network: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000")
    phone.hotspot_on("mobile")
    phone.hotspot_off()
    assert one.ways() == {"wifi"}
    assert phone.ask("lan", WIFI4, 8000).tag == "one"
    phone.netd.restart()
    one.goes_by("wifi")
    eventually(lambda: phone.ask("lan", WIFI4, 8000, seconds=0.5).tag, "one")


def test_15_nothing_is_left(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    network.run("one", "-p", "8000:7000", "--route-via", "wifi")
    assert before.changed(Residue(phone.phone))
    network.stop("one")
    eventually(lambda: before.changed(Residue(phone.phone)), [], 15)


def test_16_a_lock_of_iptables_that_another_holds_is_waited_for(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    network.create("one", "-p", "8000:7000")
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with open(phone.root.lock, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held.set()
            release.wait(2)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    one = network.start("one")
    release.set()
    thread.join()
    assert one.ways() == {"wifi"}
    assert phone.ask("lan", WIFI4, 8000).tag == "one"
    ours = [command for command in phone.root.commands() if "restore" in command]
    assert ours
    assert all(" -w" in command for command in ours)
