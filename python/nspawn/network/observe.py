"""What there is now: links, addresses, routes, rules, settings, and Android's names of tables."""

from __future__ import annotations

import os

from nspawn.layout import on_android, phone
from nspawn.model.netplan import Features
from nspawn.model.netview import Link, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nspawn.kernel.rtnl import Rtnl

_TABLES = "/data/misc/net/rt_tables"
_IPV6 = "net/ipv6/conf/all/disable_ipv6"


def look(netlink: Rtnl, environ: Mapping[str, str]) -> View:
    """All of it at about one moment; what changes meanwhile will be told by an event."""
    links = netlink.links()
    return View(
        links=tuple(_mark_wireless(link, environ) for link in links),
        addresses=tuple(netlink.addresses()),
        routes=tuple(netlink.routes()),
        rules=tuple(netlink.rules()),
        proxies=tuple(netlink.proxies()),
    )


def _mark_wireless(link: Link, environ: Mapping[str, str]) -> Link:
    """By sysfs: only hardware has no driver's name in its link."""
    if link.kind or link.loopback:
        return link
    folder = phone(environ, f"/sys/class/net/{link.name}")
    if any(os.path.exists(f"{folder}/{name}") for name in ("phy80211", "wireless")):
        return link._replace(wireless=True)
    return link


def tables(environ: Mapping[str, str]) -> str:
    """Android's file of names of tables; "" where there is none."""
    try:
        with open(phone(environ, _TABLES), encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def sysctls(paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(path, value) of those that there are.  paths: below /proc/sys."""
    found = []
    for path in paths:
        try:
            with open(f"/proc/sys/{path}", encoding="ascii", errors="replace") as file:
                found.append((path, " ".join(file.read().split())))
        except OSError:
            pass
    return tuple(found)


def features(
    netlink: Rtnl, environ: Mapping[str, str], view: View, name: str, *, bridge: bool | None = None
) -> Features:
    """Without what only the firewall's tools know.

    name: of our bridge; bridge: whether the kernel can make one, None for what is not known yet.
    """
    if bridge is None:
        bridge = view.link(name) is not None or netlink.has_kind("bridge")
    return Features(
        android=on_android(environ),
        bridge=bridge,
        ipv6=dict(sysctls((_IPV6,))).get(_IPV6) == "0",
        nat6=False,
        connmark=False,
    )
