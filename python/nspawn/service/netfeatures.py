"""What this machine has for a network of the containers' own, by asking its kernel; nothing is made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError
from nspawn.kernel import xtables
from nspawn.kernel.rtnl import Rtnl
from nspawn.layout import on_android, phone
from nspawn.service.features import BUILD, Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.firewall import Features

#: Of a kernel's configuration that says what is asked here: these rows take the place of those.
REPLACED = frozenset(("veth", "nat", "nat6"))
_NONE = "Containers can have the host's network only."
_NDC, _PROXY = "/system/bin/ndc", "/dev/socket/dnsproxyd"


def of_network(environ: Mapping[str, str]) -> list[Feature]:
    """Each thing that it takes, and what it costs to be without."""
    return [*_of_links(), *_of_firewall(environ), *_of_android(environ)]


def _of_links() -> list[Feature]:
    try:
        with Rtnl() as netlink:
            veth, bridge = netlink.has_kind("veth"), netlink.has_kind("bridge")
            policy = _has_rules(netlink)
    except OSError as error:
        why = error.strerror or str(error)
        return [_unknown("veth", why, "VETH", _NONE), _unknown("bridge", why, "BRIDGE", _NONE)]
    return [
        _row("veth", "VETH", have=veth, cost=_NONE),
        _row(
            "bridge",
            "BRIDGE",
            have=bridge,
            cost="Each container is connected by itself; nothing else is lost.",
        ),
        _row(
            "policy routing",
            "IP_MULTIPLE_TABLES",
            have=policy,
            cost="Containers cannot be bound to an uplink, and reach nothing on a phone.",
        ),
    ]


def _has_rules(netlink: Rtnl) -> bool:
    try:
        return bool(netlink.rules())
    except OSError:
        return False


def _of_firewall(environ: Mapping[str, str]) -> list[Feature]:
    try:
        tool = xtables.find(environ, 4)
        found = xtables.features(tool)
    except NspawnError as error:
        return [
            Feature(name="iptables", have=False, why=error.why or str(error), cost=_NONE, hint=error.hint)
        ]
    backend = "nf_tables" if tool.nft else "legacy"
    rows = [Feature(name="iptables", have=True, how=f"{tool.path} ({backend})"), *_of_tables(found)]
    try:
        tool6 = xtables.find(environ, 6)
        nat6 = xtables.features(tool6).nat
    except NspawnError:
        nat6 = False
    rows.append(
        _row(
            "nat6",
            "IP6_NF_NAT",
            have=nat6,
            cost="Containers reach the internet by IPv4 only, unless they have ipv6=proxy.",
        )
    )
    return rows


def _of_tables(found: Features) -> list[Feature]:
    return [
        _row(
            "nat", "IP_NF_NAT", have=found.nat, cost="Containers reach nothing outside, and no port leads in."
        ),
        _row(
            "connmark",
            "NETFILTER_XT_TARGET_CONNMARK",
            have=found.connmark and found.mangle,
            cost="Answers of forwarded ports may leave by another uplink than the request came in.",
        ),
        _row(
            "conntrack match",
            "NETFILTER_XT_MATCH_CONNTRACK",
            have=found.conntrack,
            cost="Who routes to the containers' addresses reaches them.",
        ),
        _row(
            "raw",
            "IP_NF_RAW",
            have=found.raw,
            cost="The machine's own services on loopback are guarded a step later.",
        ),
        _row(
            "mss clamping",
            "NETFILTER_XT_TARGET_TCPMSS",
            have=found.tcpmss,
            cost="Some connections through a VPN may stall.",
        ),
    ]


def _of_android(environ: Mapping[str, str]) -> list[Feature]:
    if not on_android(environ):
        return []
    return [
        _file(
            environ,
            "ndc",
            _NDC,
            os.X_OK,
            "When a hotspot is switched off, containers are cut off until the next change of the network.",
        ),
        _file(
            environ,
            "dnsproxyd",
            _PROXY,
            os.F_OK,
            "Names are asked of the uplink's servers: without Android's private DNS.",
        ),
    ]


def _file(environ: Mapping[str, str], name: str, path: str, mode: int, cost: str) -> Feature:
    if os.access(phone(environ, path), mode):
        return Feature(name=name, have=True, how=path)
    hint = "Nothing can be done: it is a part of Android."
    return Feature(name=name, have=False, why=f"there is no {path}", cost=cost, hint=hint)


def _row(name: str, option: str, *, have: bool, cost: str) -> Feature:
    config = f"CONFIG_{option}"
    if have:
        return Feature(name=name, have=True, how="tried", config=config)
    why = "this kernel does not have it"
    return Feature(name=name, have=False, why=why, config=config, cost=cost, hint=BUILD.format(config))


def _unknown(name: str, why: str, option: str, cost: str) -> Feature:
    return Feature(name=name, have=None, why=why, config=f"CONFIG_{option}", cost=cost)
