"""Forwards: ports of the machine that lead to a container.

Pure and small: the command line reads it on the start path.  A forward's text is
`[ADDRESS:]HOST[-HOST]:CONTAINER[/tcp|udp]`; a range counts up on both sides.  With the same ports on both
sides it is one rule of the firewall, otherwise one for each port: to shift a range takes iptables 1.8.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from nspawn.errors import Conflict, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LAST_PORT = 65535
#: Ports of a range whose numbers differ on both sides.
MOST_SHIFTED = 1024
#: Termux's sshd: often the only way into a phone (facts: quirks, Termux).
RESERVED = ("tcp", 8022)
_PROTOCOLS = ("tcp", "udp")
_HINT = "Use [ADDRESS:]HOST[-HOST]:CONTAINER[/tcp|udp], such as 8080:80, 5000-5010:5000 or [::1]:53:53/udp."
_HINT_RANGE = "Use START:END, such as 2000:2010; for a single or another port use -p HOST:CONTAINER."


class Forward:
    """listen: the address it is limited to, "" for all of the machine's; 0.0.0.0 and :: are all of a family.

    host, container: the first port on each side; ports: how many.
    """

    __slots__ = ("container", "host", "listen", "ports", "proto")

    def __init__(self, proto: str, listen: str, host: int, container: int, ports: int = 1) -> None:
        self.proto = proto
        self.listen = listen
        self.host = host
        self.container = container
        self.ports = ports

    @property
    def last(self) -> int:
        """The last port of the machine."""
        return self.host + self.ports - 1

    @property
    def shifted(self) -> bool:
        """Whether the two sides have different numbers."""
        return self.host != self.container

    @property
    def family(self) -> int:
        """4 or 6 when it is limited to an address, 0 for both."""
        return (6 if ":" in self.listen else 4) if self.listen else 0

    @property
    def key(self) -> tuple[str, int, str, int, int]:
        return (self.proto, self.host, self.listen, self.ports, self.container)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forward) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Forward({str(self)!r})"

    def __str__(self) -> str:
        """The one spelling, which parse_publish() reads again."""
        listen = f"[{self.listen}]:" if self.family == 6 else f"{self.listen}:" if self.listen else ""
        return f"{listen}{self._ports}:{self.container}/{self.proto}"

    @property
    def _ports(self) -> str:
        return f"{self.host}-{self.last}" if self.ports > 1 else str(self.host)

    def told(self) -> str:
        """For people: `port 8080/tcp`, `ports 2000-2010/udp of 127.0.0.1`."""
        several = "ports" if self.ports > 1 else "port"
        return f"{several} {self._ports}/{self.proto}" + (f" of {self.listen}" if self.listen else "")


def parse_publish(text: str) -> Forward:
    """A forward from its text, tcp when it does not say; or UsageError."""
    rest, slash, proto = text.partition("/")
    if slash and proto not in _PROTOCOLS:
        raise _wrong(text, f"{proto!r} is neither tcp nor udp")
    listen, hosts, containers = _split(text, rest)
    first, last = _ports_of(text, hosts)
    inner_first, inner_last = _ports_of(text, containers)
    ports = last - first + 1
    if "-" in containers and inner_last - inner_first + 1 != ports:
        raise _wrong(text, "the two ranges are not equally long")
    if inner_first + ports - 1 > LAST_PORT:
        raise _wrong(text, f"the container's ports would go up to {inner_first + ports - 1}")
    if inner_first != first and ports > MOST_SHIFTED:
        reason = f"{ports} ports with other numbers inside; at most {MOST_SHIFTED} can have others"
        raise _wrong(text, reason, "Use the same numbers on both sides, or a shorter range.")
    return Forward(proto or "tcp", listen, first, inner_first, ports)


def parse_range(text: str) -> tuple[Forward, Forward]:
    """`START:END`, the same ports inside: one forward for tcp and one for udp; or UsageError."""
    start, colon, end = text.partition(":")
    if not colon or not _is_number(start) or not _is_number(end):
        raise UsageError(f"{text[:80]!r} is not a range of ports", hint=_HINT_RANGE)
    try:
        first, last = _ports_of(text, f"{start}-{end}")
    except UsageError as error:
        raise UsageError(f"{text[:80]!r} is not a range of ports", error.why, _HINT_RANGE) from None
    tcp, udp = (Forward(proto, "", first, first, last - first + 1) for proto in _PROTOCOLS)
    return tcp, udp


def _split(text: str, rest: str) -> tuple[str, str, str]:
    """(address, ports of the machine, ports of the container)."""
    if rest.startswith("["):
        address, bracket, rest = rest[1:].partition("]:")
        if not bracket:
            raise _wrong(text, "after an IPv6 address comes ]:")
        listen = parse_listen(text, address, AF_INET6)
    elif rest.count(":") == 2:
        address, _, rest = rest.partition(":")
        listen = parse_listen(text, address, AF_INET)
    else:
        listen = ""
    hosts, colon, containers = rest.partition(":")
    if not colon or ":" in containers:
        several = rest.count(":") > 1
        raise _wrong(
            text, "an IPv6 address goes into brackets" if several else "the container's port is missing"
        )
    return listen, hosts, containers


def parse_listen(text: str, address: str, family: int) -> str:
    """The address in its one spelling, or UsageError about the text."""
    try:
        raw = inet_pton(family, address)
    except (OSError, ValueError):  # ValueError: NUL
        raise _wrong(text, f"{address[:60]!r} is not an address of this machine") from None
    if raw[0] == 0xFF or (family == AF_INET and raw[0] >= 224):
        raise _wrong(text, f"{address} belongs to no single machine")
    if family == AF_INET6 and raw[0] == 0xFE and raw[1] & 0xC0 == 0x80:
        raise _wrong(text, f"{address} is link-local: a connection to it cannot be passed on")
    return inet_ntop(family, raw)


def _ports_of(text: str, words: str) -> tuple[int, int]:
    """First and last of `PORT` or `PORT-PORT`."""
    start, dash, end = words.partition("-")
    numbers = []
    for word in (start, end if dash else start):
        if not _is_number(word):
            raise _wrong(text, f"{word[:40]!r} is not a port" if word else "a port is missing")
        if not 1 <= int(word) <= LAST_PORT:
            raise _wrong(text, f"ports go from 1 to {LAST_PORT}, and not to {word}")
        numbers.append(int(word))
    if numbers[1] < numbers[0]:
        raise _wrong(text, f"the range ends with {numbers[1]}, before it begins")
    return numbers[0], numbers[1]


def _is_number(word: str) -> bool:
    # int() takes "1_0", " 1 ", "+1" and other scripts' digits as well.
    return word.isascii() and word.isdigit() and len(word) <= 9


def _wrong(text: str, why: str, hint: str = _HINT) -> UsageError:
    return UsageError(f"{text[:80]!r} is not a forward", why, hint)


def without_reserved(forward: Forward) -> tuple[tuple[Forward, ...], str]:
    """The forward without port 8022 of Termux's sshd, and a note when it was left out of a range.

    Raises UsageError when it is just that port.
    """
    proto, port = RESERVED
    if forward.proto != proto or not forward.host <= port <= forward.last:
        return (forward,), ""
    if forward.ports == 1:
        raise UsageError(
            f"port {port} stays with Termux's sshd",
            "otherwise the way into the phone may be lost",
            "Use another port of the phone, such as 8023.",
        )
    before = port - forward.host
    parts = [
        Forward(proto, forward.listen, forward.host, forward.container, before),
        Forward(proto, forward.listen, port + 1, forward.container + before + 1, forward.last - port),
    ]
    note = f"{forward.told()} without {port}, which stays with Termux's sshd"
    return tuple(part for part in parts if part.ports), note


def overlaps(one: Forward, other: Forward) -> bool:
    """Whether some connection would belong to both."""
    return (
        one.proto == other.proto
        and one.host <= other.last
        and other.host <= one.last
        and _same_place(one, other)
    )


def _same_place(one: Forward, other: Forward) -> bool:
    if not one.listen or not other.listen or one.listen == other.listen:
        return True
    return one.family == other.family and _is_any(one.listen, other.listen)


def _is_any(*addresses: str) -> bool:
    return not {"0.0.0.0", "::"}.isdisjoint(addresses)  # noqa: S104


def distinct(forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    """Each once, in the given order; UsageError when two different ones overlap."""
    found = tuple(dict.fromkeys(forwards))
    pair = first_overlap((("", forward) for forward in found), (("", forward) for forward in found))
    if pair is not None:
        mine, _, other = pair
        raise UsageError(
            f"{str(other)!r} and {str(mine)!r} overlap",
            "one port of the machine leads to one port of the container",
            "Give them different ports on the machine's side, or different addresses.",
        )
    return found


def conflict(mine: Iterable[Forward], others: Iterable[tuple[str, Forward]]) -> None:
    """Raise Conflict when one of mine overlaps one of another container.  others: (its name, the forward)."""
    pair = first_overlap((("", forward) for forward in mine), others)
    if pair is not None:
        forward, who, other = pair
        raise Conflict(
            f"{forward.told()} cannot be forwarded",
            f"{who} has {other}",
            f"Use another port of the machine, or take it away from {who}.",
        )


def first_overlap(
    mine: Iterable[tuple[str, Forward]], others: Iterable[tuple[str, Forward]]
) -> tuple[Forward, str, Forward] | None:
    """(one of mine, the other's name, the other), of two that overlap and are not the same object; None.

    Sorted by port, so that thousands of forwards cost milliseconds.
    """
    line = [(forward.host, 0, who, forward) for who, forward in mine]
    line += [(forward.host, 1, who, forward) for who, forward in others]
    line.sort(key=lambda item: item[0])
    open_: list[tuple[int, str, Forward]] = []
    for _, side, who, forward in line:
        open_ = [item for item in open_ if item[2].last >= forward.host]
        for other_side, other_who, other in open_:
            if side != other_side and forward is not other and overlaps(forward, other):
                return (forward, other_who, other) if other_side else (other, who, forward)
        open_.append((side, who, forward))
    return None
