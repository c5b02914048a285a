"""The words by which a person tells a network: modes, uplinks, addresses.  Light: starts read it."""

from __future__ import annotations

import _socket

from nspawn.errors import UsageError
from nspawn.model import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: "host": the host's network; "nat": an address of its own behind the host's; "none": only loopback.
MODES = ("host", "nat", "none")
#: What becomes of traffic when no uplink of the pin is there.
ON_DOWN = ("block", "fallback")
#: "auto": as config.toml has it; "proxy": a global address of its own by proxy NDP; "off": none.
IPV6_MODES = ("auto", "proxy", "off")

_MOST_PINS = 32


def parse_pins(texts: Iterable[str]) -> tuple[str, ...]:
    """Uplinks in order of preference, each once, from texts such as `wifi,wlan0`; or UsageError."""
    pins: list[str] = []
    for text in texts:
        for word in words.split(text):
            pin = word.lower() if word.lower() in words.KINDS else word
            if pin in pins:
                raise UsageError(
                    f"the uplink {pin!r} is there twice", hint="The order tells which is preferred."
                )
            pins.append(pin)
    if len(pins) > _MOST_PINS:
        raise UsageError(f"there are more than {_MOST_PINS} uplinks")
    return tuple(pins)


def parse_address4(text: str) -> str:
    """An IPv4 address that a container can have, or UsageError."""
    try:
        number = int.from_bytes(_socket.inet_pton(_socket.AF_INET, text), "big")
    except (OSError, ValueError):
        number = 0
    # Nothing of 0/8, 127/8, nor from 224/4 (multicast) on is a host's.
    if number >> 24 in (0, 127) or number >= 0xE0000000:
        raise UsageError(f"{text[:80]!r} is not an IPv4 address of a container", hint="As in: 10.11.0.7")
    return text


def parse_server(text: str) -> str:
    """The address of a DNS server, in its usual spelling, or UsageError."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            packed = _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        if any(packed) and packed[0] < 0xFF and not (len(packed) == 4 and packed[0] >= 0xE0):
            return _socket.inet_ntop(family, packed)
    raise UsageError(
        f"{text[:80]!r} is not the address of a DNS server", hint="As in: 9.9.9.9, or 2620:fe::fe"
    )
