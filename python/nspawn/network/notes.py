"""What a person should know of the plan: what stands in its way, and what is not there."""

from __future__ import annotations

from nspawn.model import prefix
from nspawn.model.netplan import Note
from nspawn.model.netview import PROTOCOL
from nspawn.network import rules
from nspawn.network.operation import rule_text
from nspawn.network.subnet import conflicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nspawn.model.netconfig import NetConfig
    from nspawn.model.netplan import Features
    from nspawn.model.netview import Rule, View
    from nspawn.model.slot import Slot, Subnet
    from nspawn.network.egress import Paths


def of(
    view: View,
    paths: Paths,
    subnet: Subnet,
    slots: Sequence[Slot],
    config: NetConfig,
    features: Features,
) -> Iterator[Note]:
    """All of them."""
    yield from _capturing(view, subnet, config, features)
    for where in conflicts(view, subnet, config.bridge):
        yield Note(
            "the containers' network is used elsewhere too",
            f"{where} cannot be reached while containers run",
            "Stop all containers, set another subnet in config.toml ([network]), and run: nspawn net down",
        )
    if not features.bridge:
        yield Note(
            "containers have no bridge",
            "this kernel has none (CONFIG_BRIDGE); each is connected by itself",
            "",
        )
    yield from _ipv6(slots, config, features)
    if paths.locked:
        yield Note(
            "containers reach only a VPN",
            "Android blocks connections without VPN (lockdown), and so do we, for all of them",
            "Switch it off in Android's settings of the VPN if that is not meant.",
        )
    if not features.connmark and any(slot.forwards for slot in slots):
        yield Note(
            "answers of forwarded ports may leave by another way than the request came in",
            "this kernel has no connection marks (CONFIG_NETFILTER_XT_TARGET_CONNMARK)",
            "",
        )


def _ipv6(slots: Sequence[Slot], config: NetConfig, features: Features) -> Iterator[Note]:
    if not features.ipv6:
        yield Note("containers have no IPv6", "this kernel has none", "")
    elif config.ipv6 == "auto" and not features.nat6 and all(slot.ipv6 == "auto" for slot in slots):
        yield Note(
            "IPv6 is not reachable from containers",
            "this kernel has no NAT for IPv6 (CONFIG_IP6_NF_NAT), as nearly all phones; IPv4 is not affected",
            'A container can have a global address instead: ipv6 = "proxy" in its settings.',
        )


def _capturing(view: View, subnet: Subnet, config: NetConfig, features: Features) -> Iterator[Note]:
    """Rules of others that match the containers' packets."""
    told = set()
    first, last = config.rule_base, config.rule_base + rules.LAST
    for rule in view.rules:
        if rule.protocol == PROTOCOL or not _captures(rule, subnet, config):
            continue
        if rule.priority >= first and not (rule.src or rule.iif):
            continue  # for all, and after ours
        text = rule_text(rule)
        if text in told:
            continue
        told.add(text)
        if rule.priority < first:
            lower = rule.priority - rules.LAST - 1
            hint = f"Set rule_base = {lower} in config.toml: [network]." if lower > 0 else ""
            why = f"it comes before ours, which begin at {first}: containers may be cut off or leave wrongly"
        elif rule.priority <= last:
            why, hint = "it is among ours", f"Set another rule_base in config.toml: [network], {first} now."
        elif features.android:
            why, hint = f"ours come before it, {first} to {last}, so containers are not affected", ""
        else:
            why, hint = "containers without a pin follow it", ""
        yield Note(f"a rule of another program takes the containers' packets: {text}", why, hint)


def _captures(rule: Rule, subnet: Subnet, config: NetConfig) -> bool:
    """Whether it is about containers: by their addresses or interfaces, or about all before ours."""
    if rule.priority == 0 or rule.oif or rule.uids is not None or rule.mark or rule.mask or rule.more:
        return False
    ours = (4, subnet.base4, subnet.length4) if rule.family == 4 else (6, subnet.base6, 64)
    if rule.iif and rule.iif != config.bridge:
        return False
    for text in (rule.src, rule.dst):
        if text and not prefix.overlap(ours, prefix.parse(text)):
            return False
    if rule.action in ("goto", "nop"):
        return False
    return bool(rule.src or rule.dst or rule.iif) or rule.priority < config.rule_base
