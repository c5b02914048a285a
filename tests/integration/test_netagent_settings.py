"""What config.toml says of the network, and what is in its way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.kernel.slotfiles import peek
from nspawn.model.slot import Subnet
from tests.support.netbox import Machine, difference, plain_host

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    with plain_host(tmp_path / "state") as found:
        yield found


def test_a_subnet_that_is_in_use_is_left_to_its_owner_and_another_remembered(host: Machine) -> None:
    host.ip("route add 10.11.0.0/16 via 192.168.1.9 table 7")
    host.ip("-6 addr add fd11::77/64 dev wlan0 nodad")
    outcome = host.up()
    chosen = Subnet.of(outcome)
    assert chosen != Subnet(0x0A0B0000, 24, 0xFD11 << 112)
    assert any(b"10.11.0.0/16 on eth0" in note for note in outcome.all("note"))
    assert chosen.base4 >> 16 != 0x0A0B
    assert chosen.base6 >> 64 != 0xFD11 << 48
    host.ip("route del 10.11.0.0/16 table 7")
    host.down()
    assert Subnet.of(host.up()) == chosen
    assert peek(host.layout)[0] == chosen


def test_another_subnet_in_the_settings_is_taken_when_no_container_runs(host: Machine) -> None:
    host.up()
    host.slot("a")
    host.root.joinpath("config.toml").write_text('version = 1\n[network]\nsubnet = "172.20.5.0/24"\n')
    assert Subnet.of(host.up()).base4 == 0x0A0B0000
    host.leave()
    assert Subnet.of(host.up()).base4 == 172 << 24 | 20 << 16 | 5 << 8
    assert re.search(r"inet 172\.20\.5\.1/24 ", host("ip", "-o", "addr", "show", "nspawn_br1")[0])
    assert not any("10.11.0" in line for line in [*host.rules(), *host.ip("route show table all")])


def test_another_name_of_the_bridge_is_taken_when_no_container_runs(host: Machine) -> None:
    before = host.state()
    host.up()
    host.slot("a")
    host.root.joinpath("config.toml").write_text('[network]\nbridge = "other0"\n')
    assert host.up().text("bridge") == "nspawn_br1"
    host.leave()
    assert host.up().text("bridge") == "other0"
    assert [line.split()[1] for line in host("ip", "-o", "link", "show", "type", "bridge")] == ["other0:"]
    host.down()
    assert not difference(before, host.state())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[network]\nsubnet = "8.8.8.0/24"\n', "network.subnet: '8.8.8.0/24' is not private"),
        ("[network]\nspeed = 3\n", "network.speed"),
        ("network = 3\n", "network: expected a table"),
        ("[network\n", "cannot be read"),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_changed(host: Machine, text: str, what: str) -> None:
    host.up()
    host.slot("a")
    host.up()
    host.root.joinpath("config.toml").write_text(text)
    before = host.state()
    with host.watched() as changes:
        error = host.refused("up")
    assert (error.text("error"), error.integer("exit")) == ("usage", 2)
    assert what in error.text("what")
    assert changes == []
    assert not difference(before, host.state())
    host.leave()
    host.down()
    assert "nspawn_br1" not in "".join(host("ip", "link"))


def test_another_programs_interface_with_the_name_of_the_bridge_is_left_alone(host: Machine) -> None:
    host.ip("link add nspawn_br1 type bridge")
    before = host.state()
    assert "another interface" in host.refused("up").text("what")
    assert not difference(before, host.state())
    host.down()
    assert not difference(before, host.state())
