"""From what is there to what shall be: operations.

What is missing is added first, then what is too much of ours is deleted; what has not our protocol, 78, is
never touched.  Before Linux 4.17 rules have no protocol: ours are then known by their priority and by what
they are about.
"""

from __future__ import annotations

from nspawn.model.netplan import Proxy, Sysctl, WantedAddress, WantedLink, WantedRoute, is_ours
from nspawn.model.netview import PROTOCOL, Rule
from nspawn.model.slot import slot_of
from nspawn.network import rules
from nspawn.network.operation import Operation
from nspawn.network.plan import is_proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nspawn.model.netplan import Plan
    from nspawn.model.netview import Address, Link, Route, View

#: The settings that have the kernel pass on packets at all.
FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_UNTOLD = -1  # Rule.protocol, of an old kernel
_LINK_SCOPE = 253


def operations(view: View, plan: Plan) -> list[Operation]:
    """What leads from the one to the other; [] when all is well.

    view.sysctls holds the present values of the plan's (those that do not exist yet are left out).
    """
    names = {link.ifindex: link.name for link in view.links}
    added: list[Operation] = []
    deleted: list[Operation] = []
    added += _links(view, plan, names)
    settings = _sysctls(view, plan)
    added += [each for each in settings if not forwards(each)]
    _addresses(view, plan, names, added, deleted)
    _routes(view, plan, names, added, deleted)
    _proxies(view, plan, names, added, deleted)
    _rules(view, plan, added, deleted)
    # Nothing is passed on before all that says whereto.
    added += [each for each in settings if forwards(each)]
    former = _former(view, plan)
    deleted += [Operation("delete", WantedLink(link.name, link.kind, link.mac)) for link in former]
    return added + deleted


def teardown(view: View, bridge: str, before: Mapping[str, str], base: int = 1000) -> list[Operation]:
    """All of ours goes: interfaces first, so that nothing of a container takes another way meanwhile.

    before: sysctls by path, as they were before us; base: of the rules' priorities.
    """
    names = {link.ifindex: link.name for link in view.links}
    gone = [link for link in view.links if is_ours(link)]
    indexes = {link.ifindex for link in gone}
    found = [
        Operation("delete", WantedLink(link.name, link.kind, link.mac))
        for link in sorted(gone, key=lambda link: (link.kind == "bridge", link.ifindex))
    ]
    found += [Operation("delete", _bare(rule)) for rule in view.rules if _is_our_rule(rule, bridge, base)]
    for route in view.routes:
        if route.protocol == PROTOCOL and route.oif not in indexes:
            found.append(Operation("delete", _wanted(route, names)))
    for address, index in view.proxies:
        if is_proxy(address) and index not in indexes:
            found.append(Operation("delete", Proxy(address, names.get(index, ""))))
    present = dict(view.sysctls)
    found += [
        Operation("set", Sysctl(path, value))
        for path, value in before.items()
        if present.get(path, value) != value
    ]
    return found


def forwards(operation: Operation) -> bool:
    """Whether it switches forwarding on."""
    return isinstance(operation.what, Sysctl) and operation.what.path in FORWARDING


def holds(operation: Operation, plan: Plan) -> bool:
    """Whether it adds a rule of a single container."""
    what = operation.what
    if operation.verb != "add" or not isinstance(what, Rule):
        return False
    base = plan.rules[0].priority
    return base + rules.PINS <= what.priority < base + rules.LAN


def lost(present: Iterable[Rule], plan: Plan) -> list[Operation]:
    """What adds those of the plan's rules that are not there."""
    there = {_bare(rule) for rule in present}
    return [Operation("add", rule) for rule in _ordered(rule for rule in plan.rules if rule not in there)]


def _ordered(missing: Iterable[Rule]) -> list[Rule]:
    """By their priorities: what is for all alone would let out, for a moment, whom another is to hold."""
    return sorted(missing, key=lambda rule: rule.priority)


def _links(view: View, plan: Plan, names: Mapping[int, str]) -> list[Operation]:
    found = []
    for wanted in plan.links:
        there = view.link(wanted.name)
        if there is None:
            if wanted.kind == "bridge":
                found.append(Operation("add", wanted))
        elif not there.up or names.get(there.master, "") != wanted.master:
            found.append(Operation("set", wanted))
    return found


def _former(view: View, plan: Plan) -> list[Link]:
    """A bridge of ours that is not in the plan: its name was changed."""
    wanted = {each.name for each in plan.links}
    return [
        link for link in view.links if link.kind == "bridge" and is_ours(link) and link.name not in wanted
    ]


def _sysctls(view: View, plan: Plan) -> list[Operation]:
    present = dict(view.sysctls)
    return [
        Operation("set", wanted)
        for wanted in plan.sysctls
        if present.get(wanted.path) != wanted.value
        and (not wanted.only or present.get(wanted.path) == wanted.only)
    ]


def _addresses(
    view: View, plan: Plan, names: Mapping[int, str], added: list[Operation], deleted: list[Operation]
) -> None:
    wanted = {(each.link, each.family, each.address, each.length): each for each in plan.addresses}
    present = {
        (names.get(each.ifindex, ""), each.family, each.address, each.length) for each in view.addresses
    }
    added += [Operation("add", each) for key, each in wanted.items() if key not in present]
    ours = {link.ifindex for link in view.links if is_ours(link)} - {
        link.ifindex for link in _former(view, plan)
    }
    for each in view.addresses:
        key = (names.get(each.ifindex, ""), each.family, each.address, each.length)
        if each.ifindex in ours and _counts(each) and key not in wanted:
            deleted.append(Operation("delete", WantedAddress(*key)))


def _counts(address: Address) -> bool:
    """Not the link-local ones that the kernel gives."""
    return address.scope == 0


def _routes(
    view: View, plan: Plan, names: Mapping[int, str], added: list[Operation], deleted: list[Operation]
) -> None:
    wanted = dict.fromkeys(plan.routes)
    present = [_wanted(route, names) for route in view.routes if route.protocol == PROTOCOL]
    there = set(present)
    added += [Operation("add", each) for each in wanted if each not in there]
    deleted += [Operation("delete", each) for each in present if each not in wanted]


def _wanted(route: Route, names: Mapping[int, str]) -> WantedRoute:
    return WantedRoute(
        names.get(route.oif, ""),
        route.family,
        route.dst,
        route.table,
        route.via,
        route.scope if route.family == 4 else 0,
        route.metric,
        route.source,
    )


def _proxies(
    view: View, plan: Plan, names: Mapping[int, str], added: list[Operation], deleted: list[Operation]
) -> None:
    present = {Proxy(address, names.get(index, "")) for address, index in view.proxies}
    added += [Operation("add", each) for each in plan.proxies if each not in present]
    deleted += [
        Operation("delete", each)
        for each in sorted(present)
        if is_proxy(each.address) and each not in plan.proxies
    ]


def _rules(view: View, plan: Plan, added: list[Operation], deleted: list[Operation]) -> None:
    """A deletion is by the attributes that it names, so it may meet another rule that has these and more.

    Where that could be one that shall stay, that one goes as well, and comes again.  What was just added is
    safe: the kernel takes the first, and adds behind all of a priority.
    """
    base = plan.rules[0].priority if plan.rules else 0
    present = [rule for rule in view.rules if _is_our_rule(rule, plan.bridge, base)]
    untold = any(rule.protocol == _UNTOLD for rule in present)
    wanted = {rule._replace(protocol=_UNTOLD) if untold else rule: rule for rule in plan.rules}
    kept: dict[Rule, Rule] = {}
    left = []
    for rule in present:
        if rule in wanted and rule not in kept:
            kept[rule] = wanted[rule]
        else:
            left.append(rule)
    extras: dict[tuple[int, int], list[Rule]] = {}
    for rule in left:
        extras.setdefault((rule.family, rule.priority), []).append(rule)
    again = [
        rule
        for rule in kept.values()
        if any(_may_meet(extra, rule) for extra in extras.get((rule.family, rule.priority), ()))
    ]
    missing = _ordered(rule for key, rule in wanted.items() if key not in kept)
    added += [Operation("add", rule) for rule in missing]
    deleted += [Operation("delete", rule) for rule in again]
    deleted += [Operation("delete", _bare(rule)) for rule in left]
    deleted += [Operation("add", rule) for rule in again]


def _bare(rule: Rule) -> Rule:
    """As it is told to the kernel: old ones know no protocol, but ignore it."""
    return rule._replace(protocol=PROTOCOL) if rule.protocol == _UNTOLD else rule


def _may_meet(deleted: Rule, other: Rule) -> bool:
    """Whether the kernel could take `other` for what shall be deleted (net/core/fib_rules.c: rule_find)."""
    if (deleted.family, deleted.priority, deleted.action) != (other.family, other.priority, other.action):
        return False
    pairs = (
        (deleted.table, other.table),
        (deleted.src, other.src),
        (deleted.dst, other.dst),
        (deleted.iif, other.iif),
        (deleted.oif, other.oif),
        (deleted.mark, other.mark),
        (deleted.mask, other.mask),
        (deleted.uids, other.uids),
    )
    return all(not asked or asked == there for asked, there in pairs) and deleted.suppress in (
        -1,
        other.suppress,
    )


def _is_our_rule(rule: Rule, bridge: str, base: int) -> bool:
    if rule.protocol != _UNTOLD:
        return rule.protocol == PROTOCOL
    if not base <= rule.priority <= base + rules.LAST or rule.oif or rule.uids is not None:
        return False
    return rule.iif == bridge or slot_of(rule.iif) >= 0 or rule.priority == base
