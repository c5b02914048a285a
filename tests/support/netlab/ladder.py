"""The priorities of Android's routing rules, by generation (facts/network.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Names as in the table of facts.

    local_routes: of `IF_local` tables, 0 where there are none.  default_mark: what the default rule asks for.
    brackets: how dumpsys prints name servers, `[ /a,/b ]` or the older `[a,b,]`.
    """

    legacy_system: int = 10000
    own_interface: int = 11000
    from_vpn: int = 12000
    vpn: int = 13000
    prohibit: int = 14000
    explicit: int = 16000
    interface: int = 17000
    legacy_system_late: int = 18000
    legacy_network: int = 19000
    local_network: int = 20000
    tether: int = 21000
    implicit: int = 23000
    local_routes: int = 0
    default: int = 31000
    unreachable: int = 32000
    default_mark: str = "0x0/0xffff"
    brackets: bool = True


LADDERS = {
    "10": Ladder(
        own_interface=10500,
        from_vpn=11000,
        vpn=12000,
        prohibit=12500,
        explicit=13000,
        interface=14000,
        legacy_system_late=15000,
        legacy_network=16000,
        local_network=17000,
        tether=18000,
        implicit=19000,
        default=22000,
        brackets=False,
    ),
    "12": Ladder(default=29000),
    "13": Ladder(local_routes=26000),
    # LineageOS 20 and later: a network can be forbidden to an app, so the default asks for permissions.
    "lineage": Ladder(local_routes=26000, default_mark="0xc0000/0xcffff"),
}
