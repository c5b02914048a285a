"""IPv6 where the kernel does not translate it: global addresses that the phone answers for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.product import Network
from tests.support.netlab.residue import Residue
from tests.support.netlab.topology import LAN6, WORLD4, WORLD6, line

pytestmark = pytest.mark.root

WIFI, MOBILE = line("wifi"), line("mobile")


@pytest.fixture
def poor(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    found = Network(phone, tmp_path, busybox_base, lacking=["6:nat"])
    try:
        yield found
    finally:
        found.close()


def net_of(address: str) -> str:
    return ":".join(address.split(":")[:3])


def test_a_global_address_leads_out_and_in(phone: PhoneLab, poor: Network) -> None:
    phone.connect("mobile")
    phone.connect("wifi")
    one, two = poor.run("one", "--ipv6", "proxy"), poor.run("two")
    answer = one.ask(WORLD6)
    assert answer.tag == "wifi"
    assert net_of(answer.peer) == net_of(WIFI.near6)
    assert answer.peer != WIFI.near6
    assert one.ask(LAN6).tag == "lan"
    for client in ("lan", "remote", "wifi"):
        assert phone.ask(client, answer.peer).tag == "one", client
    assert two.ask(WORLD6).tag == ""
    assert one.ask(WORLD4).tag == "wifi"


def test_a_global_address_follows_the_uplink(phone: PhoneLab, poor: Network) -> None:
    phone.connect("mobile")
    one = poor.run("one", "--ipv6", "proxy")
    assert net_of(one.ask(WORLD6).peer) == net_of(MOBILE.near6)
    phone.connect("wifi")
    eventually(lambda: net_of(one.ask(WORLD6, seconds=0.5).peer), net_of(WIFI.near6))
    phone.disconnect("wifi")
    eventually(lambda: net_of(one.ask(WORLD6, seconds=0.5).peer), net_of(MOBILE.near6))


def test_a_global_address_leaves_nothing(phone: PhoneLab, poor: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone, nat6=False)
    poor.run("one", "--ipv6", "proxy")
    assert before.changed(Residue(phone.phone, nat6=False))
    poor.stop("one")
    poor.nspawn.ok("net", "down")
    eventually(lambda: before.changed(Residue(phone.phone, nat6=False)), [])


def test_without_it_ipv6_fails_at_once_and_forwards_of_ipv4_work(phone: PhoneLab, poor: Network) -> None:
    phone.connect("wifi")
    one = poor.run("one", "-p", "8000:7000")
    assert one.ask(WORLD6).why == "Network is unreachable"
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"
    assert poor.run("off", "--ipv6", "off").address6 == ""


def test_ipv6_can_be_off_for_all(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> None:
    phone.connect("wifi")
    network = Network(phone, tmp_path, busybox_base, config='ipv6 = "off"')
    try:
        one = network.run("one")
        assert one.ask(WORLD4).tag == "wifi"
        assert one.ask(WORLD6).why == "Network is unreachable"
    finally:
        network.close()
