"""Global addresses of containers, by proxy NDP."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.kernel.slotfiles import SlotFiles
from nspawn.model.slot import Slot
from tests.support.command import run
from tests.support.netbox import SUBNET, Machine, difference, machine, plain_host

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    with plain_host(tmp_path / "state") as found:
        yield found


@pytest.fixture
def wan(tmp_path: Path) -> Iterator[Machine]:
    """Another machine, on the other end of a cable."""
    with machine(tmp_path / "wan") as found:
        yield found


def cable(host: Machine, name: str, other: Machine, far: str) -> None:
    host.ip(f"link add {name} type veth peer name {far} netns {other.pid}")
    for where, end in ((host, name), (other, far)):
        where("sh", "-c", f"echo 0 >/proc/sys/net/ipv6/conf/{end}/accept_dad")
        where.ip(f"link set {end} up")


def container(host: Machine, other: Machine, name: str) -> int:
    """A container that wants a global address: another machine on the slot's veth, as the start leaves it."""
    with SlotFiles(host.layout) as files:
        number = files.take(Slot(-1, f"name:{name}", host=name, ipv6="proxy"), SUBNET).number
    cable(host, f"nsp{number}", other, "eth0")
    other.ip(f"-6 addr add fd11::{number + 2:x}/64 dev eth0 nodad")
    other.ip("-6 route add default via fd11::1 dev eth0")
    return number


def test_a_container_has_a_global_address_of_the_uplinks_network(
    host: Machine, wan: Machine, tmp_path: Path
) -> None:
    cable(host, "wlan1", wan, "lan")
    host.ip("-6 addr add 2001:db8:5::2/64 dev wlan1 nodad")
    host.ip("-6 route add default via 2001:db8:5::1 dev wlan1")
    wan.ip("-6 addr add 2001:db8:5::1/64 dev lan nodad")
    before = host.state()
    with machine(tmp_path / "inside") as inside:
        host.up()
        number = container(host, inside, "a")
        assert host.up().text("ipv6") in ("nat", "proxy")
        address = "2001:db8:5:0:6e:73ff:fe70:0"
        assert f"inet6 {address}/128 scope global nodad" in " ".join(host_addresses(inside))
        assert host.ip("-6 neigh show proxy") == [f"{address} dev wlan1 proxy"]
        assert answers(wan, address)
        assert answers(inside, "2001:db8:5::1")
        with host.watched() as changes:
            host.up()
        assert changes == []

        host.ip("-6 addr del 2001:db8:5::2/64 dev wlan1")  # the uplink gets another network
        host.ip("-6 addr add 2001:db8:6::2/64 dev wlan1 nodad")
        host.ip("-6 route replace default via 2001:db8:6::1 dev wlan1")
        wan.ip("-6 addr add 2001:db8:6::1/64 dev lan nodad")
        host.up()
        addresses = " ".join(host_addresses(inside))
        assert "2001:db8:6:0:6e:73ff:fe70:0/128" in addresses
        assert "2001:db8:5:" not in addresses
        assert answers(wan, "2001:db8:6:0:6e:73ff:fe70:0")

        host.ip("-6 addr del 2001:db8:6::2/64 dev wlan1")
        host.up()
        assert "2001:db8" not in " ".join(host_addresses(inside))
        assert host.ip("-6 neigh show proxy") == []
        host.ip("-6 addr add 2001:db8:5::2/64 dev wlan1 nodad")
        host.ip("-6 route replace default via 2001:db8:5::1 dev wlan1")
        host.veths.append(number)
        host.up()
        host.leave()
        host.down()
    assert not difference(before, host.state())


def answers(machine: Machine, address: str) -> bool:
    """Whether the machine reaches a host there: nobody listens, and it is the host who says so."""
    code = "import socket,sys; socket.create_connection((sys.argv[1], 9), 5)"
    result = run([*machine.enter, sys.executable, "-c", code, address])
    return "Connection refused" in result.err


def host_addresses(machine: Machine) -> list[str]:
    return machine.ip("-o -6 addr show dev eth0")
