"""A machine with a network of its own to measure in: two uplinks to a LAN, and the same without us.

    here (the program runs here)   up0 192.0.2.1, up1 198.51.100.1  ----  lan: .2 of each
    bare (veth, bridge, forwarding) wan 203.0.113.1                  ----  lan: 203.0.113.2

Here is also the bridge of the peers. Nothing of it is left when the work is over.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from nspawn.kernel import libc
from tests.bench.report import Part
from tests.bench.space import spawn

LAN = "lan"
BARE = "bare"
#: Our two uplinks: the interface, its IPv4 and IPv6 network.
UPLINKS = (("up0", "192.0.2", "2001:db8:0::"), ("up1", "198.51.100", "2001:db8:1::"))
BARE_LAN = "203.0.113"
#: What is in the bare machine's bridge.
INNER = "inner"
INNER_ADDRESS = "10.99.0.2"
PEERS_BRIDGE, PEERS4, PEERS6 = "peers0", "10.98.0", "fd98::"
_CGROUPS = "/sys/fs/cgroup"


def inside(work: Callable[[], Part]) -> Part:
    """What `work` returns, from a child in a network and mount namespace of its own.

    Raises RuntimeError when it returns nothing; then the child has said why.
    """
    ours, theirs = os.pipe()

    def child() -> int:
        os.close(ours)
        _enter()
        part = work()
        with os.fdopen(theirs, "wb") as end:
            pickle.dump(part, end)
        return 0

    pid = spawn(child)
    os.close(theirs)
    with os.fdopen(ours, "rb") as end:
        data = end.read()
    os.waitpid(pid, 0)
    if not data:
        raise RuntimeError("the measure of the network ended without a result")
    part = pickle.loads(data)
    assert isinstance(part, Part)
    return part


def _enter() -> None:
    """A namespace that starts with nothing but a loopback, and its own /sys, where lxc looks for bridges."""
    libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWNS)
    libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
    view = os.open(_CGROUPS, os.O_PATH | os.O_CLOEXEC)
    libc.mount("sysfs", "/sys", "sysfs", 0)
    libc.mount("tmpfs", "/run", "tmpfs", 0)  # of ip(8)
    libc.mount(f"/proc/self/fd/{view}", _CGROUPS, None, libc.MS_BIND)
    os.close(view)
    ip("link", "set", "lo", "up")


def program(name: str) -> str:
    """Its path, or FileNotFoundError."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def ip(*words: str, space: str = "") -> None:
    """iproute2, here or in a named network namespace; RuntimeError with what it said."""
    where = ["-n", space] if space else []
    run = subprocess.run([program("ip"), *where, *words], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"ip {' '.join([*where, *words])}: {run.stderr.strip()}")


def within(space: str, *words: str) -> list[str]:
    """The command line that runs a command in a named network namespace."""
    return [program("nsenter"), f"--net=/run/netns/{space}", *words]


def build() -> None:
    """Make all of it."""
    _let_bridges_be("")
    for space in (LAN, BARE):
        ip("netns", "add", space)
        ip("link", "set", "lo", "up", space=space)
        _let_bridges_be(space)
    for name, prefix4, prefix6 in UPLINKS:
        _wire("", name, prefix4, prefix6)
    _wire(BARE, "wan", BARE_LAN, "2001:db8:2::")
    ip("route", "add", "10.99.0.0/24", "via", f"{BARE_LAN}.1", space=LAN)
    ip("route", "add", "default", "via", f"{UPLINKS[0][1]}.2", "dev", UPLINKS[0][0])
    ip("-6", "route", "add", "default", "via", f"{UPLINKS[0][2]}2", "dev", UPLINKS[0][0])
    _bridge("", PEERS_BRIDGE, f"{PEERS4}.1/24", f"{PEERS6}1/64")
    _bridge(BARE, "bridge0", "10.99.0.1/24", "fd99::1/64")
    ip("netns", "add", INNER)
    ip("link", "add", "inner", "type", "veth", "peer", "name", "eth0", "netns", INNER, space=BARE)
    ip("link", "set", "inner", "master", "bridge0", "up", space=BARE)
    ip("link", "set", "eth0", "up", space=INNER)
    ip("address", "add", f"{INNER_ADDRESS}/24", "dev", "eth0", space=INNER)
    ip("route", "add", "default", "via", "10.99.0.1", space=INNER)
    sysctl = "echo 1 >/proc/sys/net/ipv4/ip_forward"
    subprocess.run(within(BARE, program("sh"), "-c", sysctl), check=True)


def _let_bridges_be(space: str) -> None:
    """No iptables for what a bridge passes on: phones have no br_netfilter, nor has Debian by itself."""
    switch = "/proc/sys/net/bridge/bridge-nf-call-"
    words = [f"for each in {switch}ip*tables; do [ ! -w $each ] || echo 0 >$each; done"]
    shell = [program("sh"), "-c", *words]
    subprocess.run(within(space, *shell) if space else shell, check=True)


def _wire(space: str, name: str, prefix4: str, prefix6: str) -> None:
    """A cable to the LAN: .1 at this end, .2 there."""
    far = f"{space}{name}"
    ip("link", "add", "name", name, "type", "veth", "peer", "name", far, "netns", LAN, space=space)
    for number, end, where in ((1, name, space), (2, far, LAN)):
        ip("address", "add", f"{prefix4}.{number}/24", "dev", end, space=where)
        ip("-6", "address", "add", f"{prefix6}{number}/64", "dev", end, "nodad", space=where)
        ip("link", "set", end, "up", space=where)


def _bridge(space: str, name: str, address4: str, address6: str) -> None:
    ip("link", "add", "name", name, "type", "bridge", space=space)
    ip("address", "add", address4, "dev", name, space=space)
    ip("-6", "address", "add", address6, "dev", name, "nodad", space=space)
    ip("link", "set", name, "up", space=space)


def move_default(uplink: int) -> None:
    """The main table's default routes of both families go to this uplink."""
    name, prefix4, prefix6 = UPLINKS[uplink]
    ip("route", "replace", "default", "via", f"{prefix4}.2", "dev", name)
    ip("-6", "route", "replace", "default", "via", f"{prefix6}2", "dev", name)


def namespace(pid: int) -> Path:
    """The network namespace of a process, for nsenter."""
    return Path(f"/proc/{pid}/ns/net")
