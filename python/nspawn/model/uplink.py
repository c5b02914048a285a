"""Whether the machine has an uplink, from its routes and interfaces (facts: network, section 1)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Flags of netdevice(7).
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_RUNNING = 0x40
#: A VPN's table may hold split routes, 0.0.0.0/1 and 128.0.0.0/1, and no default.
WIDEST = 8
#: Interfaces that never lead anywhere: Android keeps a default route through dummy0, for who has no network.
_NEVER = ("dummy", "p2p", "r_rmnet", "rmnet_ipa", "ap", "swlan", "rndis", "ncm", "bt-pan")
#: On a phone; on another machine `usb0` may well lead out.
_NEVER_OF_A_PHONE = (*_NEVER, "usb")


class Route:
    """One way out.  length: of its prefix; oif: the interfaces' numbers; table: its number."""

    __slots__ = ("family", "length", "multicast", "oif", "table")

    def __init__(
        self, family: int, length: int, table: int, oif: tuple[int, ...], *, multicast: bool
    ) -> None:
        self.family = family
        self.length = length
        self.table = table
        self.oif = oif
        self.multicast = multicast


class Link:
    """One interface.  running: up, with a carrier."""

    __slots__ = ("index", "loopback", "name", "running")

    def __init__(self, index: int, name: str, flags: int) -> None:
        self.index = index
        self.name = name
        self.running = flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
        self.loopback = bool(flags & _IFF_LOOPBACK)


def is_there(routes: Iterable[Route], links: Iterable[Link]) -> bool:
    """Whether any table has a way to nearly everything through an interface that is up."""
    good = {link.index for link in links if link.running and not link.loopback and not is_never(link.name)}
    return any(
        route.length <= WIDEST and not route.multicast and not good.isdisjoint(route.oif) for route in routes
    )


def is_never(name: str, *, android: bool = False) -> bool:
    """By prefix and number: `ap0`, and not `apple`; where it is a phone's for sure, by prefix alone."""
    if android:
        return name.startswith(_NEVER_OF_A_PHONE)
    return any(name.startswith(each) and name[len(each) :].strip("0123456789-") == "" for each in _NEVER)
