"""What is known of a container's network at once: its slot, and what the agent wrote down last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nspawn.kernel.slotfiles import name_owner, peek
from nspawn.model import prefix
from nspawn.model import settings as setting
from nspawn.model.slot import mac, veth
from nspawn.service import netstate
from nspawn.service.slots import is_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nspawn.errors import Damaged
    from nspawn.layout import Layout
    from nspawn.model.record import Record
    from nspawn.model.settings import Settings
    from nspawn.model.slot import Slot, Subnet


@dataclass(frozen=True, kw_only=True)
class Egress:
    """Where a slot's traffic goes.  uplink: "" when it is blocked; why: a sentence."""

    uplink: str
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"uplink": self.uplink or None, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Known:
    """slots: by owner; egress: by the slot's number, -1 for those without a pin."""

    subnet: Subnet | None = None
    slots: Mapping[str, Slot] = field(default_factory=dict)
    damaged: Sequence[Damaged] = ()
    egress: Mapping[int, Egress] = field(default_factory=dict)

    def describe(self, name: str, value: Settings) -> dict[str, Any] | None:
        """The part `network` of a container's JSON; None when it has no addresses."""
        if value.network.mode != "nat":
            return None
        slot = self.slots.get(name_owner(name))
        forwards = [str(each) for each in setting.forwarded(value.network)]
        if slot is None or self.subnet is None:
            return {"slot": None, "ip4": None, "ip6": None, "mac": None, "path": None, "forwards": forwards}
        found = addresses(slot, self.subnet)
        if is_link(veth(slot.number)):
            found["forwards"] = list(slot.forwards)
            path = self.egress.get(slot.number)
            found["path"] = path.as_dict() if path else None
        else:
            found["forwards"] = forwards
            found["path"] = None
        return found


def addresses(slot: Slot, subnet: Subnet) -> dict[str, Any]:
    """A slot's number and addresses, as JSON has them."""
    return {
        "slot": slot.number,
        "ip4": prefix.spell(4, subnet.base4 + 2 + slot.number),
        "ip6": None if slot.ipv6 == "off" else prefix.spell(6, subnet.base6 + 2 + slot.number),
        "mac": mac(slot.number).hex(":"),
    }


def load(layout: Layout) -> Known:
    """Read it; what is damaged is told in `damaged`."""
    subnet, slots, broken = peek(layout)
    return Known(
        subnet=subnet,
        slots={slot.owner: slot for slot in slots},
        damaged=broken,
        egress=_egress(netstate.read(layout).record),
    )


def _egress(record: Record | None) -> dict[int, Egress]:
    """`N IF NETID WHY...` by number; `*` is -1, and an IF of `-` is no uplink."""
    found = {}
    for value in record.all("egress") if record else ():
        number, _, rest = value.decode("utf-8", "replace").partition(" ")
        uplink, _, rest = rest.partition(" ")
        _netid, _, why = rest.partition(" ")
        if number == "*" or number.isdecimal():
            key = -1 if number == "*" else int(number)
            found[key] = Egress(uplink="" if uplink == "-" else uplink, why=why)
    return found


def summary(known: Known) -> dict[str, Any]:
    """What is told of each change: whether it is up, and where each container's traffic goes."""
    free = known.egress.get(-1)
    return {
        "up": bool(known.egress),
        "free": free.as_dict() if free else None,
        "paths": {
            slot.owner[5:]: known.egress[slot.number].as_dict()
            for slot in known.slots.values()
            if slot.owner.startswith("name:") and slot.number in known.egress
        },
    }
