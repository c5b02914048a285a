"""The tables of iptables-legacy, read from the kernel: linux/netfilter_ipv4/ip_tables.h and its IPv6 twin.

A raw socket's options give a table as its entries, one after the other; a chain begins with an entry whose
target is ERROR and holds its name, and ends with a return.  No process is needed, as iptables-save would be.
"""

from __future__ import annotations

import _socket
import errno
import struct
from contextlib import contextmanager

from nspawn.kernel import libc
from nspawn.model.chains import PREFIX, Seen, jump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32sI5I5III")
_HEADER = 40  # of struct ipt_get_entries: name, size, and room up to a multiple of 8
_TARGET = 32  # of struct xt_entry_target: size, name[29], revision
_STANDARD, _ERROR = b"", b"ERROR"


class _Family:
    """level: of the socket's options.

    Of an entry, offset: where its target's offset is; links: where the interfaces are; size: of all.
    """

    def __init__(
        self, domain: int, level: int, revisions: tuple[int, int], entry: tuple[int, int, int], names: str
    ) -> None:
        self.domain = domain
        self.level = level
        self.match, self.target = revisions  # ..._SO_GET_REVISION_MATCH, _TARGET
        self.offset, self.links, self.size = entry
        self.names = names


_FAMILIES = {
    4: _Family(_socket.AF_INET, 0, (66, 67), (88, 16, 112), "/proc/net/ip_tables_names"),
    6: _Family(_socket.AF_INET6, 41, (68, 69), (140, 64, 168), "/proc/net/ip6_tables_names"),
}


@contextmanager
def _socket_of(family: int) -> Iterator[tuple[_Family, int]]:
    kind = _FAMILIES[family]
    end = _socket.socket(kind.domain, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 255)  # IPPROTO_RAW
    try:
        yield kind, end.fileno()
    finally:
        end.close()


def in_use(family: int) -> frozenset[str]:
    """The tables that this network namespace has; asking for another makes it."""
    try:
        with open(_FAMILIES[family].names, encoding="ascii") as file:
            return frozenset(file.read().split())
    except OSError:  # no ip_tables, or nobody has asked for it
        return frozenset()


def is_loaded(family: int) -> bool:
    """Whether the kernel answers at all: ip_tables may be a module that the first tool loads."""
    with _socket_of(family) as (kind, end):
        try:
            _info(kind, end, "filter")
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True


def has_table(family: int, table: str) -> bool:
    """Whether the kernel has the table; it is made, as by iptables."""
    if table in in_use(family):
        return True
    with _socket_of(family) as (kind, end):
        try:
            _info(kind, end, table)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOPROTOOPT, errno.EINVAL):
                return False
            raise
    return True


def has_extension(family: int, name: str, *, target: bool) -> bool:
    """Whether the kernel has the match or target, in whatever revision; its module is loaded."""
    with _socket_of(family) as (kind, end):
        question = struct.pack("29sB", name.encode(), 0)
        try:
            libc.getsockopt(end, kind.level, kind.target if target else kind.match, question, len(question))
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:  # it is there, in other revisions only
                return True
            if error.errno in (errno.ENOENT, errno.ENOPROTOOPT, errno.EINVAL):
                return False
            raise
    return True


def observe(family: int) -> dict[str, Seen]:
    """What is of ours, by table; OSError when the kernel does not tell."""
    tables = sorted(in_use(family))
    if not tables:
        return {}
    found = {}
    with _socket_of(family) as (kind, end):
        for table in tables:
            hooks, entries = _entries(kind, end, table)
            seen = parse(kind, hooks, entries) if PREFIX.encode() in entries else Seen()
            if seen != Seen():
                found[table] = seen
    return found


def _info(kind: _Family, end: int, table: str) -> tuple[dict[str, int], int]:
    """(where each built-in chain begins, bytes of all entries)."""
    answer = libc.getsockopt(end, kind.level, _GET_INFO, struct.pack("32s", table.encode()), _INFO.size)
    _name, valid, *rest = _INFO.unpack(answer)
    hooks = {name: rest[number] for number, name in enumerate(_HOOKS) if valid >> number & 1}
    return hooks, rest[-1]


def _entries(kind: _Family, end: int, table: str) -> tuple[dict[str, int], bytes]:
    for _ in range(50):
        hooks, size = _info(kind, end, table)
        question = struct.pack("32sI4x", table.encode(), size)
        try:
            answer = libc.getsockopt(end, kind.level, _GET_ENTRIES, question, _HEADER + size)
        except OSError as error:
            if error.errno == errno.EAGAIN:  # another program has changed it between
                continue
            raise
        return hooks, answer[_HEADER:]
    raise OSError(errno.EAGAIN, f"the table {table} changes all the time")


def parse(kind: _Family, hooks: Mapping[str, int], entries: bytes) -> Seen:
    """What is of ours in a table's entries.  hooks: where chains begin."""
    offset, size = kind.offset, kind.size
    chains: dict[str, int] = {}
    starts: dict[int, str] = {}  # of our chains
    rules: list[tuple[str, int, int, tuple[str, str] | None]] = []  # (chain, position, to, for what)
    begins = {start: name for name, start in hooks.items()}
    chain, position, at = "", 0, 0
    while at < len(entries):
        target, following = struct.unpack_from("=HH", entries, at + offset)
        if following < size:
            raise OSError(errno.EBADMSG, "an entry of the table has no length")
        name = entries[at + target + 2 : at + target + 31].partition(b"\0")[0]
        if at in begins:
            chain, position = begins[at], 0
        if name == _ERROR:
            chain = (
                entries[at + target + _TARGET : at + following].partition(b"\0")[0].decode("utf-8", "replace")
            )
            position = 0
            if chain.startswith(PREFIX):
                chains[chain] = -1  # the return at its end is no rule
                starts[at + following] = chain
        else:
            position += 1
            if chain in chains:
                chains[chain] += 1
            elif name == _STANDARD:
                (verdict,) = struct.unpack_from("=i", entries, at + target + _TARGET)
                # In front of the target's offset are what the rule matches, and a number of the kernel's.
                plain = target == size and chain in hooks
                way = _interface(kind.links, entries[at : at + offset - 4]) if plain else None
                rules.append((chain, position, verdict, way))
        at += following
    jumps: dict[str, tuple[tuple[int, str], ...]] = {}
    held = set()
    for source, place, to, way in rules:
        if to in starts:
            text = jump(starts[to], *way) if way else ""
            if text:
                jumps[source] = (*jumps.get(source, ()), (place, text))
            else:
                held.add(starts[to])
    return Seen(chains, jumps, frozenset(held))


def _interface(links: int, matched: bytes) -> tuple[str, str] | None:
    """("-i" or "-o", name) when an entry matches an interface only, ("", "") when nothing, None when more.

    Each way has a name and, behind both names, a mask of the bytes that count: with the name's end, or up to
    the + of a pattern.
    """
    if not any(matched):
        return "", ""
    for way, at in (("-i", links), ("-o", links + 16)):
        name = matched[at : at + 16].partition(b"\0")[0]
        counts = len(name) - 1 if name.endswith(b"+") else len(name) + 1
        mask = (b"\xff" * counts).ljust(16, b"\0")
        only = bytes(at) + name.ljust(32, b"\0") + mask
        if name and matched == only.ljust(len(matched), b"\0"):
            return way, name.decode("utf-8", "replace")
    return None
