"""How the network is now: the uplinks, who goes where and why, what leads in.  Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.errors import NspawnError
from nspawn.kernel.slotfiles import name_owner
from nspawn.model import forwards as model
from nspawn.model import netdrules, uplinks
from nspawn.model.netplan import Note
from nspawn.model.slot import veth
from nspawn.network import observe
from nspawn.network.egress import Paths
from nspawn.service import listeners, netlook, slots
from nspawn.service.netknown import addresses
from nspawn.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nspawn.container.client import Client
    from nspawn.layout import Layout
    from nspawn.model.forwards import Forward
    from nspawn.model.netplan import Egress
    from nspawn.model.record import Record
    from nspawn.model.settings import Settings
    from nspawn.model.slot import Slot
    from nspawn.model.uplinks import Excluded, Uplink
    from nspawn.service.netlook import Look


@dataclass(frozen=True, kw_only=True)
class Member:
    """A container, or a foreground run, and its way.

    name: of the container, "" for a run; owner: as people call it; slot: as it is, or as it would be after a
    start now; where: its addresses as JSON.  forwards: with what is the matter with each.
    """

    name: str
    owner: str
    running: bool
    slot: Slot
    where: Mapping[str, Any]
    egress: Egress
    forwards: tuple[tuple[Forward, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "owner": self.owner,
            "running": self.running,
            **self.where,
            "pin": list(self.slot.pins),
            "on_down": self.slot.on_down,
            "dns": list(self.slot.dns),
            "ipv6": self.slot.ipv6,
            "path": {"uplink": self.egress.link or None, "why": self.egress.why},
            "forwards": [forward_dict(forward, warning) for forward, warning in self.forwards],
        }


@dataclass(frozen=True, kw_only=True)
class Status:
    """up: whether our bridge, or anybody's interface, is there.  free: the path of all without a pin.

    dns: the process that answers names now, 0 for none; excluded: interfaces that are no uplinks, and why.
    """

    up: bool
    look: Look
    members: tuple[Member, ...]
    free: Egress
    notes: tuple[Note, ...]
    excluded: tuple[Excluded, ...] = ()
    dns: int = 0
    spawner: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        look = self.look
        return {
            "up": self.up,
            "spawner": self.spawner,
            "mode": look.plan.mode,
            "bridge": look.plan.bridge if look.plan.mode == "bridge" else None,
            "subnet": {
                "ip4": look.plan.firewall.subnet4,
                "ip6": look.plan.firewall.subnet6 or None,
                "gateway4": look.plan.firewall.gateway4,
                "gateway6": look.plan.firewall.gateway6 if look.plan.firewall.subnet6 else None,
                "room": look.subnet.room,
                "used": len(look.slots),
            },
            "ipv6": {"mode": look.plan.ipv6, "why": ipv6_why(look)},
            "dns": {"address": look.plan.firewall.gateway4, "process": self.dns or None},
            "uplinks": [uplink_dict(each) for each in look.uplinks],
            "excluded": [{"name": each.name, "why": each.why} for each in self.excluded],
            "order": list(look.config.order),
            "free": {"uplink": self.free.link or None, "why": self.free.why},
            "containers": [each.as_dict() for each in self.members],
            "notes": [note_dict(each) for each in self.notes],
        }


def status(layout: Layout, client: Client, environ: Mapping[str, str]) -> Status:
    """Look at it; raises UsageError for a wrong config.toml."""
    look = netlook.look(layout, environ)
    said = ask(client)
    warnings = _warnings(look)
    return Status(
        up=look.view.link(look.plan.bridge) is not None if look.plan.mode == "bridge" else bool(look.active),
        look=look,
        members=tuple(_members(layout, look, warnings)),
        free=paths_of(look).egress(None),
        notes=tuple(dict.fromkeys((*_trouble(said), *look.notes, *warnings.values()))),
        excluded=_excluded(look, environ),
        dns=said.integer("dns") if said else 0,
        spawner=said is not None,
    )


def ask(client: Client) -> Record | None:
    """What the spawner knows of the network; None without one."""
    try:
        return client.call("net", [("verb", "status")])
    except NspawnError:
        return None


def paths_of(look: Look) -> Paths:
    """The uplinks, sorted for use."""
    return Paths(
        look.uplinks,
        look.config,
        android=look.features.android,
        locked=look.features.android and netdrules.lockdown(look.view),
        families=(4, 6) if look.plan.ipv6 == "nat" else (4,),
    )


def _members(layout: Layout, look: Look, warnings: Mapping[str, Note]) -> Iterator[Member]:
    """Containers by name, then foreground runs.  What runs has what it was started with."""
    paths = paths_of(look)
    told = {text: note.why for text, note in warnings.items()}
    slots_of = {slot.owner: slot for slot in look.slots}
    active = {slot.number for slot in look.active}
    for name, value in _wanting(layout):
        slot = slots_of.pop(name_owner(name), None)
        running = slot is not None and slot.number in active
        if slot is None or not running:
            wish = slots.wish(name, value, slot.number if slot else 0)
        else:
            wish = slot
        yield Member(
            name=name,
            owner=name,
            running=running,
            slot=wish,
            where=_where(slot, look, value.network.ip),
            egress=paths.egress(wish),
            forwards=_forwards(wish, told if running else {}),
        )
    for slot in look.slots:
        if slot.number in active and slot.owner in slots_of:
            yield Member(
                name=slot.owner[5:] if slot.owner.startswith("name:") else "",
                owner=slots.owner_text(slot.owner),
                running=True,
                slot=slot,
                where=_where(slot, look),
                egress=paths.egress(slot),
                forwards=_forwards(slot, told),
            )


def _where(slot: Slot | None, look: Look, fixed: str = "") -> dict[str, Any]:
    if slot is None:
        return {"slot": None, "ip4": fixed or None, "ip6": None, "mac": None, "interface": None}
    return {**addresses(slot, look.subnet), "interface": veth(slot.number)}


def _forwards(slot: Slot, told: Mapping[str, str]) -> tuple[tuple[Forward, str], ...]:
    return tuple((model.parse_publish(text), told.get(text, "")) for text in slot.forwards)


def _wanting(layout: Layout) -> list[tuple[str, Settings]]:
    """Containers that have, or want, a network like ours."""
    store, found = Store(layout), []
    for name in store.names():
        try:
            value = store.load(name).settings
        except NspawnError:
            continue  # removed meanwhile
        if value.network.mode == "nat":
            found.append((name, value))
    return found


def _excluded(look: Look, environ: Mapping[str, str]) -> tuple[Excluded, ...]:
    if not look.features.android:
        return ()
    return tuple(uplinks.survey(look.view, uplinks.read_tables(observe.tables(environ)))[1])


def _warnings(look: Look) -> dict[str, Note]:
    """What is the matter with forwards that are in use, by their texts."""
    ours = (look.plan.firewall.gateway4, look.plan.firewall.gateway6)
    found: dict[str, Note] = {}
    if not any(slot.forwards for slot in look.active):
        return found
    among = listeners.there()
    for slot in look.active:
        for each in slot.forwards:
            asked = [(slots.owner_text(slot.owner), model.parse_publish(each))]
            for note in listeners.warnings(asked, page=look.page, ours=ours, among=among):
                found.setdefault(each, note)
    return found


def _trouble(said: Record | None) -> list[Note]:
    """Of the last try of the spawner, if it failed."""
    if said is None or said.get("error") is None:
        return []
    return [Note(said.text("what"), said.text("why"), said.text("hint"))]


def ipv6_why(look: Look) -> str:
    """A sentence on what containers have of IPv6."""
    if not look.features.ipv6:
        return "this machine has no IPv6, or it is switched off"
    if look.config.ipv6 == "off":
        return "config.toml says so: [network] ipv6"
    if look.plan.ipv6 == "nat":
        return "addresses are translated by this kernel (NAT66)"
    without = "this kernel has no NAT for IPv6 (CONFIG_IP6_NF_NAT)"
    if look.plan.ipv6 == "proxy":
        return f"{without}; containers with ipv6=proxy have a global address"
    return f"{without}; IPv4 is not affected"


def uplink_state(uplink: Uplink) -> str:
    """In a word or two: up, no internet, down."""
    if not uplink.carrier:
        return "down"
    return "up" if uplink.usable4 or uplink.usable6 else "no internet"


def uplink_dict(uplink: Uplink) -> dict[str, Any]:
    """An uplink's JSON form."""
    return {
        "name": uplink.name,
        "interface4": uplink.interface(4),
        "kind": uplink.kind,
        "state": uplink_state(uplink),
        "default": uplink.default,
        "ip4": uplink.usable4,
        "ip6": uplink.usable6,
        "table4": uplink.table4,
        "table6": uplink.table6,
        "netid": uplink.netid,
        "apps": uplink.apps,
        "why": uplink.why,
    }


def forward_dict(forward: Forward, warning: str = "") -> dict[str, Any]:
    """A forward's JSON form."""
    return {
        "text": str(forward),
        "proto": forward.proto,
        "listen": forward.listen,
        "host": forward.host,
        "container": forward.container,
        "ports": forward.ports,
        "warning": warning,
    }


def note_dict(note: Note) -> dict[str, str]:
    """A note's JSON form."""
    return {"what": note.what, "why": note.why, "hint": note.hint}
