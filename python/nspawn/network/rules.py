"""The rules of routing policy that are ours, by their priorities above the base B.

B        to SUBNET lookup main: containers are reached past a VPN
B+10     lookup 97: what is tethered (Android)
B+20+k   fwmark k: answers leave by where the request came in
B+100+10n  slot n: its LAN (+0, when it may fall back), its pins (+1 to +8), the end (+9, when it is blocked)
B+2700   LAN of those without a pin, past a VPN
B+2800+i uplinks in their order (Android)
B+2999   unreachable (Android; for IPv6 that is not translated everywhere)
"""

from __future__ import annotations

from nspawn.model import prefix
from nspawn.model.netview import LOCAL_NETWORK, MAIN, PROTOCOL, Rule
from nspawn.model.slot import veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nspawn.model.slot import Slot, Subnet
    from nspawn.model.uplinks import Uplink
    from nspawn.network.egress import Paths

TETHERED, MARKED, PINS, LAN, FREE, LAST = 10, 20, 100, 2700, 2800, 2999
_A_SLOT = 10
_END = 9
MARK_SHIFT = 21
MARK_MASK = 0x01E00000
MARKS = 15
_ROOM = 99


class Ground:
    """What all rules of a family need.  link: the bridge, "" point to point; out: it has a way out."""

    __slots__ = ("base", "family", "link", "out", "subnet")

    def __init__(self, family: int, base: int, subnet: str, link: str, *, out: bool) -> None:
        self.family = family
        self.base = base
        self.subnet = subnet
        self.link = link
        self.out = out

    def inner(self, offset: int, table: int = 0, *, mark: int = 0, suppress: int = -1) -> Rule:
        """For all that comes from containers; without a table: unreachable."""
        src = "" if self.link else self.subnet
        return self._rule(offset, table, src=src, iif=self.link, mark=mark, suppress=suppress)

    def slot(self, offset: int, slot: Slot, address: str, table: int = 0, *, suppress: int = -1) -> Rule:
        """For what comes from one container.

        With the interface in it, so that rp_filter does not meet it when it looks the way back up.
        """
        return self._rule(
            PINS + _A_SLOT * slot.number + offset,
            table,
            src=f"{address}/{prefix.BITS[self.family]}",
            iif=self.link or veth(slot.number),
            suppress=suppress,
        )

    def to(self, dst: str) -> Rule:
        return self._rule(0, MAIN, dst=dst)

    def _rule(
        self,
        offset: int,
        table: int,
        *,
        src: str = "",
        dst: str = "",
        iif: str = "",
        mark: int = 0,
        suppress: int = -1,
    ) -> Rule:
        return Rule(
            self.family,
            self.base + offset,
            "lookup" if table else "unreachable",
            table,
            src=src,
            dst=dst,
            iif=iif,
            mark=mark,
            mask=MARK_MASK if mark else 0,
            suppress=suppress,
            protocol=PROTOCOL,
        )


def for_all(ground: Ground, paths: Paths, marks: Mapping[str, int]) -> Iterator[Rule]:
    """Those that do not depend on slots.  marks: numbers by the names of uplinks."""
    yield ground.to(ground.subnet)
    if ground.out:
        if paths.android:
            yield ground.inner(TETHERED, LOCAL_NETWORK, suppress=0)
        for uplink in paths.held:
            mark = marks.get(uplink.name, 0)
            if mark:
                yield ground.inner(MARKED + mark, uplink.answers(ground.family), mark=mark << MARK_SHIFT)
        if paths.android:
            for at, uplink in enumerate(paths.lan[:_ROOM]):
                yield ground.inner(LAN + at, uplink.table(ground.family), suppress=0)
            for at, uplink in enumerate(paths.free[:_ROOM]):
                yield ground.inner(FREE + at, uplink.table(ground.family))
    if paths.android or not ground.out:
        yield ground.inner(LAST)


def for_slot(ground: Ground, paths: Paths, slot: Slot, address: str) -> Iterator[Rule]:
    """Of a slot with pins."""
    if not ground.out or not slot.pins:
        return
    if slot.on_down == "fallback":
        if paths.android:
            for uplink in paths.lan:
                yield ground.slot(0, slot, address, uplink.table(ground.family), suppress=0)
        else:
            yield ground.slot(0, slot, address, MAIN, suppress=0)
    for at, uplink in enumerate(paths.pinned(slot)):
        yield ground.slot(1 + at, slot, address, uplink.table(ground.family))
    if slot.on_down == "block":
        yield ground.slot(_END, slot, address)


def for_global(ground: Ground, slot: Slot, address: str, uplink: Uplink) -> Iterator[Rule]:
    """Of a slot with a global address of an uplink's network, which must leave by no other."""
    yield ground.to(f"{address}/{prefix.BITS[ground.family]}")
    yield ground.slot(_END - 1, slot, address, uplink.table(ground.family))
    yield ground.slot(_END, slot, address)


def marks(uplinks: Sequence[Uplink], rules: Sequence[Rule], base: int) -> dict[str, int]:
    """A number from 1 to 15 for each uplink by its name: the one it has, else the next from its name's.

    Of more than 15 those are left out that lead nowhere now.
    """
    found: dict[str, int] = {}
    present = {
        rule.table: rule.priority - base - MARKED
        for rule in reversed(rules)
        if rule.protocol == PROTOCOL and 0 < rule.priority - base - MARKED <= MARKS
    }
    had = {each: present.get(each.answers(6), 0) or present.get(each.answers(4), 0) for each in uplinks}
    uplinks = sorted(uplinks, key=lambda each: (not (each.usable4 or each.usable6), not had[each]))[:MARKS]
    for uplink in uplinks:
        mark = had[uplink]
        if mark and mark not in found.values():
            found[uplink.name] = mark
    for uplink in sorted(uplinks):
        wish = sum(uplink.name.encode())
        for step in range(MARKS):
            mark = (wish + step) % MARKS + 1
            if uplink.name in found or mark in found.values():
                continue
            found[uplink.name] = mark
    return found


def base_subnets(subnet: Subnet) -> dict[int, str]:
    """Its two prefixes as text."""
    return {
        4: f"{prefix.spell(4, subnet.base4)}/{subnet.length4}",
        6: f"{prefix.spell(6, subnet.base6)}/64",
    }
