"""Changes of the kernel's network, collected: messages of rtnetlink(7) that rtnl.Rtnl sends together."""

from __future__ import annotations

import _socket

from nspawn.kernel.rtdecode import ACTIONS
from nspawn.kernel.rtnl import classes
from nspawn.model.netview import LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nspawn.kernel.rtnl import Message
    from nspawn.model.netplan import WantedAddress, WantedRoute
    from nspawn.model.netview import Rule

_REQUEST, _ACK = 0x1, 0x4
_REPLACE, _EXCLUSIVE, _CREATE, _APPEND = 0x100, 0x200, 0x400, 0x800
_NEWLINK, _DELLINK, _SETLINK = 16, 17, 19
_NEWADDR, _DELADDR = 20, 21
_NEWROUTE, _DELROUTE = 24, 25
_NEWNEIGH, _DELNEIGH = 28, 29
_NEWRULE, _DELRULE = 32, 33
_DELETIONS = (_DELLINK, _DELADDR, _DELROUTE, _DELNEIGH, _DELRULE)

_FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6}
_ACTIONS = {name: number for number, name in ACTIONS.items()}
_UNICAST, _LOCAL = 1, 2  # RTN_*
_ONLINK = 0x4
_NTF_PROXY = 0x8
_IFF_UP = 0x1


class Batch:
    """items: each change as (message, whether it takes something away, a line for a person), in order."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[tuple[bytearray, bool, str]] = []

    def _add(self, message: Message, kind: int, flags: int, text: str) -> None:
        message["header"]["type"] = kind
        message["header"]["flags"] = _REQUEST | _ACK | flags
        message.encode()
        self.items.append((bytearray(message.data), kind in _DELETIONS, text))

    def rule(self, rule: Rule, text: str, *, delete: bool = False) -> None:
        """What it has `more` of is not told: such a rule is none of ours."""
        message = classes("fibmsg").fibmsg()
        message["family"] = _FAMILIES[rule.family]
        message["action"] = _ACTIONS[rule.action]
        message["table"] = rule.table if rule.table < 256 else 0
        found: list[tuple[str, Any]] = [("FRA_PRIORITY", rule.priority)]
        for key, prefix in (("src", rule.src), ("dst", rule.dst)):
            if prefix:
                address, _, length = prefix.partition("/")
                message[f"{key}_len"] = int(length)
                found.append((f"FRA_{key.upper()}", address))
        if rule.table:
            found.append(("FRA_TABLE", rule.table))
        for name, interface in (("FRA_IIFNAME", rule.iif), ("FRA_OIFNAME", rule.oif)):
            if interface:
                found.append((name, interface))
        if rule.mark or rule.mask:
            found += [("FRA_FWMARK", rule.mark), ("FRA_FWMASK", rule.mask)]
        if rule.suppress >= 0:
            found.append(("FRA_SUPPRESS_PREFIXLEN", rule.suppress))
        if rule.uids is not None:
            found.append(("FRA_UID_RANGE", f"{rule.uids[0]}:{rule.uids[1]}"))
        if rule.protocol > 0:
            found.append(("FRA_PROTOCOL", rule.protocol))
        message["attrs"] = found
        self._add(message, _DELRULE if delete else _NEWRULE, 0 if delete else _CREATE | _EXCLUSIVE, text)

    def route(self, route: WantedRoute, oif: int, protocol: int, text: str, *, delete: bool = False) -> None:
        """Beside others with the same destination.  oif: the index of its interface."""
        message = classes("rtmsg").rtmsg()
        message["family"] = _FAMILIES[route.family]
        message["table"] = route.table if route.table < 256 else 0
        message["proto"] = protocol
        message["scope"] = route.scope
        message["type"] = _LOCAL if route.table == LOCAL else _UNICAST
        message["flags"] = _ONLINK if route.via and not delete else 0
        address, _, length = route.dst.partition("/")
        message["dst_len"] = int(length)
        found: list[tuple[str, Any]] = [("RTA_TABLE", route.table), ("RTA_OIF", oif)]
        if int(length):
            found.append(("RTA_DST", address))
        for name, value in (
            ("RTA_GATEWAY", route.via),
            ("RTA_PREFSRC", route.source),
            ("RTA_PRIORITY", route.metric),
        ):
            if value:
                found.append((name, value))
        message["attrs"] = found
        self._add(message, _DELROUTE if delete else _NEWROUTE, 0 if delete else _CREATE | _APPEND, text)

    def address(self, address: WantedAddress, ifindex: int, text: str, *, delete: bool = False) -> None:
        """An address, with its flags (IFA_F_*)."""
        message = classes("ifaddrmsg").ifaddrmsg()
        message["family"] = _FAMILIES[address.family]
        message["prefixlen"] = address.length
        message["index"] = ifindex
        found: list[tuple[str, Any]] = [("IFA_LOCAL", address.address), ("IFA_ADDRESS", address.address)]
        if address.flags and not delete:
            found.append(("IFA_FLAGS", address.flags))
        message["attrs"] = found
        self._add(message, _DELADDR if delete else _NEWADDR, 0 if delete else _CREATE | _REPLACE, text)

    def proxy(self, address: str, ifindex: int, text: str, *, delete: bool = False) -> None:
        """Answer the neighbours of an interface for an address that is elsewhere."""
        message = classes("ndmsg").ndmsg()
        message["family"] = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        message["ifindex"] = ifindex
        message["flags"] = _NTF_PROXY
        message["attrs"] = [("NDA_DST", address)]
        self._add(message, _DELNEIGH if delete else _NEWNEIGH, 0 if delete else _CREATE | _REPLACE, text)

    def bridge(self, name: str, mac: str, text: str) -> None:
        """A new bridge, up, whose ports forward at once."""
        message = classes("ifinfmsg").ifinfmsg()
        message["flags"] = message["change"] = _IFF_UP
        data = {"attrs": [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_STP_STATE", 0)]}
        kind = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_LINKINFO", kind)]
        self._add(message, _NEWLINK, _CREATE | _EXCLUSIVE, text)

    def link(self, ifindex: int, text: str, *, up: bool = True, master: int = -1) -> None:
        """Set an interface up or down.  master: the bridge that it is to be a port of, 0 for none."""
        message = classes("ifinfmsg").ifinfmsg()
        message["index"] = ifindex
        message["flags"] = _IFF_UP if up else 0
        message["change"] = _IFF_UP
        if master >= 0:
            message["attrs"] = [("IFLA_MASTER", master)]
        self._add(message, _SETLINK, 0, text)

    def remove_link(self, ifindex: int, text: str) -> None:
        """Remove an interface that was made."""
        message = classes("ifinfmsg").ifinfmsg()
        message["index"] = ifindex
        self._add(message, _DELLINK, 0, text)
