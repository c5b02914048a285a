"""A container's wire: its veth and what is set on the container's end, by a small encoder of rtnetlink(7).

A start cannot pay for a library (facts: performance).  What is to be done is collected and travels as one
message; each part is acknowledged, and the first failure that was not expected is raised.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from nspawn.kernel.routes import NETLINK_ROUTE
from nspawn.model.slot import mac, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nspawn.model.slot import Subnet

PEER = "eth0"
_LOOPBACK = 1  # its index in every network namespace

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 1, 4, 0x200, 0x400
_ERROR = 2
_ACK_TLVS = 0x200
_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_PID, _IFLA_AF_SPEC = (
    1,
    3,
    10,
    18,
    19,
    26,
)
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _GEN_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN, _RTPROT_BOOT, _RTN_UNICAST, _RTNH_F_ONLINK = 254, 3, 1, 4
_SCOPE_LINK = 253
_SOL_NETLINK, _EXT_ACK = 270, 11
_HEADER = struct.Struct("=IHHII")
_SIZE = 1 << 16
#: What a kernel without IPv6, or with it switched off, says to a message about it.
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM, errno.EINVAL)


def attribute(kind: int, data: bytes | int) -> bytes:
    """One rtattr, padded; a number takes 32 bits."""
    if isinstance(data, int):
        data = struct.pack("=I", data)
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _name(text: str) -> bytes:
    return attribute(_IFLA_IFNAME, os.fsencode(text) + b"\0")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


class Wire:
    """A socket in the network namespace of who makes it.  port: of netlink, by which its doings are known."""

    __slots__ = ("_end", "_pending", "_sequence", "port")

    def __init__(self) -> None:
        self._end = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_ROUTE)
        self._end.bind((0, 0))
        self.port: int = self._end.getsockname()[0]
        try:
            self._end.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        except OSError:
            pass  # only for the kernel's own words in an error
        self._pending: list[tuple[bytes, str, Collection[int]]] = []
        self._sequence = 0

    def close(self) -> None:
        self._end.close()

    def add(self, kind: int, body: bytes, what: str, flags: int = 0, expected: Collection[int] = ()) -> None:
        """To be sent.  what: for the error; expected: error numbers that are none here."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0)
        self._pending.append((header + body, what, expected))

    def send(self) -> None:
        """Send it all; OSError of the first part that failed, when all were tried."""
        pending, self._pending = self._pending, []
        first = self._sequence - len(pending) + 1
        failure: OSError | None = None
        self._end.send(b"".join(message for message, _what, _expected in pending))
        left = len(pending)
        while left:
            data = self._end.recv(_SIZE)
            at = 0
            while at + 20 <= len(data):
                length, kind, flags, sequence, _port = _HEADER.unpack_from(data, at)
                if kind == _ERROR and sequence >= first:
                    left -= 1
                    number = -struct.unpack_from("=i", data, at + 16)[0]
                    _message, what, expected = pending[sequence - first]
                    if number and number not in expected and failure is None:
                        said = _words(data[at : at + length], flags)
                        failure = OSError(number, f"{os.strerror(number)}{said}", what)
                at += max(16, length + 3 & ~3)
        if failure is not None:
            raise failure

    # The host's side

    def make(self, number: int, pid: int, master: int) -> str:
        """Make the slot's veth: its end here up, in the bridge of this index (0 for none), and eth0 in the
        network namespace of a process.

        One that is there already is that of a container before: it is put aside, and its new name returned,
        for delete(); else "".
        """
        try:
            self._make(number, pid, master)
        except FileExistsError:
            aside = self.put_aside(number)
            self._make(number, pid, master)
            return aside
        return ""

    def _make(self, number: int, pid: int, master: int) -> None:
        name = veth(number)
        what = f"make the veth {name}"
        peer = (
            _link() + _name(PEER) + attribute(_IFLA_ADDRESS, mac(number)) + attribute(_IFLA_NET_NS_PID, pid)
        )
        data = attribute(_INFO_DATA, attribute(_VETH_INFO_PEER, peer))
        info = attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, b"veth") + data)
        self.add(_NEWLINK, _link() + _name(name) + info, what, _CREATE | _EXCLUSIVE)
        self.send()
        ours = _name(name)
        if master:
            # A port of a bridge needs no address of its own, nor the routes and the traffic that it brings.
            generation = attribute(_INET6_ADDR_GEN_MODE, bytes((_GEN_NONE,)))
            spec = attribute(_IFLA_AF_SPEC, attribute(_socket.AF_INET6, generation))
            self.add(_NEWLINK, _link() + ours + spec, what, expected=NO_IPV6)
            ours += attribute(_IFLA_MASTER, master)
        self.add(_NEWLINK, _link(0, _UP, _UP) + ours, what)
        try:
            self.send()
        except OSError:
            self.delete([name])
            raise

    def put_aside(self, number: int) -> str:
        """Free the name of a veth that is on its way out: deleting it takes the kernel too long for a start.

        It is cut off at once.  Returns its new name, "" when it is gone.
        """
        try:
            index = _socket.if_nametoindex(veth(number))
        except OSError:
            return ""
        aside = aside_name(index)
        self.add(_NEWLINK, _link(index, 0, _UP) + attribute(_IFLA_MASTER, 0), f"cut {aside} off")
        self.add(_NEWLINK, _link(index) + _name(aside), f"rename {veth(number)}", expected=(errno.ENODEV,))
        try:
            self.send()
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return ""
        return aside

    def delete(self, names: Collection[str]) -> None:
        """Delete interfaces; those that are gone are no error.  The kernel takes 20 ms for each."""
        for name in names:
            self.add(_DELLINK, _link() + _name(name), f"delete {name}", expected=(errno.ENODEV,))
        if self._pending:
            self.send()

    def delete_these(self, indexes: Collection[int]) -> None:
        """The same by their numbers: none that has got a name of theirs meanwhile."""
        for index in indexes:
            self.add(_DELLINK, _link(index), f"delete interface {index}", expected=(errno.ENODEV,))
        if self._pending:
            self.send()

    # The container's side

    def configure(
        self,
        subnet: Subnet,
        number: int,
        *,
        bridged: bool,
        ipv6: bool,
        default6: bool,
        warn: Callable[[str], None],
    ) -> None:
        """In the container's namespace: loopback and eth0 up, with addresses, and default routes.

        bridged: whether others are reached directly, else only through the gateway.  ipv6: whether it has
        an IPv6 address; default6: whether that leads anywhere.  warn: told when IPv6 cannot be set.
        """
        index: int = _socket.if_nametoindex(PEER)
        if not ipv6:
            _write(f"/proc/sys/net/ipv6/conf/{PEER}/disable_ipv6", b"1")
        for each in (_LOOPBACK, index):
            self.add(_NEWLINK, _link(each, _UP, _UP), "bring eth0 up")
        length = subnet.length4 if bridged else 32
        self._address(index, subnet.address4(number), length)
        self._default(index, subnet.gateway4, onlink=not bridged)
        self.send()
        if ipv6:
            self._address(index, subnet.address6(number), 64 if bridged else 128)
            if default6:
                self._default(index, subnet.gateway6, onlink=not bridged)
            elif not bridged:
                self._route(index, subnet.gateway6)
            try:
                self.send()
            except OSError as error:
                if error.errno not in NO_IPV6:
                    raise
                warn(f"skipped: an IPv6 address ({error.strerror})")

    def _address(self, index: int, address: bytes, length: int) -> None:
        family = _socket.AF_INET if len(address) == 4 else _socket.AF_INET6
        flags = 0 if len(address) == 4 else _IFA_F_NODAD
        body = struct.pack("=4BI", family, length, flags, 0, index) + attribute(_IFA_ADDRESS, address)
        if len(address) == 4:
            body += attribute(_IFA_LOCAL, address)
        self.add(_NEWADDR, body, "set the address of eth0", _CREATE | _EXCLUSIVE)

    def _default(self, index: int, gateway: bytes, *, onlink: bool) -> None:
        family = _socket.AF_INET if len(gateway) == 4 else _socket.AF_INET6
        flags = _RTNH_F_ONLINK if onlink else 0
        body = struct.pack("=8BI", family, 0, 0, 0, _MAIN, _RTPROT_BOOT, 0, _RTN_UNICAST, flags)
        body += attribute(_RTA_GATEWAY, gateway) + attribute(_RTA_OIF, index)
        self.add(_NEWROUTE, body, "set the default route", _CREATE | _EXCLUSIVE)

    def _route(self, index: int, address: bytes) -> None:
        body = struct.pack(
            "=8BI", _socket.AF_INET6, 128, 0, 0, _MAIN, _RTPROT_BOOT, _SCOPE_LINK, _RTN_UNICAST, 0
        )
        body += attribute(_RTA_DST, address) + attribute(_RTA_OIF, index)
        self.add(_NEWROUTE, body, "set the route to the gateway", _CREATE | _EXCLUSIVE)


def loopback_up() -> None:
    """In a network namespace of its own that has no more than that."""
    wire = Wire()
    try:
        wire.add(_NEWLINK, _link(_LOOPBACK, _UP, _UP), "bring lo up")
        wire.send()
    finally:
        wire.close()


def aside_name(index: int) -> str:
    """Of a veth that was put aside; not to be taken for a slot's."""
    return f"nsp-{index}"


def _words(message: bytes, flags: int) -> str:
    """What the kernel says besides the number (NETLINK_EXT_ACK), in brackets."""
    if not flags & _ACK_TLVS:
        return ""
    at = 20 + max(16, struct.unpack_from("=I", message, 20)[0] + 3 & ~3)
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == 1 and length > 4:
            return f" ({message[at + 4 : at + length].rstrip(bytes(1)).decode('utf-8', 'replace')})"
        at += max(4, length + 3 & ~3)
    return ""


def _write(path: str, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # no IPv6 at all
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def is_there(name: str) -> bool:
    """Whether there is an interface of this name."""
    try:
        _socket.if_nametoindex(name)
    except OSError:
        return False
    return True
