"""What DHCP clients of containers are answered."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from nspawn.model import dhcpmessage
from nspawn.model.dhcpmessage import ACK, DECLINE, DISCOVER, INFORM, NAK, OFFER, RELEASE, REQUEST
from nspawn.model.slot import Slot, Subnet, mac
from nspawn.network.leases import Leases

SUBNET = Subnet(0x0A0B0000, 24, 0xFD11 << 112)
OWN, OTHER, GATEWAY = bytes([10, 11, 0, 5]), bytes([10, 11, 0, 6]), bytes([10, 11, 0, 1])
ELSEWHERE = bytes([192, 168, 1, 7])
NOWHERE = bytes(4)


class OneContainer:
    """Plays Names: slot 3 runs."""

    def __init__(self, *dns: str) -> None:
        self.slot = Slot(3, "name:web", host="web", dns=dns)

    def refresh(self) -> None:
        """Nothing changes."""

    def of_mac(self, address: bytes) -> tuple[Subnet, Slot] | None:
        return (SUBNET, self.slot) if address == mac(3) else None


def message(
    kind: int | None, *options: tuple[int, bytes], has: bytes = NOWHERE, hardware: bytes = mac(3)
) -> bytes:
    """What a client sends."""
    head = struct.pack(">BBBBIHH", 1, 1, 6, 0, 0x1234, 0, 0x8000) + has + bytes(12)
    said = [] if kind is None else [(53, bytes([kind]))]
    body = b"".join(bytes([code, len(value)]) + value for code, value in (*said, *options))
    return head + hardware.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63" + body + b"\xff"


def parse(data: bytes) -> tuple[bytes, Mapping[int, bytes]]:
    """The address given, and the options by code; here they come once each."""
    assert len(data) >= 300
    assert data[0] == 2
    assert data[4:8] == b"\0\0\x12\x34"
    assert data[28:34] == mac(3)
    assert data[236:240] == b"\x63\x82\x53\x63"
    found, at = {}, 240
    while data[at] != 255:
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return data[16:20], found


def ask(data: bytes, *dns: str) -> tuple[bytes, Mapping[int, bytes]] | None:
    said = Leases(OneContainer(*dns)).answer(dhcpmessage.read(data))  # type: ignore[arg-type]
    return None if said is None else parse(said)


def test_an_offer_says_all_that_a_container_has() -> None:
    found = ask(message(DISCOVER))
    assert found is not None
    address, options = found
    assert address == OWN
    assert options == {
        53: bytes([OFFER]),
        51: b"\xff\xff\xff\xff",
        54: GATEWAY,
        1: bytes([255, 255, 255, 0]),
        28: bytes([10, 11, 0, 255]),
        3: GATEWAY,
        6: GATEWAY,
        12: b"web",
        15: b"nspawn",
    }


def test_servers_of_its_own_are_told_instead_of_ours() -> None:
    found = ask(message(DISCOVER), "9.9.9.9", "2620:fe::9", "1.1.1.1")
    assert found is not None
    assert found[1][6] == bytes([9, 9, 9, 9, 1, 1, 1, 1])
    assert 15 not in found[1]


@pytest.mark.parametrize(
    ("data", "kind", "address"),
    [
        (message(REQUEST, (50, OWN), (54, GATEWAY)), ACK, OWN),
        (message(REQUEST, (50, OWN)), ACK, OWN),
        (message(REQUEST, has=OWN), ACK, OWN),
        (message(REQUEST, (50, OTHER)), NAK, NOWHERE),
        (message(REQUEST, (50, ELSEWHERE), (54, GATEWAY)), NAK, NOWHERE),
        (message(REQUEST, has=OTHER), NAK, NOWHERE),
        (message(REQUEST), NAK, NOWHERE),
        (message(INFORM, has=OWN), ACK, NOWHERE),
    ],
)
def test_a_request_is_granted_for_its_own_address_only(data: bytes, kind: int, address: bytes) -> None:
    found = ask(data)
    assert found is not None
    assert (found[1][53], found[0]) == (bytes([kind]), address)


@pytest.mark.parametrize(
    "data",
    [
        message(REQUEST, (50, OWN), (54, ELSEWHERE)),
        message(DISCOVER, hardware=mac(4)),
        message(DISCOVER, hardware=b"\x52\x54\0\0\0\3"),
        message(DECLINE, (50, OWN), (54, GATEWAY)),
        message(RELEASE, has=OWN),
        message(OFFER),
        message(99),
    ],
)
def test_what_is_not_ours_gets_no_answer(data: bytes) -> None:
    assert ask(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(300),
        message(DISCOVER)[:239],
        message(None),
        b"\2" + message(DISCOVER)[1:],
        message(DISCOVER)[:236] + b"nope" + message(DISCOVER)[240:],
        message(DISCOVER)[:-1] + b"\x0c\xc8short",
        message(DISCOVER)[:-1] + b"\x0c",
        message(DISCOVER, (50, b"\1\2")),
        message(DISCOVER, (54, bytes(5))),
        message(DISCOVER, (53, b"\1")),
    ],
)
def test_what_is_no_message_is_told_from_one(data: bytes) -> None:
    with pytest.raises(dhcpmessage.Malformed):
        dhcpmessage.read(data)


def test_padding_and_missing_end_are_no_mistakes() -> None:
    padded = message(DISCOVER)[:-1] + bytes(60)
    assert dhcpmessage.read(padded).kind == DISCOVER
