"""What the rules of Android's netd tell: whose a table is, which interfaces are VPNs', what is blocked."""

from __future__ import annotations

from nspawn.model.netview import LOCAL, LOCAL_NETWORK, MAIN, PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.model.netview import Rule, View

_LOCAL_ROUTES = 1_000_000_000  # Android 13+: the tables IF_local begin here
_NOT_ITS = frozenset((0, LOCAL_NETWORK, 98, 99, 253, MAIN, LOCAL))
# netd's marks (system/netd: Fwmark.h).
_NETID = 0xFFFF
_EXPLICIT = 0x10000
_PROTECTED = 0x20000
_PERMISSION = 0xC0000
_ONE_USER = 100_000  # uids of Android's first user are below


class Table:
    """What netd's rules tell of a table.  users: its rules are for ranges of uids, as a VPN's are."""

    __slots__ = ("default", "name", "netid", "permissions", "system_netid", "uids", "users")

    def __init__(self) -> None:
        self.netid = 0
        self.system_netid = 0
        self.default = False
        self.name = ""
        self.permissions: set[int] = set()
        self.users = False
        self.uids: list[tuple[int, int]] = []  # whose traffic goes there without their asking


def read(rules: Iterable[Rule]) -> dict[int, Table]:
    """By table, what the rules tell; without rules of ours, and tables that are no interface's."""
    told: dict[int, Table] = {}
    for rule in rules:
        table = rule.table
        ours_or_none = rule.protocol == PROTOCOL or rule.action != "lookup"
        if ours_or_none or table in _NOT_ITS or table >= _LOCAL_ROUTES or rule.src or rule.dst:
            continue
        what = told.get(table) or Table()
        if _tell(what, rule):
            told[table] = what
    return told


def _tell(what: Table, rule: Rule) -> bool:
    """Learn from a rule; whether it was netd's."""
    mark, mask = rule.mark, rule.mask
    if rule.iif == "lo" and rule.oif:
        what.name = rule.oif
    elif mask & _NETID == _NETID and mark & _NETID == 0 and rule.iif == "lo":
        # 0x0/0xffff; LineageOS 20+ says 0xc0000/0xcffff.  With uids it is of a VPN that may be bypassed.
        if rule.uids is None:
            what.default = True
        else:
            what.uids.append(rule.uids)
    elif mask & _NETID == _NETID and mask & _EXPLICIT:
        what.netid = mark & _NETID
        if rule.uids is None:
            what.permissions.add(mark & mask & _PERMISSION)
        else:
            what.users = True
    elif mask & (_NETID | _PERMISSION) == _NETID | _PERMISSION and mark & _NETID:
        what.system_netid = mark & _NETID  # a VPN's, for the system
    elif mask == _PROTECTED and mark == 0 and rule.uids is not None:
        what.uids.append(rule.uids)
    else:
        return False
    return True


def vpns(rules: Iterable[Rule]) -> set[str]:
    """Interfaces of VPNs: netd lets what comes out of them reach what is tethered."""
    return {
        rule.iif
        for rule in rules
        if rule.table == LOCAL_NETWORK
        and rule.protocol != PROTOCOL
        and rule.iif not in ("", "lo")
        and not rule.oif
        and rule.suppress < 0
    }


def lockdown(view: View) -> bool:
    """Whether Android blocks what does not go through a VPN ("block connections without VPN")."""
    return any(
        rule.action == "prohibit"
        and rule.iif == "lo"
        and rule.mask & _PROTECTED
        and not rule.mark & _PROTECTED
        and rule.uids is not None
        and rule.uids[0] < _ONE_USER
        for rule in view.rules
    )
