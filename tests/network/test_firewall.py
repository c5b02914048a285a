"""What containers may not reach, and what is left where the kernel's netfilter has less."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Container, Network
from tests.support.netlab.topology import LAN4, WORLD4, WORLD6, line

pytestmark = pytest.mark.root

WIFI = line("wifi")


def gateways(network: Network, name: str) -> list[str]:
    one = network[name]
    return [one.address4.rpartition(".")[0] + ".1", one.address6.partition("::")[0] + "::1"]


def route_loopback_out(container: Container, gateway: str) -> None:
    """What root in a container can do: 127.0.0.1 is its gateway's."""
    container.space.sysctl(ipv4__conf__all__route_localnet="1")
    container.space.ip(
        "link set lo down",
        "addr flush dev lo",
        f"route add 127.0.0.1 via {gateway} src {container.address4}",
    )


def test_services_on_the_phones_loopback_are_its_own(phone: PhoneLab, network: Network) -> None:
    """Also for a container that is root of its namespace, and routes 127.0.0.1 to the phone."""
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000")
    gateway = gateways(network, "one")[0]
    route_loopback_out(one, gateway)
    with phone.serving(phone.phone, "secret", 6000, "127.0.0.1"):
        assert phone.ask("phone", "127.0.0.1", 6000).tag == "secret"
        assert one.ask("127.0.0.1", 6000, seconds=0.5).tag == ""
        assert one.ask("127.0.0.1", 6000, "udp", seconds=0.5).tag == ""
        for host in (gateway, WIFI.near4):
            assert one.ask(host, 6000, seconds=0.5).tag == ""


def test_the_page_is_not_for_containers(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    port = 8090
    network.daemon.root.joinpath("config.toml").write_text(f"[page]\nport = {port}\n")
    one = network.run("one")
    for host in (*gateways(network, "one"), WIFI.near4):
        assert one.ask(host, port, seconds=0.5).why in ("Connection refused", "no answer")
    assert phone.ask("phone", "127.0.0.1", port, seconds=0.5).why != "Connection refused"


def test_neighbours_reach_no_container_without_a_forward(phone: PhoneLab, network: Network) -> None:
    """A host of the LAN that routes our subnet to the phone."""
    phone.connect("wifi")
    one = network.run("one", "-p", "8000:7000")
    phone["lan"].ip(
        f"route add {one.address4} via {WIFI.near4}", f"route add {one.address6} via {WIFI.near6}"
    )
    assert phone.ask("lan", one.address4, seconds=0.4).tag == ""
    assert phone.ask("lan", one.address6, seconds=0.4).tag == ""
    assert phone.ask("lan", WIFI.near4, 8000).tag == "one"


@pytest.mark.parametrize("lacking", [["6:nat"], ["4:connmark", "6:connmark"]], ids=str)
def test_a_poorer_kernel_costs_one_feature_and_says_so(
    phone: PhoneLab, tmp_path: Path, busybox_base: Path, lacking: list[str]
) -> None:
    phone.connect("wifi")
    phone.connect("mobile")
    network = Network(phone, tmp_path, busybox_base, lacking=lacking)
    try:
        one = network.run("one", "-p", "8000:7000")
        assert one.ask(WORLD4).tag == "wifi"
        assert one.ask(WORLD6).tag == ("" if "6:nat" in lacking else "wifi")
        assert one.ask(LAN4).tag == "lan"
        assert phone.ask("lan", WIFI.near4, 8000).tag == "one"
        assert phone.ask("phone", WIFI.near4, 8000).tag == "one"
        assert phone.ask("phone", "127.0.0.1", 8000).tag == "one"
        said = network.nspawn.ok("net", "status").out
        assert ("IPv6" if "6:nat" in lacking else "mark") in said
        network.stop("one")
    finally:
        network.close()


def test_without_the_table_raw_nothing_is_missing(host: PlainLab, tmp_path: Path, busybox_base: Path) -> None:
    """The loopback is guarded in filter, and has its forwards."""
    host.connect("wifi")
    network = Network(host, tmp_path, busybox_base, lacking=["4:raw", "6:raw"], backend="legacy")
    try:
        one = network.run("one", "-p", "8000:7000")
        assert one.ask(WORLD4).tag == "wifi"
        assert host.ask("lan", WIFI.near4, 8000).tag == "one"
        assert host.ask("phone", WIFI.near4, 8000).tag == "one"
        assert host.ask("phone", "127.0.0.1", 8000).tag == "one"
        assert "raw" not in network.nspawn.ok("net", "status").out
        with host.serving(host.phone, "secret", 6000, "127.0.0.1"):
            route_loopback_out(one, gateways(network, "one")[0])
            assert one.ask("127.0.0.1", 6000, seconds=0.5).tag == ""
        network.stop("one")
    finally:
        network.close()


def test_packets_of_a_containers_own_addresses_do_not_leave(phone: PhoneLab, network: Network) -> None:
    """Everything is translated, or it would be unanswered, and tell the LAN of our subnet."""
    phone.connect("wifi")
    one = network.run("one")
    program = "iptables-legacy"
    phone["wifi"].check(program, "-t", "raw", "-A", "PREROUTING", "-s", one.address4)
    for proto in ("tcp", "udp"):
        assert one.ask(WORLD4, proto=proto).peer == WIFI.near4
    counted = phone["wifi"].check(f"{program}-save", "-c", "-t", "raw")
    assert f"[0:0] -A PREROUTING -s {one.address4}/32" in counted
