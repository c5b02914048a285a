"""Forwards: their texts, the reserved port, overlaps; and who already listens there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import Conflict, UsageError
from nspawn.model import forwards, listening
from nspawn.model.forwards import Forward, parse_publish, parse_range
from nspawn.model.listening import Listener

PORTS = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "forward", "canonical"),
    [
        ("8080:80", Forward("tcp", "", 8080, 80), "8080:80/tcp"),
        ("53:53/udp", Forward("udp", "", 53, 53), "53:53/udp"),
        ("08080:080/tcp", Forward("tcp", "", 8080, 80), "8080:80/tcp"),
        ("5000-5010:5000", Forward("tcp", "", 5000, 5000, 11), "5000-5010:5000/tcp"),
        ("5000-5010:6000-6010/udp", Forward("udp", "", 5000, 6000, 11), "5000-5010:6000/udp"),
        ("7-7:8", Forward("tcp", "", 7, 8), "7:8/tcp"),
        ("127.0.0.1:8080:80", Forward("tcp", "127.0.0.1", 8080, 80), "127.0.0.1:8080:80/tcp"),
        ("0.0.0.0:1-65535:1", Forward("tcp", "0.0.0.0", 1, 1, 65535), "0.0.0.0:1-65535:1/tcp"),
        ("[::1]:8080:80", Forward("tcp", "::1", 8080, 80), "[::1]:8080:80/tcp"),
        ("[2001:DB8:0::5]:1:2/udp", Forward("udp", "2001:db8::5", 1, 2), "[2001:db8::5]:1:2/udp"),
        ("65535:65535", Forward("tcp", "", 65535, 65535), "65535:65535/tcp"),
        ("1000-2023:3000", Forward("tcp", "", 1000, 3000, 1024), "1000-2023:3000/tcp"),
    ],
)
def test_a_forward_is_read(text: str, forward: Forward, canonical: str) -> None:
    assert parse_publish(text) == forward
    assert str(forward) == canonical
    assert parse_publish(canonical) == forward


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "container's port is missing"),
        ("80", "container's port is missing"),
        (":80", "a port is missing"),
        ("80:", "a port is missing"),
        ("80:/udp", "a port is missing"),
        ("80-:80", "a port is missing"),
        ("0:80", "from 1 to 65535, and not to 0"),
        ("80:65536", "from 1 to 65535, and not to 65536"),
        ("99999999999:1", "'99999999999' is not a port"),
        ("8_0:80", "'8_0' is not a port"),
        (" 80:80", "' 80' is not a port"),
        ("+80:80", "'\\+80' is not a port"),
        ("٨٠:80", "is not a port"),
        ("http:80", "'http' is not a port"),
        ("90-80:1", "ends with 80, before it begins"),
        ("1-10:1-5", "not equally long"),
        ("65000-65535:65001", "would go up to 65536"),
        ("1000-2024:3000", "1025 ports with other numbers inside; at most 1024"),
        ("80:80/sctp", "'sctp' is neither tcp nor udp"),
        ("80:80/", "'' is neither tcp nor udp"),
        ("80:80/TCP", "'TCP' is neither"),
        ("::1:80:80", "an IPv6 address goes into brackets"),
        ("[::1:80:80", "after an IPv6 address comes"),
        ("[::1]80:80", "after an IPv6 address comes"),
        ("localhost:80:80", "'localhost' is not an address of this machine"),
        ("1.2.3:80:80", "'1.2.3' is not an address"),
        ("1.2.3.4\0:80:80", "is not an address"),
        ("[1.2.3.4]:80:80", "is not an address"),
        (":80:80", "'' is not an address"),
        ("224.0.0.1:80:80", "belongs to no single machine"),
        ("255.255.255.255:80:80", "belongs to no single machine"),
        ("[ff02::1]:80:80", "belongs to no single machine"),
        ("[fe80::1]:80:80", "is link-local"),
        ("[fe80::1%eth0]:80:80", "is not an address"),
    ],
)
def test_what_is_no_forward_is_told_why(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        parse_publish(text)
    assert caught.value.hint
    assert caught.value.status == 2


def test_a_range_is_both_protocols_with_the_same_ports() -> None:
    assert [str(forward) for forward in parse_range("2000:2010")] == [
        "2000-2010:2000/tcp",
        "2000-2010:2000/udp",
    ]
    assert [str(forward) for forward in parse_range("80:80")] == ["80:80/tcp", "80:80/udp"]


@pytest.mark.parametrize(
    "text", ["", "80", "a:b", "1:", ":1", "2:1", "0:5", "1:65536", "1-2:3", "1:2:3", "1:2/udp"]
)
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is not a range of ports") as caught:
        parse_range(text)
    assert "START:END" in caught.value.hint


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_publish, parse_range):
        try:
            parse(text)
        except UsageError:
            continue


@given(PORTS, PORTS, st.sampled_from(["", "127.0.0.1", "::1", "::"]), st.sampled_from(["tcp", "udp"]))
def test_what_was_written_is_read_again(host: int, container: int, listen: str, proto: str) -> None:
    forward = Forward(proto, listen, host, container)
    assert parse_publish(str(forward)) == forward
    assert hash(parse_publish(str(forward))) == hash(forward)


@pytest.mark.parametrize(
    ("text", "left", "noted"),
    [
        ("8000:80", ["8000:80/tcp"], False),
        ("8022:8022/udp", ["8022:8022/udp"], False),
        ("8023:8022", ["8023:8022/tcp"], False),
        ("8000-8100:8000", ["8000-8021:8000/tcp", "8023-8100:8023/tcp"], True),
        ("8022-8024:9000", ["8023-8024:9001/tcp"], True),
        ("8021-8022:9000", ["8021:9000/tcp"], True),
        ("[::1]:8020-8030:20", ["[::1]:8020-8021:20/tcp", "[::1]:8023-8030:23/tcp"], True),
    ],
)
def test_the_port_of_termux_is_left_out_of_ranges(text: str, left: list[str], noted: bool) -> None:
    parts, note = forwards.without_reserved(parse_publish(text))
    assert [str(part) for part in parts] == left
    assert ("8022" in note) == noted


def test_the_port_of_termux_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="8022 stays with Termux"):
        forwards.without_reserved(parse_publish("127.0.0.1:8022:22"))


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("80:1", "80:2", True),
        ("80:1", "80:1/udp", False),
        ("80:1", "81:1", False),
        ("80-90:80", "90-99:90", True),
        ("80-90:80", "91-99:91", False),
        ("127.0.0.1:80:1", "80:1", True),
        ("127.0.0.1:80:1", "0.0.0.0:80:1", True),
        ("127.0.0.1:80:1", "10.0.0.1:80:1", False),
        ("127.0.0.1:80:1", "[::]:80:1", False),
        ("0.0.0.0:80:1", "[::]:80:1", False),
        ("[::1]:80:1", "[::]:80:1", True),
        ("[::1]:80:1", "[::1]:80:2", True),
    ],
)
def test_overlaps(one: str, other: str, meet: bool) -> None:
    first, second = parse_publish(one), parse_publish(other)
    assert forwards.overlaps(first, second) == forwards.overlaps(second, first) == meet


def test_the_same_twice_counts_once_and_an_overlap_of_ones_own_is_refused() -> None:
    texts = ["80:80", "80:80/tcp", "81-90:81", "0.0.0.0:95:1", "[::]:95:1"]
    found = forwards.distinct(map(parse_publish, texts))
    assert [str(forward) for forward in found] == [
        "80:80/tcp",
        "81-90:81/tcp",
        "0.0.0.0:95:1/tcp",
        "[::]:95:1/tcp",
    ]
    with pytest.raises(UsageError, match="overlap"):
        forwards.distinct([parse_publish("80:80"), parse_publish("127.0.0.1:80:81")])


def test_a_port_that_another_container_has_is_a_conflict() -> None:
    mine = [parse_publish("80:80"), parse_publish("9000-9010:9000")]
    forwards.conflict(mine, [("db", parse_publish("80:80/udp")), ("db", parse_publish("9011:1"))])
    with pytest.raises(Conflict, match="ports 9000-9010/tcp cannot be forwarded: db has 9005:1/tcp"):
        forwards.conflict(mine, [("web", parse_publish("8000:1")), ("db", parse_publish("9005:1"))])


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 5), st.sampled_from(["", "0.0.0.0", "::1"])), max_size=6
    ),
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 5), st.sampled_from(["", "0.0.0.0", "::1"])), max_size=6
    ),
)
def test_an_overlap_is_found_when_there_is_one(
    mine: list[tuple[int, int, str]], others: list[tuple[int, int, str]]
) -> None:
    left = [Forward("tcp", listen, host, 1, ports) for host, ports, listen in mine]
    right = [("db", Forward("tcp", listen, host, 1, ports)) for host, ports, listen in others]
    pair = forwards.first_overlap((("", forward) for forward in left), right)
    assert (pair is not None) == any(forwards.overlaps(one, other) for one in left for _, other in right)
    if pair is not None:
        assert pair[0] in left
        assert pair[1:] in right


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0     0        0 1234 1 0 100 0 0 10 0
   1: 00000000:1F40 00000000:0000 0A 0:0 00:0 0     0        0 1235 1 0 100 0 0 10 0
   2: 0100007F:1F91 0100007F:D2F0 01 0:0 00:0 0     0        0 1236 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st ...
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1 0
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF000000000000:0000 0A 0:0 00:0 0 0 0 78 1 0
   2: B80D0120000000000000000005000000:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 79 1 0
"""
UDP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref
  1: 3500007F:0035 00000000:0000 07 0:0 00:0 0   101        0 500 2 0000000000000000 0
  2: 0100000A:D431 08080808:0035 01 0:0 00:0 0   101        0 501 2 0000000000000000 0
"""


def test_listeners_are_read_from_proc() -> None:
    assert list(listening.listeners(TCP)) == [
        Listener("127.0.0.1", 8080, "1234"),
        Listener("0.0.0.0", 8000, "1235"),
    ]
    assert list(listening.listeners(TCP6)) == [
        Listener("::1", 8080, "77"),
        Listener("127.0.0.1", 80, "78"),
        Listener("2001:db8::5", 81, "79"),
    ]
    assert list(listening.listeners(UDP)) == [Listener("127.0.0.53", 53, "500")]
    assert list(listening.listeners("")) == []


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("8000:80", "0.0.0.0"),
        ("7990-8010:80", "0.0.0.0"),
        ("127.0.0.1:8000:80", "0.0.0.0"),
        ("[::1]:8000:80", ""),
        ("8000:80/udp", ""),
        ("8001:80", ""),
        ("53:53/udp", "127.0.0.53"),
        ("10.0.0.1:53:53/udp", ""),
        ("9090:1", "::"),
        ("127.0.0.1:9090:1", "::"),
        ("[2001:db8::5]:81:1", "2001:db8::5"),
    ],
)
def test_a_port_that_the_machine_listens_on_is_warned_about(text: str, warned: str) -> None:
    there = {
        "tcp": [*listening.listeners(TCP), *listening.listeners(TCP6), Listener("::", 9090, "5")],
        "udp": [*listening.listeners(UDP), Listener("10.11.0.1", 53, "6")],
    }
    found = listening.warnings([("web", parse_publish(text))], there, page=8080, ours=("10.11.0.1",))
    assert len(found) == bool(warned)
    assert all(f"listens on it at {warned}," in note.why and "web" in note.what for note in found)


def test_the_port_of_the_page_is_told_apart() -> None:
    there = {"tcp": [Listener("127.0.0.1", 8080, "1"), Listener("::1", 8080, "2")]}
    (note,) = listening.warnings([("web", parse_publish("8080:80"))], there, page=8080)
    assert "this page at localhost" in note.what
    assert len(listening.warnings([("web", parse_publish("8080:80"))], there)) == 2
