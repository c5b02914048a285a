"""The last container leaves, and the machine is as it was: to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.ladder import LADDERS
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network, foreground
from tests.support.netlab.residue import Residue
from tests.support.netlab.topology import WORLD4

pytestmark = pytest.mark.root

#: All that leaves traces.
OPTIONS = (
    ["-p", "8000:7000", "-p", "127.0.0.1:8001:7001/udp", "-P", "9000:9009"],
    ["--route-via", "wifi", "--on-down", "fallback"],
    ["--route-via", "wlan0,mobile", "-p", "8002:7000"],
)


@pytest.fixture(params=LADDERS)
def generation(request: pytest.FixtureRequest, needs_root: None, tmp_path: Path) -> Iterator[PhoneLab]:
    lab = PhoneLab(tmp_path / "lab", request.param)
    yield lab
    lab.close()


def is_again(lab: PhoneLab | PlainLab, before: Residue) -> None:
    eventually(lambda: before.changed(Residue(lab.phone)), [], 15)


@pytest.mark.parametrize("by_hand", [False, True], ids=["by itself", "by hand"])
def test_when_the_last_container_left_nothing_is(
    phone: PhoneLab, tmp_path: Path, busybox_base: Path, by_hand: bool
) -> None:
    leave_nothing(phone, tmp_path, busybox_base, by_hand=by_hand)


def test_nothing_is_left_on_any_android(generation: PhoneLab, tmp_path: Path, busybox_base: Path) -> None:
    leave_nothing(generation, tmp_path, busybox_base, by_hand=True)


def leave_nothing(lab: PhoneLab, tmp_path: Path, busybox_base: Path, *, by_hand: bool) -> None:
    lab.connect("wifi")
    lab.connect("mobile")
    before = Residue(lab.phone)
    network = Network(lab, tmp_path, busybox_base)
    try:
        for number, options in enumerate(OPTIONS):
            network.run(f"c{number}", *options)
        assert len(before.changed(Residue(lab.phone))) > 20
        network.stop("c0")
        network.stop("c2")
        assert network["c1"].ask(WORLD4).tag == "wifi"
        network.stop("c1")
        if by_hand:
            network.nspawn.ok("net", "down")
        is_again(lab, before)
    finally:
        network.close()
    is_again(lab, before)


def test_after_uplinks_came_and_went_nothing_is_left(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    network.run("one", "-p", "8000:7000", "--route-via", "vpn,mobile", "--on-down", "fallback")
    phone.connect("mobile")
    phone.hotspot_on("mobile")
    phone.vpn_on()
    eventually(lambda: network["one"].ask(WORLD4, seconds=0.5).tag, "vpn")
    phone.vpn_off()
    phone.hotspot_off()
    phone.disconnect("mobile")
    eventually(lambda: network["one"].ask(WORLD4, seconds=0.5).tag, "wifi")
    network.stop("one")
    is_again(phone, before)


def test_down_by_hand_takes_all_away(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    network.nspawn.ok("net", "up")
    assert before.changed(Residue(phone.phone))
    network.nspawn.ok("net", "down")
    is_again(phone, before)
    network.nspawn.ok("net", "down")
    is_again(phone, before)


def test_down_is_refused_while_a_container_has_the_network(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    refused = network.nspawn("net", "down")
    assert refused.status == 1
    assert "one" in refused.err
    assert one.ask(WORLD4).tag == "wifi"


def test_a_foreground_run_leaves_nothing(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    with foreground(phone, network.nspawn, network.rootfs("one"), "--net", "-p", "8000:7000") as one:
        assert one.ask(WORLD4).tag == "wifi"
    is_again(phone, before)


def test_what_killed_processes_left_is_taken_away_by_hand(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    network.run("one", "-p", "8000:7000")
    network.daemon.kill_both()
    network["one"].close()
    pid = network.containers.pop("one").pid
    phone.phone.run("kill", "-9", str(pid))
    network.nspawn.ok("net", "down")
    is_again(phone, before)


@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_a_plain_host_is_as_it_was(host: PlainLab, tmp_path: Path, busybox_base: Path, backend: str) -> None:
    host.connect("ethernet")
    host.connect("wifi")
    before = Residue(host.phone, [backend])
    network = Network(host, tmp_path, busybox_base, backend=backend)
    try:
        for number, options in enumerate(OPTIONS[:2]):
            network.run(f"c{number}", *options)
        assert len(before.changed(Residue(host.phone, [backend]))) > 10
        for name in ("c0", "c1"):
            network.stop(name)
        eventually(lambda: before.changed(Residue(host.phone, [backend])), [], 15)
    finally:
        network.close()
