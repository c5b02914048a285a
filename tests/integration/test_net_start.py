"""Named containers with a network of their own: what each start makes, and what is left of it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.support.command import Result
from tests.support.netlab.lab import eventually
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network
from tests.support.netlab.residue import Residue
from tests.support.netlab.spaces import Space
from tests.support.netlab.topology import WORLD4, WORLD6, line
from tests.support.processes import wait_until
from tests.support.program import POOR_KERNEL

pytestmark = pytest.mark.root

FIRST_RULE = "1000:"
REFUSED = "Connection refused"


def link(space: Space, name: str) -> dict[str, object]:
    found = json.loads(space.check("ip", "-j", "link", "show", "dev", name))
    assert isinstance(found, list)
    entry = found[0]
    assert isinstance(entry, dict)
    return entry


def veths(lab: PlainLab) -> set[str]:
    return {name for name in lab.phone.interfaces() if name.startswith("nsp") and name != "nspawn_br1"}


def rules(lab: PlainLab) -> str:
    return lab.phone.check("ip", "rule")


def break_it(lab: PlainLab) -> None:
    """What somebody who looks after the network repairs."""
    lab.phone.ip(f"rule del pref {FIRST_RULE.rstrip(':')}")
    assert FIRST_RULE not in rules(lab)


def test_a_rule_that_holds_a_container_is_back_without_a_look(host: PlainLab, on_host: Network) -> None:
    """The agent cannot run meanwhile: its lock is taken."""
    on_host.run("held", "--route-via", "vpn")
    on_host.run("free")
    before = [host.phone.check("ip", family, "rule") for family in ("-4", "-6")]
    assert all("unreachable" in each for each in before)
    with open(on_host.daemon.root / "run/network.lock", "rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for family in ("-4", "-6"):
            host.phone.check("ip", family, "rule", "del", "pref", "1109")
        eventually(lambda: [host.phone.check("ip", family, "rule") for family in ("-4", "-6")], before)


def test_a_container_has_its_addresses_from_the_start(host: PlainLab, on_host: Network) -> None:
    script = "ip addr show eth0; ip route; ip -6 route; cat /etc/resolv.conf; exec sleep 100000"
    on_host.create("one")
    on_host.daemon.set("one", command=f"/bin/sh -c '{script}'")
    one = on_host.start("one")
    assert (one.address4, one.address6) == ("10.11.0.2", "fd11::2")
    assert on_host.daemon.says("one", "nameserver 10.11.0.1")
    said = on_host.daemon.log("one")
    for words in (
        "link/ether 02:6e:73:70:00:00",
        "inet 10.11.0.2/24",
        "inet6 fd11::2/64",
        "default via 10.11.0.1 dev eth0",
        "default via fd11::1 dev eth0",
        "search nspawn",
        "nameserver fd11::1",
    ):
        assert words in said, said
    assert one.space.check("cat", "/proc/sys/net/ipv4/ping_group_range").split() == ["0", "2147483647"]
    assert link(one.space, "lo")["flags"] == ["LOOPBACK", "UP", "LOWER_UP"]
    outside = link(host.phone, "nsp0")
    assert outside["master"] == "nspawn_br1"
    assert "UP" in str(outside["flags"])
    assert "inet6" not in host.phone.check("ip", "addr", "show", "dev", "nsp0")


def test_containers_reach_each_other_the_host_and_the_world(host: PlainLab, on_host: Network) -> None:
    one, two = on_host.run("one"), on_host.run("two")
    for address in (two.address4, two.address6):
        assert one.ask(address).tag == "two"
    with host.serving(host.phone, "host", 7070):
        assert one.ask("10.11.0.1", 7070).tag == "host"
        assert one.ask("fd11::1", 7070).tag == "host"
    for world, near in ((WORLD4, line("wifi").near4), (WORLD6, line("wifi").near6)):
        answer = one.ask(world)
        assert (answer.tag, answer.peer) == ("wifi", near)
    assert host.ask("phone", one.address4).tag == "one"


def test_addresses_stay_with_the_container(on_host: Network) -> None:
    before = {}
    for name in ("one", "two", "three"):
        container = on_host.run(name)
        before[name] = (container.address4, container.address6, link(container.space, "eth0")["address"])
    assert len(set(before.values())) == 3
    for name in ("two", "one", "three"):
        on_host.stop(name)
    on_host.nspawn.ok("rm", "one")
    for name in ("three", "two"):
        container = on_host.start(name)
        found = (container.address4, container.address6, link(container.space, "eth0")["address"])
        assert found == before[name]
    # What was given back is given again.
    assert on_host.run("four").address4 == before["one"][0]


def test_a_restart_at_once_has_its_network(host: PlainLab, on_host: Network) -> None:
    on_host.run("one")
    for _ in range(5):
        on_host.containers.pop("one").close()
        on_host.nspawn.ok("restart", "one", "--time", "0")
        one = on_host.running("one")
        assert one.ask("10.11.0.1", 1).why == REFUSED
        assert one.address4 == "10.11.0.2"
    assert veths(host) == {"nsp0"}


def test_a_container_that_restarts_itself_is_connected_again(host: PlainLab, on_host: Network) -> None:
    on_host.create("one")
    script = "ping -c1 -W3 10.11.0.1 >/dev/null && echo connected; sleep 0.2; exit 1"
    on_host.daemon.set(
        "one", command=f"/bin/sh -c '{script}'", restart__policy="always", restart__delay="0.1"
    )
    on_host.nspawn.ok("start", "one")
    assert wait_until(lambda: on_host.daemon.log("one").count("connected") >= 4, 15, 0.1)
    on_host.nspawn.ok("stop", "one", "--time", "0")
    eventually(lambda: veths(host), set())


def test_a_veth_in_the_way_is_replaced(host: PlainLab, on_host: Network) -> None:
    on_host.run("keeps-it-up")
    on_host.run("one")  # so that the slot is its own
    on_host.stop("one")
    eventually(lambda: veths(host), {"nsp0"})
    host.phone.ip("link add nsp1 type veth peer name foreign", "link set nsp1 up")
    one = on_host.start("one")
    assert one.ask("10.11.0.1", 1).why == REFUSED
    eventually(lambda: veths(host), {"nsp0", "nsp1"})
    eventually(lambda: "foreign" in host.phone.interfaces(), False)


def test_the_last_one_takes_everything_with_it(host: PlainLab, on_host: Network) -> None:
    host.phone.check("iptables-legacy-save")
    before = Residue(host.phone, ("nft",))
    on_host.run("one")
    on_host.run("two")
    assert before.changed(Residue(host.phone, ("nft",)))
    on_host.stop("one")
    on_host.stop("two")
    eventually(lambda: before.changed(Residue(host.phone, ("nft",))), [], 10)


def test_a_shutdown_returns_when_everything_is_gone(host: PlainLab, on_host: Network) -> None:
    before = Residue(host.phone, ("nft",))
    for name in ("one", "two", "three"):
        on_host.create(name)
        on_host.nspawn.ok("start", name)
    on_host.nspawn.ok("shutdown")
    assert before.changed(Residue(host.phone, ("nft",))) == []


def test_twenty_start_at_once(host: PlainLab, on_host: Network) -> None:
    names = [f"c{number}" for number in range(20)]
    for name in names:
        on_host.create(name)
    results: dict[str, Result] = {}

    def start(name: str) -> None:
        results[name] = on_host.nspawn("start", name, timeout=60)

    threads = [threading.Thread(target=start, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(result) for result in results.values() if result.status] == []
    containers = [on_host.running(name) for name in names]
    assert len({each.address4 for each in containers}) == 20
    assert len(veths(host)) == 20
    assert all(each.ask("10.11.0.1", 1).why == REFUSED for each in containers)
    assert containers[0].ask(containers[-1].address4).tag == names[-1]


def test_the_network_outlives_the_spawner(host: PlainLab, on_host: Network) -> None:
    one = on_host.run("one", "-p", "8000:7000")
    on_host.daemon.kill_spawner()
    assert one.ask(WORLD4).tag == "wifi"
    assert host.ask("lan", line("wifi").near4, 8000).tag == "one"
    # The next one looks after it.
    eventually(lambda: on_host.status()["up"], True)
    break_it(host)
    eventually(lambda: FIRST_RULE in rules(host), True)
    two = on_host.run("two")
    assert two.ask(one.address4).tag == "one"
    on_host.stop("one")
    on_host.stop("two")
    eventually(lambda: "nspawn_br1" in host.phone.interfaces(), False, 10)


def test_what_others_break_is_repaired(host: PlainLab, on_host: Network) -> None:
    one = on_host.run("one")
    break_it(host)
    eventually(lambda: FIRST_RULE in rules(host), True)
    host.phone.ip("addr del 10.11.0.1/24 dev nspawn_br1")
    eventually(lambda: "10.11.0.1/24" in host.phone.check("ip", "addr"), True)
    host.phone.sysctl(ipv4__ip_forward="0")
    eventually(lambda: host.phone.setting("ipv4/ip_forward"), "1")
    host.phone.ip("link set nspawn_br1 down")
    eventually(lambda: one.ask(WORLD4, seconds=0.4).tag, "wifi")


def test_an_idle_network_starts_nothing(host: PlainLab, on_host: Network) -> None:
    """Starts, and what only repeats, are no reason to look at the network."""
    on_host.run("one")
    state = on_host.nspawn.root / "run/network.lock"
    eventually(lambda: on_host.status()["up"], True)
    # The first addresses and links that are heard of may each be news.
    assert wait_until(lambda: _calm(state), 10)
    before = state.stat().st_mtime_ns
    on_host.run("two")
    on_host.stop("two")
    assert _calm(state)
    assert state.stat().st_mtime_ns == before
    assert host.phone.interfaces()


def _calm(state: Path) -> bool:
    before = state.stat().st_mtime_ns
    return not wait_until(lambda: state.stat().st_mtime_ns != before, 0.8, 0.05)


def test_without_network_namespaces_it_is_refused_with_the_reason(host: PlainLab, on_host: Network) -> None:
    poor = [os.environ.get("PYTHON", "python3"), str(POOR_KERNEL), "--without", "net", "--"]
    on_host.create("one")
    on_host.daemon.serve(prefix=poor)
    result = on_host.nspawn("start", "one")
    assert result.status == 1, str(result)
    assert "network of its own" in result.err
    assert on_host.daemon.state("one")["state"] == "stopped"
    assert veths(host) == set()


def test_a_broken_setting_fails_the_start_and_no_more(host: PlainLab, on_host: Network) -> None:
    on_host.create("one")
    config = on_host.nspawn.root / "config.toml"
    whole = config.read_text()
    config.write_text(f'{whole}[network]\nsubnet = "10.11.0.0/33"\n')
    result = on_host.nspawn("start", "one")
    assert result.status == 1 or result.status == 2, str(result)
    assert "subnet" in result.err
    assert on_host.daemon.state("one")["state"] == "stopped"
    config.write_text(whole)
    assert on_host.start("one").address4 == "10.11.0.2"


def test_a_start_that_waits_for_the_network_can_be_stopped(host: PlainLab, on_host: Network) -> None:
    on_host.run("one")  # so that the subnet is known
    on_host.stop("one")
    eventually(lambda: "nspawn_br1" in host.phone.interfaces(), False, 10)
    lock = os.open(on_host.nspawn.root / "run/network.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    found: list[Result] = []
    thread = threading.Thread(target=lambda: found.append(on_host.nspawn("start", "one")))
    try:
        thread.start()
        assert wait_until(lambda: on_host.daemon.state("one")["state"] == "starting", 10, 0.05)
        on_host.nspawn.ok("stop", "one")
        thread.join(10)
    finally:
        os.close(lock)
    thread.join()
    assert found[0].status == 1, str(found[0])
    assert "stopped while it started" in found[0].err
    assert on_host.daemon.state("one")["state"] == "stopped"
    assert on_host.start("one").ask(WORLD4).tag == "wifi"


def test_without_bridges_each_has_a_link_of_its_own(host: PlainLab, on_host: Network) -> None:
    """As on a kernel that is known to make no bridges."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state = on_host.nspawn.root / "run/network"
    state.parent.mkdir(exist_ok=True)
    state.write_text(f"boot-id={boot}\0mode=ptp\0end=1")
    one = on_host.run("one")
    two = on_host.run("two", "-p", "8000:7000")
    assert "nspawn_br1" not in host.phone.interfaces()
    assert "default via 10.11.0.1 dev eth0 onlink" in one.space.check("ip", "route")
    for address in (two.address4, two.address6):
        assert one.ask(address).tag == "two"
    for world in (WORLD4, WORLD6):
        assert one.ask(world).tag == "wifi"
    assert host.ask("lan", line("wifi").near4, 8000).tag == "two"
    assert host.ask("phone", one.address6).tag == "one"
    on_host.stop("one")
    on_host.stop("two")
    eventually(lambda: veths(host), set())


def test_what_ended_without_a_spawner_is_taken_down_by_the_next(host: PlainLab, on_host: Network) -> None:
    before = Residue(host.phone, ("nft",))
    one = on_host.run("one")
    on_host.daemon.kill_both()
    os.kill(one.pid, signal.SIGKILL)
    on_host.containers.pop("one").close()
    eventually(lambda: veths(host), set())
    assert "nspawn_br1" in host.phone.interfaces()
    on_host.daemon.serve()
    eventually(lambda: before.changed(Residue(host.phone, ("nft",))), [], 10)


def test_a_hand_keeps_the_network_up(host: PlainLab, on_host: Network) -> None:
    before = Residue(host.phone, ("nft",))
    on_host.daemon.serve()
    on_host.nspawn.ok("net", "up")
    on_host.run("one")
    refused = on_host.nspawn("net", "down")
    assert refused.status == 1, str(refused)
    assert "one needs it" in refused.err
    on_host.stop("one")
    assert not wait_until(lambda: "nspawn_br1" not in host.phone.interfaces(), 2, 0.1)
    on_host.nspawn.ok("net", "down")
    assert before.changed(Residue(host.phone, ("nft",))) == []
    one = on_host.start("one")
    on_host.nspawn.ok("net", "down", "--force")
    assert "nspawn_br1" not in host.phone.interfaces()
    assert one.ask(WORLD4, seconds=0.4).tag == ""
    on_host.nspawn.ok("net", "up")
    assert FIRST_RULE in rules(host)


def test_a_start_into_a_broken_network_makes_it_whole(host: PlainLab, on_host: Network) -> None:
    on_host.create("two")
    one = on_host.run("one")
    for _ in range(3):
        host.phone.ip("link del nspawn_br1")
        two = on_host.start("two")
        assert two.ask(WORLD4).tag == "wifi"
        on_host.stop("two")
    on_host.stop("one")
    assert on_host.start("one").ask(WORLD4).tag == "wifi"
    assert one.name == "one"
