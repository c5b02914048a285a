"""DNS messages as bytes, hostile ones too."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.model import dnsmessage as dns
from nspawn.model.dnsmessage import Answer, Malformed, Question, read_question

_LABEL = st.binary(min_size=1, max_size=63)
_NAME = st.lists(_LABEL, max_size=12).filter(lambda labels: sum(map(len, labels)) + len(labels) < 255)


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def query(
    name: bytes = wire(b"www", b"example"),
    *,
    flags: int = 0x0100,
    counts: tuple[int, int, int, int] = (1, 0, 0, 0),
    kind: int = dns.A,
    klass: int = 1,
    more: bytes = b"",
) -> bytes:
    return struct.pack(">HHHHHH", 0x1234, flags, *counts) + name + struct.pack(">HH", kind, klass) + more


def opt(size: int, *, flags: int = 0, version: int = 0, options: bytes = b"") -> bytes:
    return b"\0" + struct.pack(">HHBBHH", dns.OPT, size, 0, version, flags, len(options)) + options


def rcode_of(data: bytes) -> int:
    with pytest.raises(Malformed) as caught:
        read_question(data)
    return caught.value.rcode


# Reading


def test_a_question_is_read_with_its_name_in_lower_case_and_its_section_as_it_came() -> None:
    found = read_question(query(wire(b"WWW", b"Example"), kind=dns.AAAA))
    assert (found.ident, found.name, found.kind, found.klass) == (0x1234, (b"www", b"example"), 28, 1)
    assert found.section == wire(b"WWW", b"Example") + b"\0\x1c\0\1"
    assert (found.size, found.edns, found.dnssec) == (512, False, False)


def test_edns_tells_the_size_and_whether_signatures_are_wanted() -> None:
    found = read_question(query(counts=(1, 0, 0, 1), more=opt(4096, flags=0x8000, options=b"\0\x0a\0\2ab")))
    assert (found.size, found.edns, found.dnssec) == (4096, True, True)
    assert read_question(query(counts=(1, 0, 0, 1), more=opt(1))).size == 512


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (b"", -1),
        (b"\0" * 11, -1),
        (b"\0" * 12, -1),
        (query(more=b"x" * 2048), -1),
        (query(flags=0x8100), -1),
        (query(flags=0x2800), dns.NOTIMP),
        (query(counts=(0, 0, 0, 0)), dns.FORMERR),
        (query(counts=(2, 0, 0, 0)), dns.FORMERR),
        (query(counts=(1, 1, 0, 0)), dns.FORMERR),
        (query(counts=(1, 0, 65535, 0)), dns.FORMERR),
        (query(counts=(1, 0, 0, 65535)), dns.FORMERR),
        (query(counts=(1, 0, 0, 1)), dns.FORMERR),
        (query(b"\xc0\x0c"), dns.FORMERR),
        (query(b"\x3fabc"), dns.FORMERR),
        (query(b"\x40" + b"a" * 64 + b"\0"), dns.FORMERR),
        (query(wire(*[b"a" * 62] * 5)), dns.FORMERR),
        (query()[:-1], dns.FORMERR),
        (query(counts=(1, 0, 0, 2), more=opt(512) + opt(512)), dns.FORMERR),
        (query(counts=(1, 0, 0, 1), more=b"\1a" + opt(512)), dns.FORMERR),
        (query(counts=(1, 0, 0, 1), more=opt(512, options=b"abc")[:-1]), dns.FORMERR),
        (query(counts=(1, 0, 0, 1), more=opt(512, version=1)), dns.BADVERS),
    ],
)
def test_what_is_no_question_is_refused(data: bytes, rcode: int) -> None:
    assert rcode_of(data) == rcode
    if rcode >= 0:
        said = dns.complaint(data, rcode)
        assert said[:2] == data[:2]
        assert said[2] & 0x80
        assert said[3] & 0xF == rcode & 0xF


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_refused(data: bytes) -> None:
    try:
        found = read_question(data)
    except Malformed as problem:
        said = b"" if problem.rcode < 0 else dns.complaint(data, problem.rcode)
    else:
        said = b""
        assert found.section in data
        assert read_question(dns.query(found, 7)).name == found.name
    assert len(said) <= 23


@given(st.binary(min_size=1, max_size=120), st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_question_is_a_question_or_refused(more: bytes, at: int, byte: int) -> None:
    data = bytearray(query(counts=(1, 0, 0, 2), more=opt(1400) + more))
    data[at % len(data)] = byte
    try:
        read_question(bytes(data))
    except Malformed:
        pass


@given(_NAME, st.integers(0, 65535))
def test_a_question_survives_the_way(labels: list[bytes], kind: int) -> None:
    found = read_question(dns.ask(labels, kind, 99))
    assert found.name == tuple(label.lower() for label in labels)
    assert found.kind == kind
    assert found.ident == 99


def test_a_name_that_cannot_be_one_is_an_error() -> None:
    for labels in ([b""], [b"a" * 64], [b"a" * 63] * 4):
        with pytest.raises(ValueError, match="name"):
            dns.name(labels)


# Answering


def test_an_answer_repeats_the_question_and_refers_to_its_name() -> None:
    asked = read_question(query(wire(b"Web", b"nspawn")))
    found = dns.answer(asked, dns.NOERROR, [Answer(dns.A, 5, socket.inet_aton("10.11.0.2"))])
    assert found[:12] == struct.pack(">HHHHHH", 0x1234, 0x8580, 1, 1, 0, 0)
    assert found[12 : 12 + len(asked.section)] == asked.section
    assert found[12 + len(asked.section) :] == b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\x0b\0\2"
    assert dns.values(found, dns.A) == [socket.inet_aton("10.11.0.2")]


def test_an_absence_tells_how_long_it_may_be_remembered() -> None:
    found = dns.answer(read_question(query()), dns.NXDOMAIN, authority=dns.soa((b"nspawn",), 5))
    assert struct.unpack_from(">HHHH", found, 4) == (1, 0, 1, 0)
    assert found.endswith(struct.pack(">I", 5))


def test_answers_have_an_opt_only_where_the_question_had() -> None:
    with_opt = read_question(query(counts=(1, 0, 0, 1), more=opt(4096, flags=0x8000)))
    for found in (dns.failure(with_opt), dns.truncated(with_opt)):
        assert found[-11:] == opt(1232, flags=0x8000)
        assert found[11] == 1
    for found in (dns.failure(read_question(query())), dns.truncated(read_question(query()))):
        assert found[11] == 0
    assert dns.is_truncated(dns.truncated(with_opt))
    assert not dns.is_truncated(dns.failure(with_opt))


# Asking


def test_a_server_is_asked_anew_without_the_clients_options() -> None:
    more = opt(65535, flags=0x8000, options=b"\0\x0a\0\x08cookies!")
    asked = read_question(query(flags=0x0130, counts=(1, 0, 0, 1), more=more))
    sent = dns.query(asked, 0xBEEF)
    assert sent == (
        struct.pack(">HHHHHH", 0xBEEF, 0x0130, 1, 0, 0, 1) + asked.section + opt(1232, flags=0x8000)
    )


def reply_to(sent: bytes, **changes: bytes) -> bytes:
    """The bytes of a reply; changes: name of a field and its new bytes."""
    end = len(wire(b"www", b"example")) + 16
    parts = {"ident": sent[:2], "flags": b"\x81\x80", "counts": b"\0\1\0\0\0\0\0\0", "section": sent[12:end]}
    return b"".join({**parts, **changes}.values())


def test_a_reply_is_known_by_its_number_and_its_question() -> None:
    sent = dns.query(read_question(query(kind=65)), 0xBEEF)
    assert dns.is_reply(sent, reply_to(sent))
    assert dns.is_reply(sent, reply_to(sent, section=wire(b"WWW", b"EXAMPLE") + b"\0\x41\0\1"))
    assert dns.is_reply(sent, reply_to(sent, flags=b"\x81\x81", counts=bytes(8), section=b""))
    for other in (
        b"",
        sent,
        reply_to(sent)[:11],
        reply_to(sent)[:20],
        reply_to(sent, ident=b"\xbe\xee"),
        reply_to(sent, flags=b"\x01\x80"),
        reply_to(sent, section=wire(b"www", b"examplf") + b"\0\x41\0\1"),
        reply_to(sent, section=wire(b"www", b"example") + b"\0\x61\0\1"),
        reply_to(sent, section=wire(b"www", b"example") + b"\0\x41\0\3"),
        reply_to(sent, counts=bytes(8), section=b""),
        reply_to(sent, counts=b"\0\2\0\0\0\0\0\0"),
    ):
        assert not dns.is_reply(sent, other), other


def test_the_client_gets_a_reply_under_its_number_and_with_its_spelling() -> None:
    asked = read_question(query(wire(b"wWw", b"eXample")))
    sent = dns.query(asked, 0xBEEF)
    lower = reply_to(sent, section=wire(b"www", b"example") + b"\0\1\0\1") + b"rest"
    assert dns.for_client(asked, lower) == reply_to(sent, ident=b"\x12\x34") + b"rest"
    bare = reply_to(sent, flags=b"\x81\x81", counts=bytes(8), section=b"")
    assert dns.for_client(asked, bare) == b"\x12\x34" + bare[2:]


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_reply_can_be_looked_at(noise: bytes, cut: int) -> None:
    sent = dns.ask([b"www", b"example"], dns.A, 1)
    for reply in (noise, reply_to(sent, counts=b"\0\1\xff\xff\0\0\0\0") + noise):
        if dns.is_reply(sent, reply[:cut]):
            dns.values(reply[:cut], dns.A)
    if len(noise) >= 12:
        dns.values(noise, dns.A)


def test_addresses_are_found_behind_aliases() -> None:
    sent = dns.ask([b"www", b"example"], dns.A, 1)
    alias = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, 3) + b"\1a\0"
    address = wire(b"a") + struct.pack(">HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    foreign = wire(b"a") + struct.pack(">HHIH", 1, 3, 60, 4) + b"\1\2\3\5"
    reply = reply_to(sent, counts=b"\0\1\0\3\0\0\0\0") + alias + foreign + address
    assert dns.values(reply, dns.A) == [b"\1\2\3\4"]


# Reverse names


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("2.0.11.10.in-addr.arpa", "10.11.0.2"),
        ("0.11.10.in-addr.arpa", None),
        ("1.2.0.11.10.in-addr.arpa", None),
        ("256.0.11.10.in-addr.arpa", None),
        ("x.0.11.10.in-addr.arpa", None),
        ("2.0.11.10.example", None),
        (f"2.{'0.' * 27}1.1.d.f.ip6.arpa", "fd11::2"),
        (f"g.{'0.' * 27}1.1.d.f.ip6.arpa", None),
        (f"22.{'0.' * 27}1.1.d.f.ip6.arpa", None),
        (f"{'0.' * 27}1.1.d.f.ip6.arpa", None),
    ],
)
def test_a_reverse_name_is_an_address_or_none(text: str, address: str | None) -> None:
    labels = tuple(text.encode().split(b"."))
    family = socket.AF_INET6 if "ip6" in text else socket.AF_INET
    expected = None if address is None else socket.inet_pton(family, address)
    assert dns.address_of(labels) == expected


def test_any_question_can_be_asked_for_its_address() -> None:
    for name in ((), (b"arpa",), (b"in-addr", b"arpa"), (b"ip6", b"arpa")):
        assert dns.address_of(name) is None


def test_a_question_keeps_only_what_it_needs() -> None:
    assert not hasattr(read_question(query()), "__dict__")
    assert isinstance(read_question(query()), Question)
