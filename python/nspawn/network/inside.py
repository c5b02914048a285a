"""The global IPv6 addresses of containers (proxy NDP), on eth0 in the containers' own namespaces."""

from __future__ import annotations

import _socket

from nspawn.kernel.netspace import Inside, peers
from nspawn.kernel.rtbatch import Batch
from nspawn.kernel.rtnl import Rtnl
from nspawn.model.netplan import NODAD, WantedAddress
from nspawn.model.slot import veth
from nspawn.network.plan import is_proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.model.netplan import Plan
    from nspawn.model.netview import View
    from nspawn.model.slot import Slot

_LINK = "eth0"


def settle(netlink: Rtnl, view: View, slots: Iterable[Slot], plan: Plan, *, change: bool = True) -> list[str]:
    """Give each container that wants one its address, and take away those of before: the lines of it.

    slots: the active ones.  change: whether to do it.  A container that ends meanwhile is left out.
    """
    wanted = {each.number: each.address for each in plan.inside}
    numbers = {slot.number for slot in slots if slot.ipv6 == "proxy"} | wanted.keys()
    indexes = {number: link.ifindex for number in numbers if (link := view.link(veth(number))) is not None}
    lines = []
    for number, pid in sorted(peers(netlink, indexes).items()):
        try:
            with Inside(pid):
                lines += _settle(pid, wanted.get(number, ""), change=change)
        except OSError:
            pass
    return lines


def _settle(pid: int, wanted: str, *, change: bool) -> list[str]:
    try:
        ifindex = _socket.if_nametoindex(_LINK)
    except OSError:
        return []  # its end is not renamed yet: the start runs us again
    with Rtnl() as netlink:
        there = {each.address for each in netlink.addresses() if each.ifindex == ifindex and each.family == 6}
        steps = [(wanted, "add")] if wanted and wanted not in there else []
        steps += [(each, "del") for each in sorted(there) if each != wanted and is_proxy(each)]
        batch, lines = Batch(), []
        for address, verb in steps:
            lines.append(f"nsenter -t {pid} -n ip -6 addr {verb} {address}/128 dev {_LINK}")
            value = WantedAddress(_LINK, 6, address, 128, NODAD)
            batch.address(value, ifindex, lines[-1], delete=verb == "del")
        if change:
            netlink.send(batch)
    return lines
