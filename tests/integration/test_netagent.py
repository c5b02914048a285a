"""The network's agent on a plain Linux machine, told by `ip`, `iptables-save` and /proc/sys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nspawn.kernel.slotfiles import SlotFiles, peek
from nspawn.model.slot import Slot, Subnet
from tests.support.netbox import Machine, difference, plain_host

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    with plain_host(tmp_path / "state") as found:
        yield found


def texts(host: Machine, key: str, *words: str) -> list[str]:
    return [value.decode() for value in host.outcome(*words).all(key)]


def test_the_first_up_makes_a_bridge_with_the_gateways(host: Machine) -> None:
    outcome = host.up()
    assert (outcome.text("mode"), outcome.text("bridge"), outcome.flag("dns")) == (
        "bridge",
        "nspawn_br1",
        True,
    )
    assert Subnet.of(outcome) == Subnet(0x0A0B0000, 24, 0xFD11 << 112)
    assert b"* eth0 0 via eth0 by the machine's own routes" in outcome.all("egress")
    assert set(outcome.all("uplink")) == {b"eth0 ethernet", b"wlan0 wifi"}
    shown = host("ip", "-o", "addr", "show", "nspawn_br1")
    assert re.search(r"inet 10\.11\.0\.1/24 ", shown[0])
    assert re.search(r"inet6 fd11::1/64 .*nodad", shown[1])
    assert not any("tentative" in line for line in shown)
    assert "1000: from all to 10.11.0.0/24 lookup main proto 78" in host.rules()
    assert "1000: from all to fd11::/64 lookup main proto 78" in host.rules(6)
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    assert host("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == ["1"]


def test_a_second_up_changes_nothing(host: Machine) -> None:
    host.up()
    host.slot("a", pins=("wlan0",), forwards=("8080:80/tcp",))
    host.slot("b")
    host.up()
    before = host.state()
    with host.watched() as changes:
        outcome = host.up()
    assert changes == []
    assert not difference(before, host.state())
    assert outcome.all("egress")[1].startswith(b"0 wlan0 0 ")


def test_down_leaves_what_was_before(host: Machine) -> None:
    before = host.state()
    host.up()
    host.slot("a", pins=("wlan0",), forwards=("8080:80/tcp", "5000-5009:5000/udp"))
    host.slot("b", pins=("wifi",), on_down="fallback")
    host.slot("c")
    host.up()
    assert difference(before, host.state())
    host.leave()
    outcome = host.down()
    assert outcome.flag("down")
    assert "ip link delete nspawn_br1" in outcome.text("removed")
    assert not difference(before, host.state())
    assert not os.path.exists(host.layout.network_state)
    assert not os.path.exists(f"{host.layout.network}/before")
    with host.watched() as changes:
        assert host.down().all("removed") == []
    assert changes == []


def test_settings_that_forwarding_changes_along_are_restored(host: Machine) -> None:
    for path, value in (
        ("net/ipv4/conf/wlan0/forwarding", "1"),
        ("net/ipv4/conf/all/accept_redirects", "0"),
        ("net/ipv6/conf/default/forwarding", "1"),
        ("net/ipv4/conf/eth0/rp_filter", "1"),
    ):
        host("sh", "-c", f"echo {value} >/proc/sys/{path}")
    before = host.state()
    host.up()
    assert host("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding") == ["1"]
    host.up()
    host.down()
    assert not difference(before, host.state())


def test_a_machine_that_forwards_already_goes_on_with_it(host: Machine) -> None:
    host("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    before = host.state()
    host.up()
    host.down()
    assert not difference(before, host.state())
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]


def test_down_waits_for_the_last_container_unless_it_is_forced(host: Machine) -> None:
    before = host.state()
    host.up()
    host.slot("a")
    host.up()
    during = host.state()
    outcome = host.down()
    assert (outcome.flag("down"), outcome.all("active")) == (False, [b"0"])
    assert not difference(during, host.state())
    assert host.down("--force").flag("down")
    after = host.state()
    assert not difference(before, after)


def test_a_dry_run_tells_and_changes_nothing(host: Machine) -> None:
    before = host.state()
    result = host.agent("up", "--dry-run")
    assert result.status == 0
    assert "ip -4 rule add pref 1000 from all to 10.11.0.0/24 lookup main protocol 78" in result.lines
    assert "iptables-restore --noflush -w <<'END'" in result.lines
    assert not difference(before, host.state())
    assert not host.root.exists()
    assert host.agent("down", "--dry-run").out == ""
    host.up()
    assert host.agent("up", "--dry-run").out == ""
    assert "ip link delete nspawn_br1" in host.agent("down", "--dry-run").lines


def test_what_a_dry_run_tells_can_be_pasted(host: Machine, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(host.agent("up", "--dry-run").out)
    host("bash", "-e", str(script))
    with host.watched() as changes:
        host.up()
    assert changes == []


def test_what_others_took_away_comes_back(host: Machine) -> None:
    host.up()
    host.slot("a", pins=("wlan0",), forwards=("8080:80/tcp",))
    host.up()
    before = host.state()
    host.ip("rule flush")
    host.ip("rule add pref 32766 lookup main")
    host.ip("route flush table all proto 78")
    host.ip("addr del 10.11.0.1/24 dev nspawn_br1")
    host.ip("link set nsp0 nomaster")
    host("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
    for command in ("iptables", "ip6tables"):
        for table in ("filter", "nat", "mangle", "raw"):
            host(command, "-w", "-t", table, "-F")
    assert difference(before, host.state())
    host.up()
    after = host.state()
    for key in ("ip rule", "ip -6 rule"):  # what was flushed above was not ours alone
        assert set(before[key]) - set(after[key]) <= {"32767:\tfrom all lookup default"}
    for key in ("iptables-save", "ip6tables-save", "ip route show table all", "ip -6 route show table all"):
        assert sorted(before[key]) == sorted(after[key]), key
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]


def test_what_others_added_stays(host: Machine) -> None:
    host.up()
    for line in (
        "rule add pref 1105 from 10.11.0.9 lookup 77",
        "rule add pref 5030 from 10.0.0.0/8 lookup 78",
        "-6 rule add pref 1001 to fd11::/64 lookup 9 protocol 77",
        "route add 10.11.0.128/25 dev wlan0 table 78",
    ):
        host.ip(line)
    before = host.state()
    notes = texts(host, "note", "up")
    assert any("5030" in note for note in notes), notes
    assert not difference(before, host.state())
    host.down()
    assert "1105: from 10.11.0.9 lookup 77" in host.rules()
    assert "5030: from 10.0.0.0/8 lookup 78" in host.rules()
    assert "1001: from all to fd11::/64 lookup 9 proto 77" in host.rules(6)


def test_the_slots_of_runs_that_are_over_are_given_up(host: Machine) -> None:
    host.up()
    with SlotFiles(host.layout) as files:
        files.take(Slot(-1, "run:1:1"), Subnet(0x0A0B0000, 24, 0xFD11 << 112))
    assert len(peek(host.layout)[1]) == 1
    host.up()
    assert not peek(host.layout)[1]


def test_many_at_once_come_to_one_end(host: Machine) -> None:
    host.up()
    for name in "abcdef":
        host.slot(name)
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda _: host.agent("up"), range(12)))
    assert [result.status for result in results] == [0] * 12
    assert len({result.stdout for result in results}) == 1
    assert sum("another run did it" in result.err for result in results) >= 1
    masters = [line for line in host("ip", "-o", "link") if "master nspawn_br1" in line]
    assert len(masters) == 6


@pytest.mark.parametrize(
    "words",
    [[], ["sideways"], ["up", "--force"], ["down", "--refill"], ["up", "--page"], ["up", "--page", "x"]],
)
def test_what_it_does_not_know_is_refused(host: Machine, words: list[str]) -> None:
    before = host.state()
    assert host.refused(*words).text("error") == "usage"
    assert not difference(before, host.state())
