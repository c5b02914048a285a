"""A phone, a neighbour in its LAN and two containers, as network namespaces with veths between them.

Nothing of the product is used, except the wrapper of setns(2).  A socket belongs to the namespace that it was
made in, so one process can talk to itself through all of them.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from nspawn.kernel import libc
from tests.support.command import run

BRIDGE = "nspawn_br1"
GATEWAY = {4: "10.11.0.1", 6: "fd11::1"}
SUBNET = {4: "10.11.0.0/24", 6: "fd11::/64"}
PHONE = {4: "192.168.77.5", 6: "2001:db8:77::5"}
NEIGHBOUR = {4: "192.168.77.9", 6: "2001:db8:77::9"}
WEB = {4: "10.11.0.2", 6: "fd11::2"}
DATABASE = {4: "10.11.0.3", 6: "fd11::3"}
LOCALHOST = {4: "127.0.0.1", 6: "::1"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_SECONDS = 3.0


@contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread, in this network namespace."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(there, libc.CLONE_NEWNET)
        try:
            yield
        finally:
            libc.setns(back, libc.CLONE_NEWNET)
    finally:
        os.close(there)
        os.close(back)


def sh(command: str, *, allowed: bool = False) -> str:
    """Run words in the present namespace; what it printed.  allowed: it may fail."""
    result = run(command.split())
    assert allowed or result.status == 0, result
    return result.out


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@contextmanager
def namespaces(*names: str) -> Iterator[None]:
    made: list[str] = []
    try:
        for name in names:
            sh(f"ip netns add {name}")
            made.append(name)
            sh(f"ip -n {name} link set lo up")
        yield
    finally:
        for name in made:
            sh(f"ip netns del {name}", allowed=True)


class Lab:
    """Names of the namespaces."""

    def __init__(self, prefix: str) -> None:
        self.phone = f"{prefix}-phone"
        self.neighbour = f"{prefix}-lan"
        self.web = f"{prefix}-web"
        self.database = f"{prefix}-db"

    def build(self) -> None:
        phone = f"ip -n {self.phone}"
        sh(f"{phone} link add {BRIDGE} type bridge")
        sh(f"{phone} link set {BRIDGE} up")
        for family in (4, 6):
            length, nodad = (24, "") if family == 4 else (64, " nodad")
            sh(f"{phone} address add {GATEWAY[family]}/{length} dev {BRIDGE}{nodad}")
        for number, (name, addresses) in enumerate(((self.web, WEB), (self.database, DATABASE))):
            sh(f"{phone} link add nsp{number} type veth peer name eth0 netns {name}")
            sh(f"{phone} link set nsp{number} master {BRIDGE} up")
            self._address(name, "eth0", addresses)
            for family in (4, 6):
                sh(f"ip -n {name} -{family} route add default via {GATEWAY[family]}")
        sh(f"{phone} link add wlan0 type veth peer name eth0 netns {self.neighbour}")
        self._address(self.phone, "wlan0", PHONE)
        self._address(self.neighbour, "eth0", NEIGHBOUR)
        with inside(self.phone):
            for setting in (
                "ipv4/ip_forward",
                f"ipv4/conf/{BRIDGE}/route_localnet",
                "ipv6/conf/all/forwarding",
            ):
                write(f"/proc/sys/net/{setting}", "1")
        # Answers to ::1 come by the bridge.
        sh(f"{phone} -6 route add local ::1/128 dev {BRIDGE} table local metric 1024")
        self.bridge_filter(on=False)

    def bridge_filter(self, *, on: bool) -> None:
        """br_netfilter: no phone has it, and many Linux machines do."""
        with inside(self.phone):
            for program in ("iptables", "ip6tables"):
                path = f"/proc/sys/net/bridge/bridge-nf-call-{program}"
                if os.path.exists(path):
                    write(path, str(int(on)))

    @staticmethod
    def _address(name: str, link: str, addresses: dict[int, str]) -> None:
        sh(f"ip -n {name} link set {link} up")
        sh(f"ip -n {name} address add {addresses[4]}/24 dev {link}")
        sh(f"ip -n {name} address add {addresses[6]}/64 dev {link} nodad")


@contextmanager
def lab() -> Iterator[Lab]:
    """All of it; gone afterwards."""
    found = Lab(f"fw{os.getpid()}")
    with namespaces(found.phone, found.neighbour, found.web, found.database):
        found.build()
        yield found


@contextmanager
def listening(name: str, family: int, address: str, port: int, kind: str = "tcp") -> Iterator[socket.socket]:
    with inside(name):
        end = socket.socket(FAMILIES[family], socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    with end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        end.bind((address, port))
        if kind == "tcp":
            end.listen(8)
        end.settimeout(_SECONDS)
        yield end


def ping(name: str, family: int, address: str) -> bool:
    """Whether an echo request from a namespace is answered."""
    protocol, kind, reply = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}[family]
    with inside(name):
        end = socket.socket(FAMILIES[family], socket.SOCK_RAW, protocol)
    with end:
        end.settimeout(_SECONDS)
        body = struct.pack(">HH", os.getpid() & 0xFFFF, 1)
        total = (kind << 8) + sum(struct.unpack(">HH", body))
        checksum = ~(total % 0xFFFF) & 0xFFFF  # RFC 1071; the kernel makes that of ICMPv6
        end.sendto(struct.pack(">BBH", kind, 0, checksum) + body, (address, 0))
        try:
            while True:
                answer = end.recv(200)
                if answer[20 if family == 4 else 0] == reply:
                    return True
        except TimeoutError:
            return False


def visit(
    name: str, server: socket.socket, address: str, port: int, *, seconds: float = _SECONDS, source: str = ""
) -> str:
    """Connect (or send a datagram) from a namespace: the address that the server saw, "" without answer."""
    kind = server.type
    with inside(name):
        end = socket.socket(server.family, kind)
    with end:
        end.settimeout(seconds)
        if source:
            end.bind((source, 0))
        try:
            end.connect((address, port))
            end.send(b"question")
            server.settimeout(seconds)
            if kind == socket.SOCK_STREAM:
                other, peer = server.accept()
                with other:
                    other.sendall(b"answer")
            else:
                _, peer = server.recvfrom(100)
                server.sendto(b"answer", peer)
            assert end.recv(100) == b"answer"
        except OSError:
            return ""
        return str(peer[0])
