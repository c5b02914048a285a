"""What netd writes into iptables: at its start, and for a hotspot (facts/network.md, section 1)."""

from __future__ import annotations

#: Both families.  A start empties these built-in chains, whoever wrote into them.
START = """\
*filter
-F INPUT
-F FORWARD
:bw_INPUT -
:fw_INPUT -
:oem_fwd -
:fw_FORWARD -
:bw_FORWARD -
:tetherctrl_FORWARD -
:tetherctrl_counters -
-F tetherctrl_FORWARD
-A INPUT -j bw_INPUT
-A INPUT -j fw_INPUT
-A FORWARD -j oem_fwd
-A FORWARD -j fw_FORWARD
-A FORWARD -j bw_FORWARD
-A FORWARD -j tetherctrl_FORWARD
COMMIT
*mangle
-F INPUT
-F FORWARD
:routectrl_mangle_INPUT -
:tetherctrl_mangle_FORWARD -
-A INPUT -j routectrl_mangle_INPUT
-A FORWARD -j tetherctrl_mangle_FORWARD
COMMIT
*raw
-F PREROUTING
:bw_raw_PREROUTING -
-A PREROUTING -j bw_raw_PREROUTING
COMMIT
"""

#: IPv4 alone: a phone translates nothing else.
START4 = """\
*filter
-A tetherctrl_FORWARD -j DROP
COMMIT
*nat
-F PREROUTING
-F POSTROUTING
:oem_nat_pre -
:tetherctrl_nat_POSTROUTING -
-A PREROUTING -j oem_nat_pre
-A POSTROUTING -j tetherctrl_nat_POSTROUTING
COMMIT
"""


def tether(clients: str, uplink: str) -> str:
    """A hotspot on the interface `clients` that uses `uplink`: of IPv4."""
    return f"""\
*nat
-A tetherctrl_nat_POSTROUTING -o {uplink} -j MASQUERADE
COMMIT
*filter
-A tetherctrl_FORWARD -i {uplink} -o {clients} -m state --state RELATED,ESTABLISHED -g tetherctrl_counters
-A tetherctrl_FORWARD -i {clients} -o {uplink} -m state --state INVALID -j DROP
-A tetherctrl_FORWARD -i {clients} -o {uplink} -g tetherctrl_counters
-A tetherctrl_counters -i {clients} -o {uplink} -j RETURN
-A tetherctrl_counters -i {uplink} -o {clients} -j RETURN
-D tetherctrl_FORWARD -j DROP
-A tetherctrl_FORWARD -j DROP
COMMIT
"""


#: As netd does when the last hotspot goes.
UNTETHER = """\
*nat
:tetherctrl_nat_POSTROUTING -
COMMIT
*filter
:tetherctrl_FORWARD -
:tetherctrl_counters -
-A tetherctrl_FORWARD -j DROP
COMMIT
"""
