"""Why a container's traffic goes where it goes, in plain sentences, and the commands that made it so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.model import firewall, prefix, uplinks
from nspawn.model.slot import veth
from nspawn.network import rules
from nspawn.network.operation import Operation
from nspawn.service.netstatus import ipv6_why, note_dict, paths_of, uplink_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.model.firewall import Features
    from nspawn.model.forwards import Forward
    from nspawn.model.netplan import Egress, Note
    from nspawn.model.netview import Rule
    from nspawn.network.egress import Paths
    from nspawn.service.netlook import Look
    from nspawn.service.netstatus import Member

_MOST_ADDRESSES = 6
#: An address in a line of iptables-save, without its length or port.
_ADDRESS = re.compile(r"\d+(?:\.\d+){3}|[0-9a-f]*(?::[0-9a-f]*){2,}")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """story: sentences; operations: lines that a person can paste; empty while it does not run."""

    member: Member
    story: tuple[str, ...]
    operations: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            **self.member.as_dict(),
            "story": list(self.story),
            "operations": list(self.operations),
            "notes": [note_dict(each) for each in self.notes],
        }


def explain(member: Member, look: Look) -> Explanation:
    """Of a container that has, or wants, a network of its own."""
    return Explanation(
        member=member,
        story=tuple(_story(member, look, paths_of(look))),
        operations=tuple(_operations(member, look)) if member.running else (),
        notes=tuple(dict.fromkeys(look.notes)),
    )


def path_sentence(egress: Egress, *, running: bool) -> str:
    """From `via wlan0 because ...`, `blocked because ...` or `nowhere because ...`."""
    verbs = {"via": ("leaves", "would leave"), "blocked": ("is", "would be"), "nowhere": ("goes", "would go")}
    now, then = verbs.get(egress.why.partition(" ")[0], ("goes", "would go"))
    return f"Its traffic {now if running else then} {egress.why}."


def _story(member: Member, look: Look, paths: Paths) -> Iterator[str]:
    where, slot = member.where, member.slot
    addresses = " and ".join(each for each in (where["ip4"], where["ip6"]) if each)
    if member.running:
        yield f"{member.owner} runs with {addresses}, as eth0 inside and {veth(slot.number)} on this machine."
    elif where["slot"] is not None:
        yield f"{member.owner} does not run. {addresses} is kept for it."
    else:
        yield f"{member.owner} does not run. It gets its address at its first start."
    yield path_sentence(member.egress, running=member.running)
    yield from _pins(member, paths)
    if member.forwards:
        for forward, warning in member.forwards:
            yield forward_sentence(forward) + (f" But {warning}." if warning else "")
        if member.running:
            yield _reached(look)
    yield _ipv6(member, look)
    servers = ", ".join(slot.dns)
    asks = f"It asks {servers} for names." if servers else "It asks the machine for names."
    yield f"Other containers find it as {slot.host}.nspawn. {asks}"


def _pins(member: Member, paths: Paths) -> Iterator[str]:
    slot = member.slot
    if not slot.pins:
        if not paths.android:
            yield "It has no pin: the machine's own routes decide."
            return
        there = ", ".join(each.name for each in paths.free) or "nothing"
        yield f"It has no pin: it takes the first of {paths.wishes()} that is up. There is {there}."
        return
    for word in slot.pins:
        meant = [each for each in paths.known if uplinks.matches(word, each)]
        there = ", ".join(
            f"{each.name} is {uplink_state(each)}" + (f" ({each.why})" if each.why else "") for each in meant
        )
        yield f"Pin {word}: {there or 'nothing of that kind is there'}."
    if slot.on_down == "block":
        yield "When none of its pins is up it is blocked: nothing leaves by another way."
    else:
        yield "When none of its pins is up it goes the way of containers without a pin (on_down=fallback)."


def forward_sentence(forward: Forward) -> str:
    """Where a forward leads."""
    told = forward.told()
    if forward.ports == 1:
        inside = f"its port {forward.container}"
    elif forward.shifted:
        inside = f"its ports {forward.container}-{forward.container + forward.ports - 1}"
    else:
        inside = "the same ones inside"
    lead = "lead" if forward.ports > 1 else "leads"
    of, address = ("", "") if not forward.listen else (" of ", forward.listen)
    told = told.removesuffix(f"{of}{address}")
    return f"{told[:1].upper()}{told[1:]} of {address or 'this machine'} {lead} to {inside}."


def _reached(look: Look) -> str:
    there = list(dict.fromkeys(f"{each.address} ({each.link})" for each in look.plan.firewall.locals))
    shown = ", ".join(there[:_MOST_ADDRESSES])
    if len(there) > _MOST_ADDRESSES:
        shown += f" and {len(there) - _MOST_ADDRESSES} more"
    outside = f"at {shown}, " if shown else ""
    gateway = look.plan.firewall.gateway4
    return f"That is reached {outside}on the machine itself at localhost, and by containers at {gateway}."


def _ipv6(member: Member, look: Look) -> str:
    slot = member.slot
    if slot.ipv6 == "off":
        return "It has no IPv6: ipv6=off in its settings."
    inside = {each.number: each.address for each in look.plan.inside}
    if member.running and slot.number in inside:
        return f"By IPv6 it has the global address {inside[slot.number]}, which the machine answers for."
    way = next((each for each in look.uplinks if each.name == member.egress.link), None)
    if look.plan.ipv6 == "nat" and way is not None and not way.usable6:
        return f"By IPv6 it reaches nothing outside now: {way.name} has none."
    if look.plan.ipv6 == "nat" or slot.ipv6 != "proxy":
        reaches = "reaches" if look.plan.ipv6 == "nat" else "does not reach"
        return f"By IPv6 it {reaches} the internet: {ipv6_why(look)}."
    return "It has no global IPv6 address: no uplink has a network of 64 bits for it."


def _operations(member: Member, look: Look) -> Iterator[str]:
    """Rules in the order in which the kernel asks them, routes for its pins, the firewall's lines."""
    slot = member.slot
    own = {
        f"{prefix.spell(family, base + 2 + slot.number)}/{prefix.BITS[family]}"
        for family, base in ((4, look.subnet.base4), (6, look.subnet.base6))
    }
    for rule in sorted(look.plan.rules, key=lambda rule: (rule.family, rule.priority)):
        if rule.src in own or (_is_for_all(rule, look) and not _is_past(rule, member, look)):
            yield Operation("add", rule).describe()
    for address in look.plan.addresses:
        yield Operation("add", address).describe()
    mine = [each.partition("/")[0] for each in own]
    for family in look.walls.tools:
        for line in _firewall(family, look, look.walls.features(family)):
            if any(address in _ADDRESS.findall(line) for address in mine):
                yield line


def _firewall(family: int, look: Look, features: Features) -> Iterator[str]:
    program = "iptables" if family == 4 else "ip6tables"
    for table, found in firewall.tables(family, look.plan.firewall, features).items():
        for chain, lines in found.items():
            for line in lines:
                yield f"{program} -t {table} -A {chain} {line}"


def _is_for_all(rule: Rule, look: Look) -> bool:
    return not rule.src or rule.src in rules.base_subnets(look.subnet).values()


def _is_past(rule: Rule, member: Member, look: Look) -> bool:
    """Whether its packets never come so far: a pin that blocks ends before."""
    blocked = bool(member.slot.pins) and member.slot.on_down == "block"
    return blocked and rule.priority >= look.config.rule_base + rules.LAN
