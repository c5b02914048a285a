"""A kernel without bridges: each container has a wire of its own to the phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network, foreground
from tests.support.netlab.residue import Residue
from tests.support.netlab.stream import streaming
from tests.support.netlab.topology import LAN4, LAN6, WORLD4, line
from tests.support.processes import wait_until

pytestmark = pytest.mark.root

WIFI = line("wifi")


@pytest.fixture
def wires(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    found = Network(phone, tmp_path, busybox_base, lacking=["link:bridge"])
    try:
        yield found
    finally:
        found.close()


def test_containers_reach_the_world_neighbours_and_each_other(phone: PhoneLab, wires: Network) -> None:
    phone.connect("wifi")
    one, two = wires.run("one"), wires.run("two")
    assert not [name for name in phone.phone.interfaces() if "br" in name]
    assert one.ways() == {"wifi"}
    assert one.ask(LAN4).tag == "lan"
    assert one.ask(LAN6).tag == "lan"
    for proto in ("tcp", "udp"):
        assert one.ask(two.address4, proto=proto).tag == "two"
        assert two.ask(one.address6, proto=proto).tag == "one"
    assert phone.ask("phone", one.address4).tag == "one"
    assert "bridge" in wires.nspawn.ok("net", "status").out


def test_forwards_are_reached(phone: PhoneLab, wires: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one = wires.run("one", "-p", "8000:7000/tcp", "-p", "8000:7000/udp", "--route-via", "mobile")
    two = wires.run("two")
    phone.vpn_on()
    two.goes_by("vpn")
    for proto in ("tcp", "udp"):
        for client, host in (
            ("lan", WIFI.near4),
            ("lan", WIFI.near6),
            ("remote", WIFI.near4),
            ("mobile", line("mobile").near4),
            ("phone", WIFI.near4),
            ("phone", "127.0.0.1"),
        ):
            assert phone.ask(client, host, 8000, proto).tag == "one", (client, host, proto)
        assert two.ask(WIFI.near4, 8000, proto).tag == "one"
        assert one.ask(WIFI.near4, 8000, proto).tag == "one"


def test_pins_hold_and_uplinks_are_followed(phone: PhoneLab, wires: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    phone.vpn_on()
    held, free = wires.run("held", "--route-via", "vpn"), wires.run("free")
    with phone.counting(7001) as tally, streaming(held.space, 7001):
        assert wait_until(lambda: tally("vpn"), 5)
        phone.vpn_off()
        free.goes_by("wifi")
        phone.disconnect("wifi")
        free.goes_by("mobile")
        held.goes_by("")
        phone.vpn_on()
        held.goes_by("vpn")
        assert (tally("wifi"), tally("mobile")) == (0, 0)


def test_nothing_is_left(phone: PhoneLab, wires: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    wires.run("one", "-p", "8000:7000", "--route-via", "wifi")
    wires.run("two")
    for name in ("one", "two"):
        wires.stop(name)
    wires.nspawn.ok("net", "down")
    eventually(lambda: before.changed(Residue(phone.phone)), [])


def test_a_plain_host_and_a_foreground_run(host: PlainLab, tmp_path: Path, busybox_base: Path) -> None:
    host.connect("wifi")
    network = Network(host, tmp_path, busybox_base, lacking=["link:bridge"])
    try:
        with foreground(host, network.nspawn, network.rootfs("one"), "--net", "-p", "8000:7000") as one:
            assert one.ask(WORLD4).tag == "wifi"
            assert host.ask("lan", WIFI.near4, 8000).tag == "one"
    finally:
        network.close()
