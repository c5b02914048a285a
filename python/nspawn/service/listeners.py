"""Ports that programs of the host listen on: a forward takes what comes from outside away from them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nspawn.model.forwards import Forward

#: proc(5): TCP_LISTEN; an udp socket without a peer is in TCP_CLOSE.
_STATES = {"tcp": "0A", "udp": "07"}
#: Sockets that are looked for in all processes: more would take seconds on a phone.
_MOST = 16


class Listener(NamedTuple):
    """address: as in a forward, "" for all; inode: of its socket."""

    proto: str
    address: str
    port: int
    inode: int


class Clash(NamedTuple):
    """A forward and who of the host listens on its port.  program: "" when it cannot be told."""

    forward: str
    port: int
    proto: str
    program: str

    def told(self) -> str:
        """For people."""
        who = f"{self.program} of the host listens" if self.program else "the host itself listens"
        return f"{who} on port {self.port}/{self.proto}, which is forwarded"


def listeners() -> list[Listener]:
    """Every socket of the host that takes connections or datagrams from anybody."""
    found = []
    for proto, state in _STATES.items():
        for family in ("", "6"):
            try:
                with open(f"/proc/net/{proto}{family}", encoding="ascii") as file:
                    lines = file.read().splitlines()[1:]
            except OSError:
                continue  # a kernel without IPv6
            for line in lines:
                words = line.split()
                address, _, port = words[1].rpartition(":")
                if words[3] == state:
                    found.append(Listener(proto, _address(address), int(port, 16), int(words[9])))
    return found


def clashes(forwards: Iterable[Forward], among: Sequence[Listener] | None = None) -> list[Clash]:
    """Of these forwards, those whose port somebody has already."""
    there = listeners() if among is None else among
    found: dict[tuple[str, int, str], int] = {}
    for forward in forwards:
        for each in there:
            if (
                each.proto == forward.proto
                and forward.host <= each.port <= forward.last
                and _meet(forward, each)
            ):
                found.setdefault((str(forward), each.port, each.proto), each.inode)
    programs = _programs(set(list(found.values())[:_MOST]))
    return [Clash(*key, programs.get(inode, "")) for key, inode in found.items()]


def _meet(forward: Forward, listener: Listener) -> bool:
    return not forward.listen or not listener.address or forward.listen == listener.address


def _address(text: str) -> str:
    """From proc(5): words of 32 bits in the machine's order."""
    import socket
    import sys

    raw = bytes.fromhex(text)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    if not any(packed):
        return ""
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
        if not any(packed):
            return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _programs(inodes: set[int]) -> dict[int, str]:
    """The names of the processes that have these sockets."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    if not wanted:
        return found
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue  # gone, or not ours to see
        for inode in {wanted[link] for link in links if link in wanted}:
            found[inode] = _name(pid)
        if len(found) == len(wanted):
            break
    return found


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        return ""
    return "".join(char for char in name if char.isprintable())
