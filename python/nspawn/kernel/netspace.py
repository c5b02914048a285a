"""The network namespaces at the other ends of veths, found by the numbers that the kernel gives them."""

from __future__ import annotations

import os
import struct

from nspawn.kernel import libc
from nspawn.kernel.routes import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from nspawn.kernel.rtnl import Rtnl

_GETLINK, _GETNSID = 18, 90
_IFLA_LINK_NETNSID = 37
_NETNSA_NSID, _NETNSA_FD = 1, 3
_LINK_SIZE, _GEN_SIZE = 16, 4  # of struct ifinfomsg and struct rtgenmsg, which come before the attributes


def peers(netlink: Rtnl, indexes: Mapping[int, int]) -> dict[int, int]:
    """A process in the namespace of each veth's other end.

    indexes: of the veths, by any key; the answer has the keys of those that were found.
    """
    wanted = {}
    for key, ifindex in indexes.items():
        try:
            answer = netlink.ask(_GETLINK, struct.pack("=BxHiII", 0, 0, ifindex, 0, 0))
        except OSError:
            continue
        number = attributes(answer[_LINK_SIZE:]).get(_IFLA_LINK_NETNSID, b"")
        if len(number) == 4:
            wanted[number] = key
    found: dict[int, int] = {}
    for pid in _one_of_each() if wanted else ():
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            answer = netlink.ask(_GETNSID, struct.pack("=BxxxHHI", 0, 8, _NETNSA_FD, descriptor))
        finally:
            os.close(descriptor)
        number = attributes(answer[_GEN_SIZE:]).get(_NETNSA_NSID, b"")
        if number in wanted:
            found[wanted[number]] = pid
    return found


def _one_of_each() -> list[int]:
    """A process of each network namespace but ours."""
    seen = {os.readlink("/proc/self/ns/net")}
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                link = os.readlink(f"/proc/{name}/ns/net")
            except OSError:
                continue
            if link not in seen:
                seen.add(link)
                found.append(int(name))
    return found


class Inside:
    """This thread is in the network namespace of a process as long as a `with` block lasts."""

    __slots__ = ("_home", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._home = -1

    def __enter__(self) -> Self:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc.setns(there, libc.CLONE_NEWNET)
            finally:
                os.close(there)
        except BaseException:
            os.close(self._home)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            libc.setns(self._home, libc.CLONE_NEWNET)
        finally:
            os.close(self._home)
