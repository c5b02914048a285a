"""`nspawn net`, and the network of containers on the command line, in a namespace of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import check, run
from tests.support.daemon import Daemon, free_port
from tests.support.processes import wait_until
from tests.support.program import Program

pytestmark = pytest.mark.root

CLONE_NEWNET = 0x40000000


@pytest.fixture
def machine(needs_root: None) -> Iterator[str]:
    """The name of a namespace in which this test's programs are: a plain host with one uplink."""
    name = f"netcli{os.getpid()}"
    check(["ip", "netns", "add", name])
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(inside)
        for words in (
            "link set lo up",
            "link add wan0 type veth peer name wan1",
            "addr add 192.0.2.10/24 dev wan0",
            "link set wan0 up",
            "link set wan1 up",
            "route add default via 192.0.2.1",
        ):
            check(["ip", *words.split()])
        yield name
    finally:
        enter(before)
        os.close(inside)
        os.close(before)
        check(["ip", "netns", "del", name])


def enter(descriptor: int) -> None:
    from nspawn.kernel import libc

    libc.setns(descriptor, CLONE_NEWNET)


@pytest.fixture
def daemon(machine: str, nspawn: Program) -> Iterator[Daemon]:
    found = Daemon(nspawn, free_port())
    try:
        yield found
    finally:
        found.end()


def told(nspawn: Program, *words: str) -> Any:
    return nspawn.json(*words)


def create(nspawn: Program, name: str, *words: str) -> None:
    nspawn.ok("create", name, "--image", "builtin", "--net", *words)


def test_the_status_of_a_machine_on_which_nothing_runs(machine: str, nspawn: Program) -> None:
    def seen() -> tuple[list[str], str]:
        names = [each["ifname"] for each in json.loads(run(["ip", "-j", "link"]).out)]
        return names, run(["ip", "rule"]).out

    before = seen()
    found = told(nspawn, "net", "status", "--json")
    assert (found["up"], found["spawner"], found["bridge"]) == (False, False, "nspawn_br1")
    assert [(each["name"], each["kind"], each["state"], each["default"]) for each in found["uplinks"]] == [
        ("wan0", "ethernet", "up", True)
    ]
    assert found["containers"] == []
    text = nspawn.ok("net").out
    assert "The network is down" in text
    assert "wan0" in text
    assert seen() == before


def test_containers_are_told_with_their_ways_and_ports(daemon: Daemon, nspawn: Program) -> None:
    create(nspawn, "web", "-p", "8081:80", "-P", "8020:8025", "--route-via", "wan0")
    create(nspawn, "cut", "--route-via", "tun*")
    create(nspawn, "old")
    started = nspawn.ok("start", "web")
    assert "8020-8025/tcp without 8022" in started.err
    nspawn.ok("start", "cut")
    found = {each["name"]: each for each in told(nspawn, "net", "status", "--json")["containers"]}
    assert [(name, each["running"], each["path"]) for name, each in found.items()] == [
        ("cut", True, {"uplink": None, "why": "blocked because pin tun* is down and on_down=block"}),
        ("old", False, {"uplink": "wan0", "why": "via wan0 by the machine's own routes"}),
        ("web", True, {"uplink": "wan0", "why": "via wan0 because of pin wan0"}),
    ]
    assert found["old"]["slot"] is None
    assert {each["text"] for each in found["web"]["forwards"]} == {
        "8081:80/tcp",
        "8020-8021:8020/tcp",
        "8023-8025:8023/tcp",
        "8020-8025:8020/udp",
    }
    address = found["web"]["ip4"]
    text = nspawn.ok("net", "status").out
    assert "8081/tcp" in text
    assert "web 80" in text
    info = told(nspawn, "info", "web", "--json")["network"]
    assert (info["ip4"], info["path"]) == (address, found["web"]["path"])
    assert address in nspawn.ok("list").out
    assert "via wan0 because of pin wan0" in nspawn.ok("info", "web").out


def test_explain_tells_a_story_and_the_commands_that_are_really_there(
    daemon: Daemon, nspawn: Program
) -> None:
    create(nspawn, "web", "-p", "8081:80", "--route-via", "wan0", "--on-down", "fallback")
    text = nspawn.ok("net", "explain", "web").out
    assert "web does not run. It gets its address at its first start." in text
    assert "Its traffic would leave via wan0 because of pin wan0." in text
    nspawn.ok("start", "web")
    text = nspawn.ok("net", "explain", "web").out
    assert "Its traffic leaves via wan0 because of pin wan0." in text
    assert "Port 8081/tcp of this machine leads to its port 80." in text
    assert "192.0.2.10 (wan0)" in text
    found = told(nspawn, "net", "explain", "web", "--json")
    address = found["ip4"]
    rules = run(["ip", "rule"]).out
    lines = [line.split() for line in found["operations"] if line.startswith("ip -4 rule add pref")]
    assert lines
    for words in lines:
        assert any(line.startswith(f"{words[5]}:") for line in rules.splitlines()), words
    saved = run(["iptables-save", "-t", "nat"]).out
    dnat = [line for line in found["operations"] if f"--to-destination {address}" in line]
    assert dnat
    assert all(line.partition("-A ")[2] in saved for line in dnat)


def test_what_cannot_be_explained(machine: str, nspawn: Program) -> None:
    nspawn.ok("create", "plain", "--image", "builtin")
    refused = nspawn("net", "explain", "plain")
    assert (refused.status, "it has the host's network" in refused.err) == (1, True)
    assert "there is no container 'none'" in nspawn("net", "explain", "none").err
    for words in (
        ("explain",),
        ("status", "web"),
        ("status", "--force"),
        ("up", "--json"),
        ("watch", "--dry-run"),
        ("side",),
    ):
        assert nspawn("net", *words).status == 2, words


def test_up_and_down_by_hand_and_what_they_would_do(daemon: Daemon, nspawn: Program) -> None:
    def seen() -> list[str]:
        commands = ("ip rule", "ip -6 rule", "ip -br link", "ip -4 route show table all")
        return [run(words.split()).out for words in commands]

    before = seen()
    plan = nspawn.ok("net", "up", "--dry-run").out
    assert "ip link add nspawn_br1" in plan
    assert "*nat" in plan.splitlines()
    assert seen() == before
    nspawn.ok("net", "up")
    assert "nspawn_br1" in run(["ip", "-br", "link"]).out
    assert nspawn.ok("net", "up", "--dry-run").err == "nothing would change\n"
    assert "ip link delete nspawn_br1" in nspawn.ok("net", "down", "--dry-run").out
    assert "ip link delete nspawn_br1" in nspawn.ok("net", "down").out
    assert seen() == before
    assert nspawn.ok("net", "down").err == "there was nothing to remove\n"


def test_down_is_refused_while_a_container_needs_it(daemon: Daemon, nspawn: Program) -> None:
    create(nspawn, "web")
    nspawn.ok("start", "web")
    for words in (["down"], ["down", "--dry-run"]):
        refused = nspawn("net", *words)
        assert (refused.status, "in use" in refused.err) == (1, True)
        assert "--force" in refused.err
    assert "nspawn_br1" in run(["ip", "-br", "link"]).out
    assert "ip link delete nspawn_br1" in nspawn.ok("net", "down", "--dry-run", "--force").out
    nspawn.ok("net", "down", "--force")
    assert "nspawn_br1" not in run(["ip", "-br", "link"]).out


@contextmanager
def watching(nspawn: Program) -> Iterator[Path]:
    """What `nspawn net watch` writes."""
    path = nspawn.root.parent / "watch"
    with path.open("wb") as file:
        process = subprocess.Popen(
            [str(nspawn.path), "net", "watch"], env=nspawn.environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        assert wait_until(lambda: "Watching" in path.read_text(), 10)
        yield path
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_watch_tells_each_change_as_it_happens(daemon: Daemon, nspawn: Program) -> None:
    create(nspawn, "web")
    with watching(nspawn) as path:

        def tells(text: str) -> bool:
            return wait_until(lambda: text in path.read_text(), 10)

        nspawn.ok("start", "web")
        assert tells("web has started with 10.11.0.2: via wan0")
        check(["ip", "link", "set", "wan0", "down"])
        assert tells("uplink wan0 is gone")
        assert tells("web: nowhere because no uplink is up")
        check(["ip", "link", "set", "wan0", "up"])
        check(["ip", "route", "add", "default", "via", "192.0.2.1"])
        assert tells("web: via wan0")
        nspawn.ok("stop", "web", "--time", "1")
        assert tells("web has stopped")


def test_the_doctor_knows_what_there_is(machine: str, nspawn: Program) -> None:
    found = {each["name"]: each for each in json.loads(nspawn("doctor", "--json").out)["features"]}
    for name in ("veth", "bridge", "policy routing", "iptables", "nat"):
        assert found[name]["have"] is True, found[name]
