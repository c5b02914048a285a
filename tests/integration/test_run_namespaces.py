"""Namespaces, as /proc and nsenter show them from outside."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes, rootfs
from tests.support.command import check, run
from tests.support.program import Box, Program

OWN = ("mnt", "pid", "ipc", "uts", "cgroup", "time")


@pytest.fixture(scope="module")
def box(busybox_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One container with the host's network for the tests that only look."""
    base = tmp_path_factory.mktemp("namespaces")
    place = rootfs.copy(busybox_base, base / "my_box")
    with Program(base / "state").box(place) as running:
        yield running


@pytest.fixture(scope="module")
def netbox(busybox_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One container with --net."""
    base = tmp_path_factory.mktemp("namespaces")
    place = rootfs.copy(busybox_base, base / "net_box")
    with Program(base / "state").box(place, "--net=none") as running:
        yield running


@pytest.mark.parametrize("kind", OWN)
def test_the_container_has_its_own_namespace(box: Box, kind: str) -> None:
    if not os.path.exists(f"/proc/self/ns/{kind}"):
        pytest.skip(f"this kernel has no {kind} namespaces")
    inside = processes.namespace(box.pid, kind)
    assert inside
    assert inside != processes.namespace("self", kind)


@pytest.mark.parametrize("kind", ["net", "user"])
def test_the_container_shares_the_hosts_namespace(box: Box, kind: str) -> None:
    assert processes.namespace(box.pid, kind) == processes.namespace("self", kind)


def test_lsns_sees_the_same(box: Box) -> None:
    found = json.loads(check(["lsns", "-J", "-p", str(box.pid)]).out)["namespaces"]
    own = {entry["type"] for entry in found if entry["pid"] != 1}
    assert own >= set(OWN) - {"time"}


def test_children_get_the_time_namespace_too(box: Box) -> None:
    inside = box.sh("readlink /proc/self/ns/time")
    assert inside == processes.namespace(box.pid, "time")


def test_the_container_sees_only_its_own_processes(box: Box) -> None:
    seen = [int(word) for word in box.sh("cd /proc && echo [0-9]*").split()]
    assert 1 in seen
    assert len(seen) < 8
    inner = processes.status(box.pid)["NSpid"].split()
    assert inner[-1] == "1"


def test_the_cgroup_namespace_shows_only_the_containers_own_cgroup(box: Box) -> None:
    for line in box.sh("cat /proc/1/cgroup").splitlines():
        path = line.split(":", 2)[2]
        if "0::" in line:
            assert path == "/", line
        assert "nspawn" not in path, line


def test_every_process_is_in_the_containers_cgroup(box: Box) -> None:
    text = Path(f"/proc/{box.pid}/cgroup").read_text()
    tracked = [line for line in text.splitlines() if "nspawn" in line]
    assert tracked, text
    for pid in processes.children(box.pid):
        assert Path(f"/proc/{pid}/cgroup").read_text() == text


def test_the_hosts_name_stays_when_the_container_changes_its_own(box: Box) -> None:
    before = socket.gethostname()
    old = box.sh("hostname")
    box.sh("hostname other-name")
    try:
        assert socket.gethostname() == before
        assert box.sh("hostname") == "other-name"
    finally:
        box.sh(f"hostname {old}")


def test_message_queues_are_the_containers_own(box: Box) -> None:
    box.sh("touch /dev/mqueue/inside")
    assert box.sh("ls /dev/mqueue") == "inside"
    host = run(["unshare", "-m", "sh", "-c", "mount -t mqueue q /mnt && ls /mnt"])
    assert "inside" not in host.out
    box.sh("rm /dev/mqueue/inside")


def test_net_gives_an_own_network_with_loopback_up(netbox: Box) -> None:
    assert processes.namespace(netbox.pid, "net") != processes.namespace("self", "net")
    enter = ["nsenter", "-t", str(netbox.pid), "-n"]
    links = json.loads(check([*enter, "ip", "-j", "address"]).out)
    up = [link["ifname"] for link in links if "UP" in link["flags"]]
    assert up == ["lo"]
    addresses = {entry["local"] for link in links for entry in link["addr_info"]}
    assert addresses == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_net_answers_a_ping_from_inside_and_outside(netbox: Box, address: str) -> None:
    netbox.sh(f"ping -c 1 -W 2 {address}")
    check(["nsenter", "-t", str(netbox.pid), "-n", "busybox", "ping", "-c", "1", "-W", "2", address])


def test_net_shows_no_interface_of_the_host_in_sysfs(netbox: Box, box: Box) -> None:
    physical = [
        name for name in os.listdir("/sys/class/net") if os.path.exists(f"/sys/class/net/{name}/device")
    ]
    seen = netbox.sh("ls /sys/class/net").split()
    assert "lo" in seen
    assert not set(physical) & set(seen)
    assert set(box.sh("ls /sys/class/net").split()) >= set(physical)


def test_net_makes_its_own_network_settings_writable(netbox: Box) -> None:
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    netbox.sh("echo 99 > /proc/sys/net/ipv4/ip_default_ttl")
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before
