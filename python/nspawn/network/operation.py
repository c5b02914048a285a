"""One step towards the plan, as data that a person can read."""

from __future__ import annotations

from typing import NamedTuple

from nspawn.model.netplan import Proxy, Sysctl, WantedAddress, WantedLink, WantedRoute
from nspawn.model.netview import LOCAL, MAIN, PROTOCOL, Rule


class Operation(NamedTuple):
    """One step.

    verb: "add" and "delete"; "set" of a link (up, and in its bridge or in none) and of a sysctl.  An added
    bridge is set up, too.
    """

    verb: str
    what: WantedLink | WantedAddress | WantedRoute | Rule | Sysctl | Proxy

    def describe(self) -> str:
        """A line that a person can paste."""
        verb, what = self.verb, self.what
        if isinstance(what, Rule):
            words = ["ip", f"-{what.family}", "rule", verb, "pref", str(what.priority), *rule_words(what)]
            return " ".join(words)
        if isinstance(what, WantedRoute):
            return _route(verb, what)
        if isinstance(what, WantedAddress):
            return _address(verb, what)
        if isinstance(what, WantedLink):
            return _link(verb, what)
        if isinstance(what, Sysctl):
            return f"sysctl -w {_sysctl_name(what.path)}={what.value}"
        return f"ip -6 neigh {verb} proxy {what.address} dev {what.link}"


def rule_words(rule: Rule) -> list[str]:
    """Its selectors and its action, as `ip rule` reads them."""
    words = ["from", rule.src or "all"]
    for key, text in (("to", rule.dst), ("iif", rule.iif), ("oif", rule.oif)):
        if text:
            words += [key, text]
    if rule.mask:
        words += ["fwmark", f"{rule.mark:#x}/{rule.mask:#x}"]
    if rule.uids is not None:
        words += ["uidrange", f"{rule.uids[0]}-{rule.uids[1]}"]
    if rule.action == "lookup":
        words += ["lookup", _table(rule.table)]
        if rule.suppress >= 0:
            words += ["suppress_prefixlength", str(rule.suppress)]
    else:
        words.append(rule.action)
    if rule.protocol > 0:
        words += ["protocol", str(rule.protocol)]
    return words


def rule_text(rule: Rule) -> str:
    """On one line, as `ip rule` shows it."""
    return " ".join((f"{rule.priority}:", *rule_words(rule)))


def _table(number: int) -> str:
    return {MAIN: "main", LOCAL: "local"}.get(number, str(number))


def _route(verb: str, route: WantedRoute) -> str:
    verb = "append" if verb == "add" else verb
    words = ["ip", f"-{route.family}", "route", verb, *(["local"] if route.table == LOCAL else []), route.dst]
    if route.via:
        words += ["via", route.via]
    words += ["dev", route.link, "table", _table(route.table), "proto", str(PROTOCOL)]
    if route.family == 4 and route.scope:
        words += ["scope", {253: "link", 254: "host"}.get(route.scope, str(route.scope))]
    if route.metric:
        words += ["metric", str(route.metric)]
    if route.source:
        words += ["src", route.source]
    if route.via and verb == "append":
        words.append("onlink")
    return " ".join(words)


def _address(verb: str, address: WantedAddress) -> str:
    flags = ((0x02, "nodad"), (0x200, "noprefixroute"))
    words = [f"ip -{address.family} addr {verb} {address.address}/{address.length} dev {address.link}"]
    if verb == "add":
        words += [name for flag, name in flags if address.flags & flag]
    return " ".join(words)


def _link(verb: str, link: WantedLink) -> str:
    if verb == "add":
        return f"ip link add {link.name} address {link.mac} type {link.kind} && ip link set {link.name} up"
    if verb == "delete":
        return f"ip link delete {link.name}"
    if link.kind == "bridge":
        return f"ip link set {link.name} up"
    return f"ip link set {link.name} {f'master {link.master}' if link.master else 'nomaster'} up"


def _sysctl_name(path: str) -> str:
    """Dots and slashes change places, as sysctl(8) has it."""
    return path.translate(str.maketrans("./", "/."))
