"""Which interfaces lead to the internet, of what kind they are, and in which order they are taken.

Android's are found by the rules that its netd has left (facts: network, section 1), not by its version.
"""

from __future__ import annotations

from typing import NamedTuple

from nspawn.model import netdrules, words
from nspawn.model.netview import LOCAL, LOCAL_NETWORK, MAIN, PROTOCOL, Link, View
from nspawn.model.uplink import WIDEST, is_never
from nspawn.model.words import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nspawn.model.netview import Rule

#: On plain Linux, what a pin needs of the machine's routes is copied to the table of this and the index.
OWN_TABLES = 10000
#: And to the table of this and the index, from which requests are answered that came in by the interface.
ANSWERS = 10_000_000
_FROM_INDEX = 1000  # netd's table of an interface, without its index

_VPN_NAMES = ("tun", "tap", "wg", "ppp", "ipsec", "xfrm")
_VPN_DRIVERS = frozenset(("tun", "wireguard", "ppp", "xfrm", "vti", "vti6", "ipip", "sit", "gre", "ovpn"))
_MOBILE_NAMES = ("rmnet", "ccmni", "seth_lte", "sipa_eth", "wwan")


class Uplink(NamedTuple):
    """An interface that leads somewhere.

    table4, table6: where its routes are (on plain Linux: where we copy them to); netid: Android's, or 0.
    default: Android's default network, or of the machine's default route.  usable4, usable6: there is a way
    out.  why: what is wrong with it, "" when nothing.  name4: the interface of IPv4 when it is another one
    (464XLAT: v4-IF).  carrier: up and running.  apps: a VPN that is for some apps only.  back: the table of
    answers when it is another one.
    """

    name: str
    ifindex: int
    kind: str
    table4: int
    table6: int
    netid: int = 0
    default: bool = False
    usable4: bool = False
    usable6: bool = False
    why: str = ""
    name4: str = ""
    carrier: bool = True
    apps: bool = False
    back: int = 0

    def table(self, family: int) -> int:
        return self.table4 if family == 4 else self.table6

    def answers(self, family: int) -> int:
        """Where the way is found for answers to what came in by it."""
        return self.back or self.table(family)

    def usable(self, family: int) -> bool:
        return self.usable4 if family == 4 else self.usable6

    def interface(self, family: int) -> str:
        return (self.name4 or self.name) if family == 4 else self.name


class Excluded(NamedTuple):
    """An interface that looks like an uplink, and why it is none."""

    name: str
    why: str


def read_tables(text: str) -> dict[int, str]:
    """The names in /data/misc/net/rt_tables: one `id name` a line; what is not so is left out."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0].isascii() and fields[0].isdecimal():
            found[int(fields[0])] = fields[1]
    return found


def find(view: View, android: bool, rt_tables: Mapping[int, str]) -> list[Uplink]:  # noqa: FBT001
    """All uplinks, the default network first.  rt_tables: names of tables, {} when there are none."""
    return survey(view, rt_tables)[0] if android else _plain(view)


def survey(view: View, rt_tables: Mapping[int, str]) -> tuple[list[Uplink], list[Excluded]]:
    """Android's uplinks, and what is not one although it has a table."""
    links = {link.ifindex: link for link in view.links}
    ways = _ways(view, links)
    told = netdrules.read(view.rules)
    tethered = {rule.oif for rule in view.rules if rule.table == LOCAL_NETWORK and rule.oif}
    tethered |= {
        links[route.oif].name for route in view.routes if route.table == LOCAL_NETWORK and route.oif in links
    }
    found: dict[str, Uplink] = {}
    excluded: dict[str, Excluded] = {}
    vpns = netdrules.vpns(view.rules)
    for name in vpns:
        link = view.link(name)
        if link is not None:
            told.setdefault(_FROM_INDEX + link.ifindex, netdrules.Table())
    for table, what in sorted(told.items()):
        link = _link_of(table, what, links, ways, rt_tables, told)
        if link is None or link.loopback:
            continue
        why = _why_not(link, what, tethered=link.name in tethered, vpn=link.name in vpns)
        if why:
            excluded[link.name] = Excluded(link.name, why)
        elif link.name not in found or _FROM_INDEX + link.ifindex == table:
            found[link.name] = _uplink(link, table, what, ways, vpn=link.name in vpns)
    uplinks = _join_xlat(found)
    return sorted(uplinks, key=_rank), [excluded[name] for name in sorted(excluded) if name not in found]


def _ways(view: View, links: Mapping[int, Link]) -> dict[tuple[int, int], list[Link]]:
    """By (family, table): the interfaces of the routes to nearly everything."""
    ways: dict[tuple[int, int], list[Link]] = {}
    for route in view.routes:
        if (
            route.kind == "unicast"
            and route.oif in links
            and route.protocol != PROTOCOL
            and is_wide(route.dst)
        ):
            ways.setdefault((route.family, route.table), []).append(links[route.oif])
    return ways


def is_wide(dst: str) -> bool:
    """A prefix of nearly everything.  Not multicast: ff00::/8 is in every table of older kernels."""
    return int(dst.rpartition("/")[2]) <= WIDEST and not dst.startswith("ff")


def _link_of(
    table: int,
    what: netdrules.Table,
    links: Mapping[int, Link],
    ways: Mapping[tuple[int, int], list[Link]],
    rt_tables: Mapping[int, str],
    told: Mapping[int, netdrules.Table],
) -> Link | None:
    """The interface that a table belongs to; None when it is gone, also if one of its name has returned."""
    if table - _FROM_INDEX in links:
        return links[table - _FROM_INDEX]
    for family in (4, 6):
        for link in ways.get((family, table), ()):
            return link
    name = what.name or rt_tables.get(table, "")
    for link in links.values():
        if link.name == name and _FROM_INDEX + link.ifindex not in told:
            return None if table > _FROM_INDEX else link
    return None


def _why_not(link: Link, what: netdrules.Table, *, tethered: bool, vpn: bool) -> str:
    if tethered:
        return "it is a hotspot's or tethered"
    if is_never(link.name, android=True):
        return "an interface of this name never leads out"
    if vpn or what.default or 0 in what.permissions:
        return ""
    if what.permissions:
        kept = {0xC0000: "restricted, such as the carrier's for calls", 0x40000: "for the background"}
        return f"it is a network that is {kept.get(min(what.permissions), 'restricted')}"
    return "" if _is_vpn_name(link) and (what.users or what.uids) else "Android has no rules for it"


def _uplink(
    link: Link,
    table: int,
    what: netdrules.Table,
    ways: Mapping[tuple[int, int], list[Link]],
    *,
    vpn: bool,
) -> Uplink:
    carrier = link.up and link.running
    out4, out6 = (
        [each for each in ways.get((family, table), ()) if each.up and each.running] for family in (4, 6)
    )
    usable4, usable6 = carrier and bool(out4), carrier and bool(out6)
    kind = "vpn" if vpn else _kind(link)
    return Uplink(
        link.name,
        link.ifindex,
        kind,
        table,
        table,
        what.netid or what.system_netid,
        what.default,
        usable4,
        usable6,
        _what_is_wrong(link, there=usable4 or usable6),
        name4=out4[0].name if out4 and link not in out4 else "",
        carrier=carrier,
        apps=kind == "vpn" and bool(what.uids) and all(first > 0 for first, _ in what.uids),
    )


def _what_is_wrong(link: Link, *, there: bool) -> str:
    if not link.up:
        return "it is down"
    if not link.running:
        return "it has no carrier"
    return "" if there else "it has no route to the internet"


def _kind(link: Link) -> str:
    """Of an interface that is no VPN by the rules."""
    name = link.name.removeprefix("v4-")
    if name.startswith(_MOBILE_NAMES):
        return "mobile"
    if link.wireless or name.startswith("wl"):
        return "wifi"
    if _is_vpn_name(link):
        return "vpn"
    return "ethernet"


def _is_vpn_name(link: Link) -> bool:
    return link.kind in _VPN_DRIVERS or link.name.startswith(_VPN_NAMES)


def _join_xlat(found: Mapping[str, Uplink]) -> list[Uplink]:
    """464XLAT: an interface's IPv4 is in the table of v4-IF; the two are one uplink."""
    joined = dict(found)
    for name in found:
        base = joined.get(name.removeprefix("v4-"))
        if name.startswith("v4-") and base is not None:
            inner = joined.pop(name)
            if not base.usable4:
                joined[base.name] = base._replace(
                    table4=inner.table4,
                    usable4=inner.usable4 and base.carrier,
                    default=base.default or inner.default,
                    name4=name,
                    why="" if inner.usable4 and base.carrier else base.why,
                )
    return list(joined.values())


def _rank(uplink: Uplink) -> tuple[bool, int]:
    return not uplink.default, uplink.ifindex


def _plain(view: View) -> list[Uplink]:
    """Of a machine whose main table counts: who has a wide route there, or in a table of a VPN's own.

    Who once had one remains until the interface is gone, as far as rules of ours tell: when a default route
    moves from one to the other and back, only routes are to be changed.
    """
    links = {link.ifindex: link for link in view.links}
    ways: dict[int, set[int]] = {index: set() for index in _remembered(view.rules) if index in links}
    best: tuple[int, int, int] | None = None
    for route in view.routes:
        link = links.get(route.oif)
        if link is None or link.loopback or route.kind != "unicast" or route.table == LOCAL:
            continue
        if route.protocol == PROTOCOL or not is_wide(route.dst) or link.name.startswith("dummy"):
            continue
        ways.setdefault(route.oif, set()).add(route.family)
        mine = (route.family, route.metric, route.oif)
        if route.table == MAIN and route.length == 0 and (best is None or mine < best):
            best = mine
    found = []
    for ifindex, families in ways.items():
        link = links[ifindex]
        carrier = link.up and link.running
        table = OWN_TABLES + ifindex
        found.append(
            Uplink(
                link.name,
                ifindex,
                _kind(link),
                table,
                table,
                default=best is not None and best[2] == ifindex,
                usable4=carrier and 4 in families,
                usable6=carrier and 6 in families,
                why=_what_is_wrong(link, there=bool(families)),
                carrier=carrier,
                back=ANSWERS + ifindex,
            )
        )
    return sorted(found, key=_rank)


def _remembered(rules: Iterable[Rule]) -> Iterator[int]:
    """The indexes of interfaces whose tables rules of ours look up; others among them."""
    for rule in rules:
        if rule.protocol == PROTOCOL:
            yield rule.table - (ANSWERS if rule.table > ANSWERS else OWN_TABLES)


def check_word(word: str) -> str:
    """An interface, a glob or a kind, or UsageError."""
    return words.check(word)


def matches(word: str, uplink: Uplink) -> bool:
    """Whether a word of a pin or of the order means this uplink."""
    if word in KINDS:
        return uplink.kind == word
    return any(words.fits(word, name) for name in (uplink.name, uplink.name4) if name)


def order(uplinks: Iterable[Uplink], order: Sequence[str]) -> list[Uplink]:
    """Those that the order names, best first.  In one of its texts, words with commas between are equal."""
    left = sorted(uplinks, key=_rank)
    best: list[Uplink] = []
    for text in order:
        equal = [each for each in left if any(matches(word.strip(), each) for word in text.split(","))]
        best += equal
        left = [each for each in left if each not in equal]
    return best
