"""DNS messages as bytes: a question is read, an answer built (RFC 1035; EDNS is RFC 6891).

Pure and small.  What comes in is hostile: nothing here follows a pointer in a question, loops over more than
the message has bytes, or allocates more than it.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

A, NS, SOA, PTR, AAAA, OPT, IXFR, AXFR, ANY = 1, 2, 6, 12, 28, 41, 251, 252, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

#: Bytes of the largest query that is read: a name, and an OPT with all that its options may reasonably say.
LARGEST_QUERY = 2048
#: Bytes that every client takes by UDP; and what servers are asked for: few paths fragment it (RFC 9715).
SMALLEST, UNFRAGMENTED = 512, 1232

_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_QR, _AA, _TC, _RD, _RA, _AD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
_OPCODE = 0x7800
_DO = 0x8000
_LONGEST_NAME = 255
_LONGEST_LABEL = 63
_MOST_EXTRA = 8
#: The question's name, which begins behind the header.
_QUESTION_NAME = b"\xc0\x0c"


class Malformed(Exception):
    """No question.  rcode: what to say about it; -1 for a message that gets no answer at all."""

    def __init__(self, rcode: int) -> None:
        super().__init__(rcode)
        self.rcode = rcode


class Question:
    """What a client asks.

    name: its labels in lower case.  section: the question as it came, to be repeated in the answer.
    size: bytes that the client takes by UDP.  edns: whether it knows EDNS; dnssec: its DO bit.
    """

    __slots__ = ("dnssec", "edns", "flags", "ident", "kind", "klass", "name", "section", "size")

    def __init__(
        self,
        *,
        ident: int,
        flags: int,
        name: tuple[bytes, ...],
        kind: int,
        klass: int,
        section: bytes,
    ) -> None:
        self.ident = ident
        self.flags = flags
        self.name = name
        self.kind = kind
        self.klass = klass
        self.section = section
        self.size = SMALLEST
        self.edns = False
        self.dnssec = False


class Answer:
    """A record of an answer about the name that was asked for.  ttl: seconds."""

    __slots__ = ("data", "kind", "ttl")

    def __init__(self, kind: int, ttl: int, data: bytes) -> None:
        self.kind = kind
        self.ttl = ttl
        self.data = data


def read_question(data: bytes) -> Question:
    """The one question of a query; Malformed when there is not exactly one that makes sense."""
    if not _HEADER.size < len(data) <= LARGEST_QUERY:
        raise Malformed(-1)
    ident, flags, questions, answers, authority, extra = _HEADER.unpack_from(data)
    if flags & _QR:
        raise Malformed(-1)  # answering answers would let two servers talk for ever
    if flags & _OPCODE:
        raise Malformed(NOTIMP)
    if questions != 1 or answers or authority > 1 or extra > _MOST_EXTRA:
        raise Malformed(FORMERR)
    name, at = _labels(data, _HEADER.size)
    if at + 4 > len(data):
        raise Malformed(FORMERR)
    kind, klass = struct.unpack_from(">HH", data, at)
    found = Question(
        ident=ident, flags=flags, name=name, kind=kind, klass=klass, section=data[_HEADER.size : at + 4]
    )
    at += 4
    for number in range(authority + extra):
        at = _extra(data, at, found, optional=number >= authority)
    return found


def _labels(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    start, labels = at, list[bytes]()
    while True:
        if at >= len(data):
            raise Malformed(FORMERR)
        length = data[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > _LONGEST_LABEL or at + length >= len(data) or at + length - start >= _LONGEST_NAME:
            raise Malformed(FORMERR)
        labels.append(data[at : at + length].lower())
        at += length


def _extra(data: bytes, at: int, question: Question, *, optional: bool) -> int:
    """Read a record behind the question, of which only OPT means something; where the next begins."""
    root = data[at : at + 1] == b"\0"
    at = _skip_name(data, at)
    if at < 0 or at + _RECORD.size > len(data):
        raise Malformed(FORMERR)
    kind, klass, ttl, length = _RECORD.unpack_from(data, at)
    at += _RECORD.size + length
    if at > len(data):
        raise Malformed(FORMERR)
    if kind == OPT and optional:
        if question.edns or not root:
            raise Malformed(FORMERR)
        question.edns = True
        question.dnssec = bool(ttl & _DO)
        question.size = max(SMALLEST, klass)
        if ttl >> 16 & 0xFF:
            raise Malformed(BADVERS)
    return at


def _skip_name(data: bytes, at: int) -> int:
    """Where a name ends, a pointer being its end; -1 when it does not."""
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > _LONGEST_LABEL:
            return -1
        at += 1 + length
    return -1


# Answers


def answer(
    question: Question,
    rcode: int,
    records: Iterable[Answer] = (),
    *,
    authority: bytes = b"",
    ours: bool = True,
) -> bytes:
    """An answer to the question.

    authority: a whole record for the authority section, or nothing; ours: whether we are its authority.
    """
    records = tuple(records)
    flags = _QR | (_AA if ours else 0) | _kept(question) | _RA | rcode & 0xF
    parts = [
        _HEADER.pack(question.ident, flags, 1, len(records), int(bool(authority)), int(question.edns)),
        question.section,
    ]
    for record in records:
        parts += (
            _QUESTION_NAME,
            _RECORD.pack(record.kind, IN, record.ttl, len(record.data)),
            record.data,
        )
    parts += (authority, _opt(question, rcode))
    return b"".join(parts)


def failure(question: Question, rcode: int = SERVFAIL) -> bytes:
    """The answer that there is none."""
    return answer(question, rcode, ours=False)


def complaint(data: bytes, rcode: int) -> bytes:
    """The answer to what Malformed was raised about."""
    ident, flags = struct.unpack_from(">HH", data)
    kept = flags & (_OPCODE | _RD)
    if rcode != BADVERS:
        return _HEADER.pack(ident, _QR | kept | rcode, 0, 0, 0, 0)
    high = rcode >> 4 << 24
    return (
        _HEADER.pack(ident, _QR | kept | rcode & 0xF, 0, 0, 0, 1) + b"\0" + _RECORD.pack(OPT, 1232, high, 0)
    )


def truncated(question: Question) -> bytes:
    """The answer that says: ask by TCP."""
    flags = _QR | _TC | _kept(question) | _RA
    head = _HEADER.pack(question.ident, flags, 1, 0, 0, int(question.edns))
    return head + question.section + _opt(question, NOERROR)


def _kept(question: Question) -> int:
    return question.flags & (_RD | _CD)


def _opt(question: Question, rcode: int) -> bytes:
    if not question.edns:
        return b""
    ttl = rcode >> 4 << 24 | (_DO if question.dnssec else 0)
    return b"\0" + _RECORD.pack(OPT, UNFRAGMENTED, ttl, 0)


def soa(labels: Iterable[bytes], ttl: int) -> bytes:
    """The SOA record of a zone of ours, which says how long an absence may be remembered (RFC 2308)."""
    zone = name(labels)
    numbers = struct.pack(">IIIII", 1, 3600, 600, 86400, ttl)
    data = b"\0" + b"\x0ahostmaster" + zone + numbers
    return zone + _RECORD.pack(SOA, IN, ttl, len(data)) + data


def name(labels: Iterable[bytes]) -> bytes:
    """A name as it travels, without pointers; ValueError when it cannot be one."""
    parts = []
    for label in labels:
        if not 0 < len(label) <= _LONGEST_LABEL:
            raise ValueError(f"no label of a name: {label[:70]!r}")
        parts.append(bytes((len(label),)) + label)
    found = b"".join(parts) + b"\0"
    if len(found) > _LONGEST_NAME:
        raise ValueError("a name is too long")
    return found


# Asking servers, and their replies


def query(question: Question, ident: int) -> bytes:
    """The question again, for a server.

    Made anew: nothing of a hostile query goes on but its name, and options of EDNS (cookies, padding, client
    subnet) are for the next hop alone.
    """
    flags = question.flags & (_RD | _AD | _CD)
    head = _HEADER.pack(ident, flags, 1, 0, 0, int(question.edns))
    return head + question.section + _opt(question, NOERROR)


def is_reply(sent: bytes, reply: bytes) -> bool:
    """Whether this answers that query: its number and its question, in whatever case.

    A server that could not read the question may leave it out, with an error.
    """
    if len(reply) < _HEADER.size or reply[:2] != sent[:2] or not reply[2] & 0x80:
        return False
    end = _skip_name(sent, _HEADER.size) + 4
    questions = reply[4] << 8 | reply[5]
    if questions == 0:
        return rcode(reply) not in (NOERROR, NXDOMAIN)
    theirs, ours = reply[_HEADER.size : end], sent[_HEADER.size : end]
    return questions == 1 and theirs[:-4].lower() == ours[:-4].lower() and theirs[-4:] == ours[-4:]


def rcode(reply: bytes) -> int:
    """Of a message with a header, without the bits that EDNS adds."""
    return reply[3] & 0xF


def is_truncated(reply: bytes) -> bool:
    return bool(reply[2] & 2)


def for_client(question: Question, reply: bytes) -> bytes:
    """A server's reply under the client's number, and with its spelling of the name."""
    head = question.ident.to_bytes(2, "big") + reply[2:12]
    if reply[4:6] == b"\0\0":
        return head + reply[12:]
    return head + question.section + reply[12 + len(question.section) :]


def ask(labels: Iterable[bytes], kind: int, ident: int) -> bytes:
    """A query of our own."""
    return _HEADER.pack(ident, _RD, 1, 0, 0, 0) + name(labels) + struct.pack(">HH", kind, IN)


def values(reply: bytes, kind: int) -> list[bytes]:
    """The data of all records of this kind in the answer section of a reply to one question."""
    found = []
    at = _skip_name(reply, _HEADER.size) + 4
    for _ in range(reply[6] << 8 | reply[7]):
        at = _skip_name(reply, at) if at > 3 else -1
        if at < 0 or at + _RECORD.size > len(reply):
            break
        that, klass, _ttl, length = _RECORD.unpack_from(reply, at)
        at += _RECORD.size + length
        if at > len(reply):
            break
        if that == kind and klass == IN:
            found.append(reply[at - length : at])
    return found


# Addresses as names


def address_of(labels: tuple[bytes, ...]) -> bytes | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; None of any other name."""
    zone, parts = labels[-2:], labels[-3::-1]
    try:
        if zone == (b"in-addr", b"arpa") and len(parts) == 4 and all(part.isdigit() for part in parts):
            return bytes(int(part) for part in parts)
        if zone == (b"ip6", b"arpa") and len(parts) == 32 and all(len(part) == 1 for part in parts):
            return bytes.fromhex(b"".join(parts).decode("ascii"))
    except ValueError:
        pass
    return None
