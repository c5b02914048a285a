"""Which name servers a machine uses: out of the text of resolv.conf(5), and of Android's dumpsys."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: When nothing says otherwise; some carriers block it (facts: network), hence last.
LAST_RESORT = ("1.1.1.1",)
_MOST = 8


def is_address(text: str) -> bool:
    """Whether it is an IPv4 address, or an IPv6 one with or without a zone."""
    plain, percent, zone = text.partition("%")
    family = _socket.AF_INET6 if ":" in plain else _socket.AF_INET
    if percent and (not zone or family == _socket.AF_INET):
        return False
    try:
        _socket.inet_pton(family, plain)
    except (OSError, ValueError):
        return False
    return True


def is_loopback(text: str) -> bool:
    return text.startswith("127.") or text == "::1"


def of_resolv_conf(text: str) -> tuple[str, ...]:
    """The servers in the text of a resolv.conf, in order."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and is_address(words[1]):
            found.append(words[1])
    return _some(found)


def of_link_properties(line: str) -> list[tuple[str, tuple[str, ...]]]:
    """(interface, servers) of each LinkProperties in a line of `dumpsys connectivity`.

    Android 10: `InterfaceName: wlan0 ... DnsAddresses: [192.168.1.1,8.8.8.8,]`; newer ones
    `DnsAddresses: [ /192.168.1.1,/fe80::1%wlan0 ]` (facts: network).  The interface that 464XLAT stacks on
    top comes behind in the same line, with properties of its own.
    """
    found = []
    for part in line.split("InterfaceName: ")[1:]:
        interface = part.partition(" ")[0].strip("]},")
        # With the blank: ValidatedPrivateDnsAddresses is another list.
        _, there, rest = part.partition(" DnsAddresses: [")
        words = rest.partition("]")[0].replace(",", " ").split() if there else []
        servers = _some(word.rpartition("/")[2] for word in words)
        if interface and servers:
            found.append((interface, servers))
    return found


def _some(servers: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(server for server in servers if is_address(server)))[:_MOST]
