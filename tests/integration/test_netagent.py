"""The network's agent on a plain Linux machine, told by `ip`, `iptables-save` and /proc/sys."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nspawn.kernel.slotfiles import SlotFiles, peek
from nspawn.model.slot import Slot, Subnet
from tests.support.command import Result, run
from tests.support.netbox import AGENT, SUBNET, Machine, difference, machine

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """With two uplinks: the default one is eth0."""
    with machine(tmp_path / "state") as found:
        found.uplink("eth0", "192.168.1.2", "192.168.1.1", 100)
        found.uplink("wlan0", "192.168.2.2", "192.168.2.1", 600)
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


def test_a_container_whose_file_cannot_be_read_is_cut_off(host: Machine) -> None:
    host.up()
    number = host.slot("a", pins=("wlan0",))
    Path(host.layout.network, "slots", str(number)).write_bytes(b"junk")
    outcome = host.up()
    assert any(b"is damaged" in note for note in outcome.all("note"))
    assert any(egress.startswith(b"0 - 0 ") for egress in outcome.all("egress"))
    assert any(line.startswith("1109: from 10.11.0.2 ") and "unreachable" in line for line in host.rules())


def test_the_slots_of_runs_that_are_over_are_given_up(host: Machine) -> None:
    host.up()
    with SlotFiles(host.layout) as files:
        files.take(Slot(-1, "run:1:1"), Subnet(0x0A0B0000, 24, 0xFD11 << 112))
    assert len(peek(host.layout)[1]) == 1
    host.up()
    assert not peek(host.layout)[1]


def test_with_broken_tools_nothing_is_left(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    for name in ("iptables-restore", "iptables-nft-restore", "iptables-legacy-restore"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "#!/bin/sh\n[ $1 = --version ] && exec /usr/sbin/iptables-nft-restore $1\n"
            "echo 'it is broken' >&2\nexit 4\n"
        )
        path.chmod(0o755)
    error = host.refused("up", environment={"PATH": f"{tmp_path}/bin:{host.environment['PATH']}"})
    assert "it is broken" in f"{error.text('what')} {error.text('why')}"
    assert not difference(before, host.state())
    host.up()


PATCHED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
change = sys.argv.pop(1)
from nspawn.kernel.rtnl import Rtnl
from nspawn.network import apply
exec(change)
from nspawn.service.netagent import main
sys.exit(main(sys.argv[1:]))
"""
#: The kernel refuses one of all changes; after that it takes everything.
REFUSAL = """
left = [{step}]
def refusing(real):
    def call(self, *words, **more):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(1, "refused here", "line")
        return real(self, *words, **more)
    return call
Rtnl._send = refusing(Rtnl._send)
apply.write = refusing(apply.write)
"""


def patched(host: Machine, tmp_path: Path, change: str, *words: str) -> Result:
    """A run of the agent with a change in its code."""
    script = tmp_path / "patched.py"
    script.write_text(PATCHED)
    line = host.agent_words(*words)
    at = line.index(str(AGENT))
    line[at : at + 1] = [str(script), str(AGENT.parents[1]), change]
    return run(line, environment=host.environment)


def test_whatever_step_fails_nothing_is_left(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    for step in range(3, 40):  # the first two ask for kinds of interfaces
        result = patched(host, tmp_path, REFUSAL.format(step=step), "up")
        if result.status == 0:
            break
        assert "refused here" in result.out, result
        found = difference(before, host.state())
        assert not found, (step, found)
    assert step > 8


def test_what_is_there_stays_when_a_later_run_fails(host: Machine, tmp_path: Path) -> None:
    host.up()
    host.slot("a")
    host.up()
    before = host.state()
    host.slot("b", pins=("wlan0",))
    assert patched(host, tmp_path, REFUSAL.format(step=1), "up").status == 1
    after = host.state()
    assert all(line in after["ip rule"] for line in before["ip rule"])
    assert any("master nspawn_br1" in line for line in after["links"] if "nsp0" in line)
    host.up()
    host.leave()
    host.down()


def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(host: Machine) -> None:
    """And taken down again from wherever it was."""
    seed = int(os.environ.get("NSPAWN_SEED", "0")) or random.randrange(1 << 30)
    chance = random.Random(seed)
    before = host.state()
    host.up()
    host.slot("a", pins=("wlan0",), forwards=("8080:80/tcp",))
    host.slot("b")
    host.up()
    wanted = host.state()
    for turn in range(12):
        first, second = ("down --force", "up") if turn % 2 else ("up", "down --force")
        if first == "up":
            host.down("--force")
            host.veths.clear()
            for number in (0, 1):
                host.veth(number)
        with subprocess.Popen(
            host.agent_words(*first.split()),
            env=host.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(0.04 + chance.random() * 0.06)
            process.send_signal(signal.SIGKILL)
        if second == "up":
            for number in (0, 1):
                if f"nsp{number}@" not in "".join(host("ip", "link")):
                    host.veth(number)
            host.up()
            found = difference(_numberless(wanted), _numberless(host.state()))
            assert not found, (seed, turn, found)
        else:
            host.outcome(*second.split())
            host.veths.clear()
            found = difference(before, host.state())
            assert not found, (seed, turn, found)


def _numberless(state: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without what is new at each interface that is made."""
    keys = ("ip rule", "ip -6 rule", "ip route show table all", "iptables-save", "ip6tables-save")
    return {key: sorted(state[key]) for key in keys}


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


def test_a_kernel_without_veth_is_told(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    result = patched(host, tmp_path, "Rtnl.has_kind = lambda self, kind: kind != 'veth'", "up")
    assert result.status == 1
    assert "CONFIG_VETH" in result.out
    assert not difference(before, host.state())


def test_without_a_bridge_each_container_is_connected_by_itself(host: Machine, tmp_path: Path) -> None:
    before = host.state()

    def up() -> None:
        result = patched(host, tmp_path, "Rtnl.has_kind = lambda self, kind: kind != 'bridge'", "up")
        assert result.status == 0, str(result)
        assert "mode=ptp" in result.out

    up()
    host.slot("a", pins=("wlan0",))
    host.slot("b", forwards=("8080:80/tcp",))
    up()
    routes = host.ip("route")
    for number in (0, 1):
        assert f"10.11.0.{number + 2} dev nsp{number} proto 78 scope link src 10.11.0.1" in routes
        assert "inet 10.11.0.1/32" in host("ip", "-o", "addr", "show", f"nsp{number}")[0]
    assert not host("ip", "link", "show", "type", "bridge")
    with host.watched() as changes:
        up()
    assert changes == []
    host.leave()
    up()
    host.down()
    assert not difference(before, host.state())


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


def ndc(root: Path) -> Path:
    """A fake phone whose netd notes what it is asked and does it; its notes."""
    notes = root / "asked"
    program = root / "system/bin/ndc"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{notes}\n'
        "case $2 in enable) v=1 ;; *) v=0 ;; esac\n"
        "echo $v >/proc/sys/net/ipv4/ip_forward\necho $v >/proc/sys/net/ipv6/conf/all/forwarding\n"
        "echo 200 0 ipfwd operation succeeded\n"
    )
    program.chmod(0o755)
    for name in ("iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save"):
        (program.parent / name).symlink_to(f"/usr/sbin/{name.replace('tables', 'tables-legacy')}")
    return notes


def test_on_a_phone_netd_is_asked_to_forward_and_to_end_it(host: Machine, tmp_path: Path) -> None:
    asked = ndc(tmp_path / "phone")
    host.environment |= {
        "NSPAWN_PHONE": str(tmp_path / "phone"),
        "ANDROID_ROOT": "/system",
        "ANDROID_DATA": "/data",
    }
    host.up()  # which makes the tables of the legacy kernel, and they stay
    host.down()
    before = host.state()
    asked.unlink()
    host.up()
    host.up()
    assert asked.read_text().splitlines() == ["ipfwd enable nspawn"]
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    host("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")  # a hotspot of an older Android ended
    host.up()
    host.up("--refill")
    assert asked.read_text().splitlines() == ["ipfwd enable nspawn"] * 3
    host.down()
    assert asked.read_text().splitlines()[3:] == ["ipfwd disable nspawn"]
    assert not difference(before, host.state())


def test_when_netd_refuses_the_setting_is_made_by_us(host: Machine, tmp_path: Path) -> None:
    asked = ndc(tmp_path / "phone")
    program = tmp_path / "phone/system/bin/ndc"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\necho 400 0 ipfwd operation failed\n')
    host.environment |= {
        "NSPAWN_PHONE": str(tmp_path / "phone"),
        "ANDROID_ROOT": "/system",
        "ANDROID_DATA": "/data",
    }
    result = host.agent("up")
    assert result.status == 0
    assert "400 0 ipfwd operation failed" in result.err
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    host.down()
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["0"]
