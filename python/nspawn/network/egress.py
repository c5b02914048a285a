"""Which uplinks a slot may take, in which order, and which it takes now."""

from __future__ import annotations

from nspawn.model import uplinks as model
from nspawn.model.netplan import Egress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from nspawn.model.netconfig import NetConfig
    from nspawn.model.slot import Slot
    from nspawn.model.uplinks import Uplink

#: More than these have no priorities for their rules.
MOST_PINNED = 8


class Paths:
    """The uplinks of a moment, sorted for use.

    all: those that have a carrier and are allowed.  held: those that have rules; on plain Linux also what has
    no carrier, whose tables are empty.  free: what takes the traffic of slots without a pin, best first.
    lan: whose neighbours are reached directly.  families: those with a way out for containers.
    """

    __slots__ = ("_order", "all", "android", "families", "free", "held", "known", "lan", "locked")

    def __init__(
        self,
        uplinks: Sequence[Uplink],
        config: NetConfig,
        *,
        android: bool,
        locked: bool,
        families: tuple[int, ...],
    ) -> None:
        self.android = android
        self.locked = locked
        self.families = families
        self.known = list(uplinks)
        self.all = [each for each in uplinks if each.carrier and (not locked or each.kind == "vpn")]
        self.held = self.all if android else self.known
        self.free = [each for each in model.order(self.all, config.order) if not each.apps]
        self.lan = [each for each in self.all if each.kind in ("wifi", "ethernet")]
        self._order = config.order

    def pinned(self, slot: Slot) -> list[Uplink]:
        """Those that its pins mean, in their order."""
        found: list[Uplink] = []
        among = self.held
        if not self.android and sum(map(self.is_usable, among)) < 2:
            # Of one way out there is no better: so that a move of it does not change all rules.
            among = sorted(among, key=lambda each: each.ifindex)
        for word in _words(slot):
            found += [each for each in among if model.matches(word, each) and each not in found]
        if len(found) > MOST_PINNED:
            found.sort(key=lambda each: not self.is_usable(each))
        return found[:MOST_PINNED]

    def egress(self, slot: Slot | None) -> Egress:
        """Where a slot's traffic leaves now; None: that of all without a pin."""
        number = -1 if slot is None else slot.number
        if slot is not None and slot.pins:
            for uplink in self.pinned(slot):
                if self.is_usable(uplink):
                    return Egress(
                        number, uplink.name, uplink.netid, f"via {uplink.name} because of pin {_pin(slot)}"
                    )
            down = f"pin {_pin(slot)} {self._state(slot)} and on_down={slot.on_down}"
            if slot.on_down == "block":
                return Egress(number, "", 0, f"blocked because {down}")
            free = self._free()
            if free is None:
                return Egress(number, "", 0, f"nowhere because {down}, and {self._nothing()}")
            return Egress(number, free.name, free.netid, f"via {free.name} because {down}")
        free = self._free()
        if free is None:
            return Egress(number, "", 0, f"nowhere because {self._nothing()}")
        if not self.android:
            return Egress(number, free.name, free.netid, f"via {free.name} by the machine's own routes")
        if self.locked:
            return Egress(number, free.name, free.netid, f"via {free.name} because of Android's VPN lockdown")
        return Egress(
            number, free.name, free.netid, f"via {free.name}, the first that is there of {self.wishes()}"
        )

    def is_usable(self, uplink: Uplink) -> bool:
        return any(uplink.usable(family) for family in self.families)

    def wishes(self) -> str:
        """The order, as in `vpn > wifi,ethernet > mobile`."""
        return " > ".join(self._order)

    def _free(self) -> Uplink | None:
        """On plain Linux the machine decides; its default route is the best guess."""
        among = self.free if self.android else [each for each in self.all if each.default] or self.all
        for family in self.families:
            for uplink in among:
                if uplink.usable(family):
                    return uplink
        return None

    def _nothing(self) -> str:
        if self.locked:
            return "Android's VPN lockdown is on and no VPN is up"
        return "no uplink is up"

    def _state(self, slot: Slot) -> str:
        """What is the matter with a pin."""
        meant = [each for each in self.known if any(model.matches(word, each) for word in _words(slot))]
        if meant and self.locked and all(each.kind != "vpn" for each in meant):
            return "is no VPN, and Android's VPN lockdown is on,"
        return "is down"


def _words(slot: Slot) -> list[str]:
    return [word.strip() for text in slot.pins for word in text.split(",") if word.strip()]


def _pin(slot: Slot) -> str:
    return ",".join(_words(slot))
