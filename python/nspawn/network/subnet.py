"""Which addresses the containers get."""

from __future__ import annotations

from nspawn.model import prefix
from nspawn.model.netplan import Note, is_ours
from nspawn.model.netview import PROTOCOL
from nspawn.model.slot import Subnet
from nspawn.model.uplink import WIDEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.model.netconfig import NetConfig
    from nspawn.model.netview import View

    Prefix = tuple[int, int, int]

_LENGTH4 = 24
_LENGTH6 = 64
_FIRST = 10 << 24 | 11 << 16
#: Where the search goes when the wanted one is taken: 10.11.0.0 and after, before, the other ranges.
_RANGES = (
    (_FIRST, 11 << 24),
    (10 << 24, _FIRST),
    (172 << 24 | 16 << 16, 172 << 24 | 32 << 16),
    (192 << 24 | 168 << 16, 192 << 24 | 169 << 16),
)
_ROOM6 = 1 << 16


class Taken:
    """A prefix that is in use, and where."""

    __slots__ = ("family", "first", "last", "length", "where")

    def __init__(self, network: Prefix, where: str) -> None:
        self.family, _, self.length = network
        self.first = prefix.network(*network)
        self.last = self.first + (1 << prefix.BITS[self.family] - self.length) - 1
        self.where = where


def choose(view: View, config: NetConfig) -> tuple[Subnet, list[Note]]:
    """The wanted subnet, or the first free one when a route or an address is in its way; notes tell that."""
    wanted = config.wanted()
    taken = list(in_use(view, config.bridge))
    notes = []
    base4, length4 = wanted.base4, wanted.length4
    if _first_in(base4, length4, taken, 4) is not None:
        free = _free4(taken)
        if free is not None:
            base4, length4 = free, _LENGTH4
        notes.append(_note(view, config, config.subnet, f"{prefix.spell(4, base4)}/{length4}"))
    base6 = wanted.base6
    if _first_in(base6, _LENGTH6, taken, 6) is not None:
        base6 = next(
            (
                each
                for each in (wanted.base6 + (step << 64) for step in range(1, _ROOM6))
                if _first_in(each, _LENGTH6, taken, 6) is None
            ),
            base6,
        )
        notes.append(_note(view, config, config.subnet6, f"{prefix.spell(6, base6)}/{_LENGTH6}"))
    return Subnet(base4, length4, base6), notes


def conflicts(view: View, subnet: Subnet, bridge: str) -> list[str]:
    """Where addresses of the subnet are in use by others: `10.11.0.0/16 on wlan0`."""
    found = []
    for each in in_use(view, bridge):
        base, length = (subnet.base4, subnet.length4) if each.family == 4 else (subnet.base6, _LENGTH6)
        if _first_in(base, length, [each], each.family) is not None and each.where not in found:
            found.append(each.where)
    return found


def in_use(view: View, bridge: str) -> Iterator[Taken]:
    """Every prefix of a route in any table, and of an address, that is not ours.

    Routes to nearly everything are no obstacle: ours are more specific.
    """
    names = {link.ifindex: link.name for link in view.links}
    ours = {link.ifindex for link in view.links if link.name == bridge or is_ours(link)}
    for address in view.addresses:
        if address.ifindex not in ours and address.scope == 0:
            where = f"{address.address}/{address.length} on {names.get(address.ifindex, '?')}"
            yield Taken((*prefix.address(address.address), address.length), where)
    for route in view.routes:
        if route.oif in ours or route.protocol == PROTOCOL or route.length <= WIDEST:
            continue
        if route.dst.startswith(("fe80:", "ff", "127.", "224.", "169.254.")):
            continue
        on = names.get(route.oif, route.kind)
        yield Taken(prefix.parse(route.dst), f"{route.dst} on {on}")


def _first_in(base: int, length: int, taken: list[Taken], family: int) -> Taken | None:
    last = base + (1 << prefix.BITS[family] - length) - 1
    for each in taken:
        if each.family == family and each.first <= last and base <= each.last:
            return each
    return None


def _free4(taken: list[Taken]) -> int | None:
    """The first free /24."""
    size = 1 << 32 - _LENGTH4
    for start, end in _RANGES:
        base = start
        while base < end:
            found = _first_in(base, _LENGTH4, taken, 4)
            if found is None:
                return base
            base = (found.last // size + 1) * size
    return None


def _note(view: View, config: NetConfig, wanted: str, chosen: str) -> Note:
    family, base, length = prefix.parse(wanted)
    found = _first_in(base, length, list(in_use(view, config.bridge)), family)
    where = found.where if found is not None else "another network"
    if chosen == wanted:
        return Note(
            f"the containers' network {wanted} is in use", f"{where}, and no other is free", _HINT_CHOOSE
        )
    return Note(
        f"the containers have {chosen} instead of {wanted}",
        f"the wanted one is in use: {where}",
        _HINT_CHOOSE,
    )


_HINT_CHOOSE = "Another can be set in config.toml: subnet and subnet6 in [network]."
