"""The table `network` of config.toml, checked."""

from __future__ import annotations

from typing import NamedTuple

from nspawn.errors import UsageError
from nspawn.model import prefix, tables, words
from nspawn.model.slot import Subnet, slot_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.tables import Check

_PRIVATE = ((4, 10 << 24, 8), (4, 172 << 24 | 16 << 16, 12), (4, 192 << 24 | 168 << 16, 16))
_ULA = (6, 0xFC << 120, 7)
_SHORTEST, _LONGEST = 8, 29
#: So that the last of our rules, base + 2999, is before Android's first, 10000.
_HIGHEST_BASE = 7000
_IPV6 = ("auto", "off")


class NetConfig(NamedTuple):
    """What a person may choose for the whole network.

    bridge: name of the interface.  subnet, subnet6: wanted; what is used is chosen once.  order: which
    uplink is taken by what has no pin: words (model.words), those with commas between them are equal.
    rule_base: the first of the 3000 priorities of rules that are ours.  ipv6: "auto" (NAT where the kernel
    has it) or "off".  dns: servers of last resort.  allow_page: containers may reach the page.
    """

    bridge: str = "nspawn_br1"
    subnet: str = "10.11.0.0/24"
    subnet6: str = "fd11::/64"
    order: tuple[str, ...] = ("vpn", "wifi,ethernet", "mobile")
    rule_base: int = 1000
    ipv6: str = "auto"
    dns: tuple[str, ...] = ()
    allow_page: bool = False

    def wanted(self) -> Subnet:
        """The subnet that it asks for."""
        _, base4, length4 = prefix.parse(self.subnet)
        return Subnet(base4, length4, prefix.parse(self.subnet6)[1])


def from_table(table: Mapping[str, object], what: str = "network") -> NetConfig:
    """The table `[network]` as tomllib gives it, checked in whole; or UsageError.  what begins the errors."""
    found = tables.read(table, _CHECKS, what)
    return NetConfig(**found)  # type: ignore[arg-type]  # each check gives its field's type


def _bridge(value: object, what: str) -> str:
    name = tables.text(value, what)
    try:
        words.check_interface(name)
    except UsageError as error:
        raise UsageError(f"{what}: {error.what}", error.why, 'Give a name such as "nspawn_br1".') from None
    if name in ("lo", "all", "default") or slot_of(name) >= 0:
        raise UsageError(f"{what}: {name!r} is taken", hint='Give a name such as "nspawn_br1".')
    return name


def _subnet(value: object, what: str) -> str:
    text = tables.text(value, what)
    hint = 'Give a private IPv4 network such as "10.11.0.0/24".'
    family, number, length = _prefix(text, what, hint)
    if family != 4:
        raise UsageError(f"{what}: {text!r} is not an IPv4 network", hint=hint)
    if length > _LONGEST:
        raise UsageError(f"{what}: {text!r} is too small", f"the longest prefix is /{_LONGEST}", hint)
    if length < _SHORTEST:
        raise UsageError(f"{what}: {text!r} is too large", f"the shortest prefix is /{_SHORTEST}", hint)
    if not any(length >= each[2] and prefix.overlap(each, (family, number, length)) for each in _PRIVATE):
        why = "it is not within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        raise UsageError(f"{what}: {text!r} is not private", why, hint)
    return f"{prefix.spell(4, number)}/{length}"


def _subnet6(value: object, what: str) -> str:
    text = tables.text(value, what)
    hint = 'Give a unique local IPv6 network with 64 bits such as "fd11::/64".'
    family, number, length = _prefix(text, what, hint)
    if family != 6:
        raise UsageError(f"{what}: {text!r} is not an IPv6 network", hint=hint)
    if length != 64:
        raise UsageError(f"{what}: the prefix of {text!r} has not 64 bits", hint=hint)
    if not prefix.overlap(_ULA, (family, number, length)):
        raise UsageError(f"{what}: {text!r} is not private", "it is not within fc00::/7", hint)
    return f"{prefix.spell(6, number)}/{length}"


def _prefix(text: str, what: str, hint: str) -> tuple[int, int, int]:
    try:
        family, number, length = prefix.parse(text)
    except ValueError:
        raise UsageError(f"{what}: {text[:60]!r} is not a network", hint=hint) from None
    first = prefix.network(family, number, length)
    if first != number:
        right = f"{prefix.spell(family, first)}/{length}"
        raise UsageError(f"{what}: {text!r} is an address in a network", hint=f'The network is "{right}".')
    return family, number, length


def _order(value: object, what: str) -> tuple[str, ...]:
    hint = 'Give a list such as ["vpn", "wifi,ethernet", "mobile"]; what it does not name is never used.'
    texts = tables.texts(value, what, hint)
    if not texts:
        raise UsageError(f"{what}: it is empty", "then no uplink would ever be used", hint)
    try:
        return tuple(",".join(words.split(text)) for text in texts)
    except UsageError as error:
        raise UsageError(f"{what}: {error.what}", error.why, hint) from None


def _base(value: object, what: str) -> int:
    why = "the rules have this priority and the 2999 after it, and must be before Android's"
    return tables.whole(value, what, 1, _HIGHEST_BASE, f"1 to {_HIGHEST_BASE}", why)


def _ipv6(value: object, what: str) -> str:
    if value not in _IPV6:
        raise tables.expected(f"one of {', '.join(_IPV6)}", value, what)
    return str(value)


def _dns(value: object, what: str) -> tuple[str, ...]:
    hint = 'Give a list of addresses such as ["9.9.9.9", "2620:fe::fe"].'
    found = []
    for text in tables.texts(value, what, hint):
        try:
            found.append(prefix.spell(*prefix.address(text)))
        except ValueError as error:
            raise UsageError(f"{what}: {error}", hint=hint) from None
    return tuple(found)


_CHECKS: dict[str, Check] = {
    "bridge": _bridge,
    "subnet": _subnet,
    "subnet6": _subnet6,
    "order": _order,
    "rule_base": _base,
    "ipv6": _ipv6,
    "dns": _dns,
    "allow_page": tables.flag,
}
