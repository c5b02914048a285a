"""The tables of iptables-nft, read from the kernel: nfnetlink, linux/netfilter/nf_tables.h.

iptables-nft keeps its rules in tables of these names; a jump without conditions is a counter and a verdict,
one of an interface's packets compares its name before.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
from contextlib import closing

from nspawn.kernel.routes import messages
from nspawn.model.chains import PREFIX, TABLES, Seen, jump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NETLINK_NETFILTER = 12
_NFTABLES, _COMPAT = 10 << 8, 11 << 8
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _GETRULE = (
    _NFTABLES | number for number in (0, 1, 2, 3, 4, 7)
)
_BATCH_BEGIN, _BATCH_END = 16, 17
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _CREATE = 1, 4, 0x300, 0x400
_HEADER = struct.Struct("=IHHII")
_SIZE = 1 << 16
_SECONDS = 5.0
_TABLE, _CHAIN, _EXPRESSIONS = 1, 2, 4  # NFTA_RULE_*
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_ACCEPT = struct.pack(">I", 1)
_ELEM, _EXPR_NAME, _EXPR_DATA = 1, 1, 2
_IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 2, 2, 1, 2
_JUMP = struct.pack(">i", -3)
_META_KEY, _CMP_OP, _CMP_DATA, _VALUE = 2, 2, 3, 1
_WAYS = {struct.pack(">I", 6): "-i", struct.pack(">I", 7): "-o"}  # NFT_META_IIFNAME, NFT_META_OIFNAME
_EQUAL = struct.pack(">I", 0)
_TRY = b"nspawn-try\0"
_LAST = 9


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, *values: bytes) -> bytes:
    return _attribute(kind | 0x8000, b"".join(values))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _message(kind: int, flags: int, sequence: int, family: int, payload: bytes, resource: int = 0) -> bytes:
    body = struct.pack(">BBH", family, 0, resource) + payload
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, sequence, 0) + body


def _domain(family: int) -> int:
    return int(_socket.AF_INET if family == 4 else _socket.AF_INET6)


class _Nfnetlink:
    """A socket for questions; OSError when the kernel has no nfnetlink."""

    def __init__(self) -> None:
        self._end = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self._end.settimeout(_SECONDS)
        self._end.bind((0, 0))

    def close(self) -> None:
        self._end.close()

    def dump(self, kind: int, family: int, payload: bytes = b"") -> list[bytes]:
        """Payloads of the answers, without their headers; again when the rules change meanwhile (EINTR)."""
        for _ in range(50):
            self._end.send(_message(kind, _DUMP, 1, _domain(family), payload))
            found, whole, done = [], True, False
            while not done:
                data = self._end.recv(_SIZE)
                whole = whole and not _interrupted(data)
                for answer, body in messages(data):
                    if answer == _DONE:
                        done = True
                    elif answer == _ERROR:
                        _raise(body)
                    else:
                        found.append(body[4:])
            if whole:
                return found
        raise OSError(errno.EAGAIN, "the rules change all the time")

    def ask(self, message: bytes, last: int = 1) -> list[tuple[int, bytes]]:
        """What comes back, up to the answer to the message with this number, or to the first of them."""
        self._end.send(message)
        found: list[tuple[int, bytes]] = []
        while True:
            data = self._end.recv(_SIZE)
            found += messages(data)
            if _HEADER.unpack_from(data)[3] in (1, last):
                return found


def _interrupted(data: bytes) -> bool:
    """NLM_F_DUMP_INTR in any of the messages."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, _kind, flags, _sequence, _pid = _HEADER.unpack_from(data, at)
        if flags & 0x10:
            return True
        at += max(_HEADER.size, (length + 3) & ~3)
    return False


def _raise(body: bytes) -> None:
    number = -struct.unpack_from("=i", body)[0]
    if number:
        raise OSError(number, os.strerror(number))


def in_use(family: int) -> frozenset[str]:
    """The tables that this network namespace has."""
    with closing(_Nfnetlink()) as kernel:
        names = [dict(_attributes(body)).get(_TABLE) for body in kernel.dump(_GETTABLE, family)]
    return frozenset(_text(name) for name in names)


def observe(family: int) -> dict[str, Seen]:
    """What is of ours, by table; OSError when the kernel does not tell."""
    with closing(_Nfnetlink()) as kernel:
        chains: dict[str, dict[str, int]] = {}
        for body in kernel.dump(_GETCHAIN, family):
            texts = dict(_attributes(body))
            table, chain = _text(texts.get(_CHAIN_TABLE)), _text(texts.get(_CHAIN_NAME))
            if chain.startswith(PREFIX) and table in TABLES:
                chains.setdefault(table, {})[chain] = 0
        return {
            table: _seen(found, kernel.dump(_GETRULE, family, _attribute(_TABLE, table.encode() + b"\0")))
            for table, found in chains.items()
        }


def drop_empty(family: int, tables: Iterable[str]) -> None:
    """Delete those of the tables in which there is nothing: built-in chains without rules that accept."""
    with closing(_Nfnetlink()) as kernel:
        used = set()
        for body in kernel.dump(_GETCHAIN, family):
            texts = dict(_attributes(body))
            if texts.get(_CHAIN_POLICY) != _ACCEPT:
                used.add(texts.get(_CHAIN_TABLE))
        used |= {dict(_attributes(body)).get(_TABLE) for body in kernel.dump(_GETRULE, family)}
        there = {dict(_attributes(body)).get(_TABLE) for body in kernel.dump(_GETTABLE, family)}
        for table in tables:
            name = table.encode() + b"\0"
            if name in there - used:
                batch = [_message(_BATCH_BEGIN, 0, 1, 0, b"", _NFTABLES >> 8)]
                batch.append(_message(_DELTABLE, _ACK, _LAST, _domain(family), _attribute(1, name)))
                batch.append(_message(_BATCH_END, 0, 10, 0, b"", _NFTABLES >> 8))
                for kind, body in kernel.ask(b"".join(batch), _LAST):
                    if kind == _ERROR:
                        _raise(body)


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")


def _seen(chains: dict[str, int], rules: Iterable[bytes]) -> Seen:
    """rules: all of the table, in the order of their chains."""
    jumps: dict[str, tuple[tuple[int, str], ...]] = {}
    held: set[str] = set()
    positions: dict[str, int] = {}
    for body in rules:
        texts = dict(_attributes(body))
        chain = _text(texts.get(_CHAIN))
        if chain in chains:
            chains[chain] += 1
            continue
        positions[chain] = positions.get(chain, 0) + 1
        expressions = texts.get(_EXPRESSIONS, b"")
        if PREFIX.encode() not in expressions:
            continue
        to, text = _jump(expressions)
        if to in chains and text and chain.isupper():  # built-in chains are in capitals
            jumps[chain] = (*jumps.get(chain, ()), (positions[chain], text))
        else:
            held.update(name for name in chains if name.encode() + b"\0" in expressions)
    return Seen(chains, jumps, frozenset(held))


def _jump(expressions: bytes) -> tuple[str, str]:
    """(where a rule jumps, its text when it does nothing but that, for all or for an interface)."""
    to, way, name, plain = "", "", "", True
    for kind, element in _attributes(expressions):
        parts = dict(_attributes(element)) if kind == _ELEM else {}
        expression = _text(parts.get(_EXPR_NAME))
        data = dict(_attributes(parts.get(_EXPR_DATA, b"")))
        if expression == "immediate":
            value = dict(_attributes(data.get(_IMMEDIATE_DATA, b"")))
            verdict = dict(_attributes(value.get(_DATA_VERDICT, b"")))
            to = _text(verdict.get(_VERDICT_CHAIN))
            plain = plain and verdict.get(_VERDICT_CODE) == _JUMP
        elif expression == "meta" and not way:
            way = _WAYS.get(data.get(_META_KEY, b""), "")
            plain = plain and way != ""
        elif expression == "cmp" and way and not name:
            value = dict(_attributes(data.get(_CMP_DATA, b"")))
            name = _name(value.get(_VALUE, b""))
            plain = plain and data.get(_CMP_OP) == _EQUAL
        elif expression != "counter":
            plain = False
    return to, jump(to, way, name) if plain else ""


def _name(compared: bytes) -> str:
    """An interface as iptables spells it; what is compared without the name's end is a pattern."""
    return _text(compared) if compared.endswith(b"\0") else f"{_text(compared)}+"


def has_extension(family: int, name: str, *, target: bool) -> bool:
    """Whether the kernel has the match or target of xtables for nf_tables; its module is loaded."""
    payload = (
        _attribute(1, name.encode() + b"\0")
        + _attribute(2, struct.pack(">I", 0))
        + _attribute(3, struct.pack(">I", target))
    )
    with closing(_Nfnetlink()) as kernel:
        kind, body = kernel.ask(_message(_COMPAT, 0, 1, _domain(family), payload))[0]
    number = -struct.unpack_from("=i", body)[0] if kind == _ERROR else 0
    return number in (0, errno.EPROTONOSUPPORT)


def usable_hooks(family: int) -> dict[str, bool]:
    """Whether the kernel has chains of the types `filter`, `nat` and `route`.

    Tried for real in a transaction that is then made to fail, so that nothing is left of it.
    """
    kinds = {"filter": (0, 0), "nat": (0, -100), "route": (3, -150)}  # (hook, priority)
    domain = _domain(family)
    batch = [_message(_BATCH_BEGIN, 0, 1, 0, b"", _NFTABLES >> 8)]
    batch.append(_message(_NEWTABLE, _CREATE | _ACK, 2, domain, _attribute(1, _TRY)))
    for sequence, (name, (hook, priority)) in enumerate(kinds.items(), 3):
        where = _attribute(1, struct.pack(">I", hook)) + _attribute(2, struct.pack(">i", priority))
        payload = (
            _attribute(_CHAIN_TABLE, _TRY)
            + _attribute(_CHAIN_NAME, name.encode() + b"\0")
            + _nested(_CHAIN_HOOK, where)
            + _attribute(_CHAIN_TYPE, name.encode() + b"\0")
        )
        batch.append(_message(_NEWCHAIN, _CREATE | _ACK, sequence, domain, payload))
    batch.append(_message(_DELTABLE, _ACK, _LAST, domain, _attribute(1, b"nspawn-none\0")))
    batch.append(_message(_BATCH_END, 0, 10, 0, b"", _NFTABLES >> 8))
    with closing(_Nfnetlink()) as kernel:
        answers = kernel.ask(b"".join(batch), _LAST)
        failed = {}
        for kind, body in answers:
            if kind == _ERROR:
                number, _length, _kind, _flags, sequence = struct.unpack_from("=iIHHI", body)
                failed[sequence] = number
    if 1 in failed:  # the kernel has no nf_tables
        return dict.fromkeys(kinds, False)
    return {name: not failed.get(sequence) for sequence, name in enumerate(kinds, 3)}
