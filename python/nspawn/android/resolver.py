"""Names for our own processes on Android, where glibc finds no /etc/resolv.conf (facts: runtime, DNS).

`install()` puts `getaddrinfo` in the place of `socket.getaddrinfo`, on which urllib, requests and the like
stand.  It asks Android's own resolver by its socket (private DNS and VPNs included), and without that the
servers that the phone's networks name, then 1.1.1.1.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING

from nspawn.layout import on_android, phone
from nspawn.model import dnsmessage, dnsservers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PROXY = "/dev/socket/dnsproxyd"
_DUMPSYS = "/system/bin/dumpsys"
#: Seconds: for Android's resolver, which asks several servers; for one server; that a dump is good for.
_PATIENCE, _ONE, _DUMP_LIFE = 20.0, 2.0, 60.0
#: The request has 1024 bytes, and blanks are between its words.
_LONGEST_NAME = 255
_REFUSED = frozenset(" ^'\"\\\0\n\r\t")
_LARGEST_ANSWER = 1 << 20
_MOST_RECORDS = 256
#: bionic's codes and ours; what is not here is a failure for good.
_CODES = {
    2: socket.EAI_AGAIN,
    3: socket.EAI_BADFLAGS,
    5: socket.EAI_FAMILY,
    6: socket.EAI_MEMORY,
    7: socket.EAI_NODATA,
    8: socket.EAI_NONAME,
    9: socket.EAI_SERVICE,
    10: socket.EAI_SOCKTYPE,
    11: socket.EAI_SYSTEM,
}
_FAMILIES = {dnsmessage.A: socket.AF_INET, dnsmessage.AAAA: socket.AF_INET6}
#: As Python found it.
_glibc = socket.getaddrinfo


class NoProxy(Exception):
    """Android's resolver is not there, or does not serve us."""


def install(environ: Mapping[str, str] = os.environ) -> None:
    """From now on this process looks names up as Android does; elsewhere nothing changes."""
    if on_android(environ):
        resolver = Resolver(environ)
        socket.getaddrinfo = resolver.getaddrinfo


class Resolver:
    """environ: tells where the phone's files are.  servers: those to ask without Android's resolver."""

    def __init__(
        self, environ: Mapping[str, str], servers: Callable[[], tuple[str, ...]] | None = None
    ) -> None:
        self._environ = environ
        self._servers = servers or self._of_phone
        self._found: tuple[str, ...] = ()
        self._good_until = 0.0

    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name it has in socket
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As socket.getaddrinfo; gaierror as there."""
        try:
            # Addresses, the empty name and wrong arguments are not for a resolver.
            return _glibc(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        except socket.gaierror as error:
            if error.errno != socket.EAI_NONAME or host is None or flags & socket.AI_NUMERICHOST:
                raise
        name = _ascii(host)
        if name.rstrip(".").lower() in ("localhost", "ip6-localhost"):
            addresses = [address for address in ("::1", "127.0.0.1") if _fits(address, family)]
        else:
            addresses = self.look_up(name, family)
        found: list[Any] = []
        for address in addresses:
            entries = _glibc(address, port, 0, type, proto, flags & ~socket.AI_CANONNAME)
            if flags & socket.AI_CANONNAME and not found:
                entries[0] = (*entries[0][:3], name, entries[0][4])
            found += entries
        if not found:
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        return found

    def look_up(self, name: str, family: int = 0) -> list[str]:
        """The addresses of a name, best first; gaierror."""
        if not name or len(name) > _LONGEST_NAME or not _REFUSED.isdisjoint(name):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        try:
            return ask_proxy(phone(self._environ, PROXY), name, family)
        except NoProxy:
            return ask_servers(self._servers(), name, family)

    def _of_phone(self) -> tuple[str, ...]:
        """Of all its networks, the default one's first, as dumpsys lists them."""
        if time.monotonic() >= self._good_until:
            self._found = _dumped(phone(self._environ, _DUMPSYS))
            self._good_until = time.monotonic() + _DUMP_LIFE
        return self._found or dnsservers.LAST_RESORT


def ask_proxy(path: str, name: str, family: int = 0, netid: int = 0) -> list[str]:
    """Ask Android's resolver: `getaddrinfo NAME ^ FLAGS FAMILY SOCKTYPE PROTO NETID`.

    path: of its socket.  netid: of a network, 0 for the default one.  NoProxy; gaierror with its reason.
    """
    request = f"getaddrinfo {name} ^ 0 {int(family)} {int(socket.SOCK_STREAM)} 0 {netid}\0".encode("ascii")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(_PATIENCE)
        try:
            end.connect(path)
        except OSError as error:
            raise NoProxy(str(error)) from error
        try:
            end.sendall(request)
            with end.makefile("rb") as file:
                return _addresses(_Answer(file.read))
        except (OSError, struct.error) as error:
            if isinstance(error, socket.gaierror):
                raise
            raise socket.gaierror(socket.EAI_AGAIN, f"Android's resolver: {error}") from error


class _Answer:
    """What comes, in pieces of known size; OSError when there is less, or too much."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = _LARGEST_ANSWER

    def take(self, size: int) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise OSError("its answer makes no sense")
        data = self._read(size)
        if len(data) != size:
            raise OSError("its answer is cut off")
        return data

    def number(self) -> int:
        (value,) = struct.unpack(">i", self.take(4))
        return int(value)


def _addresses(answer: _Answer) -> list[str]:
    code = answer.take(4)
    if code == b"401\0":
        reason = 0
        if answer.number() == 4:
            (reason,) = struct.unpack("=i", answer.take(4))
        raise socket.gaierror(_CODES.get(reason, socket.EAI_FAIL), f"Android's resolver: error {reason}")
    if code != b"222\0":
        raise NoProxy(f"it says {code!r}")
    found: list[str] = []
    while answer.number():
        _flags, family, _kind, _proto, size = struct.unpack(">iiiii", answer.take(20))
        address = answer.take(size)
        answer.take(answer.number())  # the canonical name
        text = _text(family, address)
        if text and text not in found:
            found.append(text)
        if len(found) > _MOST_RECORDS:
            break
    return found


def _text(family: int, address: bytes) -> str:
    """Of a sockaddr, which Android's libc lays out as ours does."""
    if family == socket.AF_INET and len(address) >= 8:
        return socket.inet_ntop(family, address[4:8])
    if family == socket.AF_INET6 and len(address) >= 28:
        (scope,) = struct.unpack("=I", address[24:28])
        return socket.inet_ntop(family, address[8:24]) + (f"%{scope}" if scope else "")
    return ""


# Without Android's resolver


def ask_servers(servers: tuple[str, ...], name: str, family: int = 0) -> list[str]:
    """The addresses, by the first server that answers; gaierror when none does, or there is no such name."""
    try:
        labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
        dnsmessage.name(labels)
    except ValueError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    kinds = [kind for kind, own in _FAMILIES.items() if family in (0, own)]
    for server in servers:
        try:
            found = _ask(server, labels, kinds)
        except OSError:
            continue
        addresses = [socket.inet_ntop(_FAMILIES[kind], data) for kind, data in found or ()]
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def _ask(server: str, labels: list[bytes], kinds: list[int]) -> list[tuple[int, bytes]] | None:
    """(kind, data) of the answers; None when there is no such name; OSError when this server has none."""
    found: list[tuple[int, bytes]] = []
    missing = False
    (*_, address) = _glibc(server, 53, 0, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0]
    own = socket.AF_INET6 if ":" in server else socket.AF_INET
    for kind in kinds:
        query = dnsmessage.ask(labels, kind, int.from_bytes(os.urandom(2), "big"))
        reply = _by_udp(own, address, query)
        if dnsmessage.is_truncated(reply):
            reply = _by_tcp(own, address, query)
        if dnsmessage.rcode(reply) == dnsmessage.NXDOMAIN:
            missing = True  # some servers say it of an address that only the other family has
            continue
        if dnsmessage.rcode(reply) != dnsmessage.NOERROR:
            raise OSError("it has no answer")
        size = 4 if kind == dnsmessage.A else 16
        found += [(kind, data) for data in dnsmessage.values(reply, kind) if len(data) == size]
    return None if missing and not found else found


def _by_udp(family: int, address: Any, query: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as end:
        end.connect(address)
        end.send(query)
        until = time.monotonic() + _ONE
        while (left := until - time.monotonic()) > 0:
            end.settimeout(left)
            reply = end.recv(65535)
            if dnsmessage.is_reply(query, reply):
                return reply
    raise TimeoutError


def _by_tcp(family: int, address: Any, query: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.settimeout(_ONE)
        end.connect(address)
        end.sendall(len(query).to_bytes(2, "big") + query)
        with end.makefile("rb") as file:
            reply = file.read(int.from_bytes(file.read(2), "big"))
    if not dnsmessage.is_reply(query, reply):
        raise OSError("it answers something else")
    return reply


def _dumped(program: str) -> tuple[str, ...]:
    try:
        result = subprocess.run(
            [program, "connectivity"], stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found: dict[str, tuple[str, ...]] = {}
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        for interface, servers in dnsservers.of_link_properties(line):
            found.setdefault(interface, servers)
    return tuple(dict.fromkeys(server for servers in found.values() for server in servers))


def _ascii(host: bytes | str) -> str:
    """A name as it is asked for; gaierror when it cannot be one."""
    try:
        name = host.decode("ascii") if isinstance(host, bytes) else host
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None


def _fits(address: str, family: int) -> bool:
    return family in (0, socket.AF_INET6 if ":" in address else socket.AF_INET)
