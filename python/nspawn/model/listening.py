"""Who listens on this machine, from the text of proc_pid_net(5): /proc/net/tcp, tcp6, udp and udp6."""

from __future__ import annotations

import sys
from _socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from nspawn.model.netplan import Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from nspawn.model.forwards import Forward

# States of linux/net/tcp_states.h; a UDP socket that is connected to nobody is "closed".
_LISTEN, _CLOSE = "0A", "07"
_ANY = frozenset(("0.0.0.0", "::"))  # noqa: S104
#: The files by protocol.
FILES = {
    "tcp": ("/proc/net/tcp", "/proc/net/tcp6"),
    "udp": ("/proc/net/udp", "/proc/net/udp6"),
}


class Listener(NamedTuple):
    """A socket that waits for others.  inode: as in `socket:[inode]` of /proc/PID/fd."""

    address: str
    port: int
    inode: str


def listeners(text: str) -> Iterator[Listener]:
    """Those in the text of one of the files."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] in (_LISTEN, _CLOSE) and words[2].endswith(":0000"):
            address, _, port = words[1].partition(":")
            yield Listener(_address(address), int(port, 16), words[9])


def _address(digits: str) -> str:
    """Each 32 bits are printed as a number of the machine's byte order; IPv4 in IPv6 is told as IPv4."""
    raw = b"".join(int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    if raw.startswith(bytes(10) + b"\xff\xff"):
        raw = raw[12:]
    return inet_ntop(AF_INET if len(raw) == 4 else AF_INET6, raw)


def warnings(
    forwards: Iterable[tuple[str, Forward]],
    there: Mapping[str, Collection[Listener]],
    *,
    page: int = 0,
    ours: Collection[str] = (),
) -> list[Note]:
    """A note for each port of the machine that is forwarded and that a program of the machine listens on.

    forwards: (container, forward).  there: by protocol.  page: our page's port, which it keeps at localhost;
    ours: addresses where our own name server listens, which keeps its port there.
    """
    found: dict[Note, None] = {}
    for who, forward in forwards:
        for listener in there.get(forward.proto, ()):
            if not forward.host <= listener.port <= forward.last or not _reaches(forward, listener.address):
                continue
            if listener.address in ours and listener.port == 53:
                continue
            port = f"port {listener.port}/{forward.proto}"
            loopback = listener.address.startswith("127.") or listener.address == "::1"
            if listener.port == page and forward.proto == "tcp" and loopback:
                note = Note(
                    f"{port} leads to {who} at the machine's addresses, and to this page at localhost",
                    "the page listens on it",
                    "Use another port for one of them: the page's is page.port in config.toml.",
                )
            else:
                note = Note(
                    f"{port} leads to {who} from now on",
                    f"a program of this machine listens on it at {listener.address}, and gets no more of it",
                    "Use another port of the machine, or stop that program.",
                )
            found[note] = None
    return list(found)


def _reaches(forward: Forward, address: str) -> bool:
    """Whether the forward takes connections that the listener would have got."""
    if not forward.listen or forward.listen == address:
        return True
    family = 6 if ":" in address else 4
    if address == "::":  # it gets IPv4, too, unless it said that it does not want it
        return True
    return forward.family == family and not _ANY.isdisjoint((forward.listen, address))
