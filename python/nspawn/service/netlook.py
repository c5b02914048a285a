"""What the network is and what it shall be; nothing is changed.  For the agent, commands and the web."""

from __future__ import annotations

import os
from typing import NamedTuple

from nspawn.errors import NspawnError, Unsupported, UsageError
from nspawn.kernel import slotfiles
from nspawn.kernel.rtnl import Rtnl
from nspawn.model import uplinks as model
from nspawn.model.netconfig import NetConfig, from_table
from nspawn.model.netplan import Note
from nspawn.model.slot import Slot, slot_of
from nspawn.network import diff, observe, plan, subnet
from nspawn.network.walls import Walls
from nspawn.service import netstate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.layout import Layout
    from nspawn.model.netplan import Features, Plan
    from nspawn.model.netview import View
    from nspawn.model.slot import Subnet
    from nspawn.model.uplinks import Uplink
    from nspawn.network.operation import Operation

_PAGE = 8080
_LARGEST = 1 << 20
#: What a container is pinned to whose file cannot be read: no interface has this name, so it is cut off.
_LOST = "(lost)"


class Look(NamedTuple):
    """slots: all; active: those whose veth is there; fresh: the subnet was chosen now, and is not remembered.

    page: its port.  operations: what leads from what is there to the plan, [] when all is well; the firewall
    (walls) is compared by itself.  notes: the plan's, and what was found on the way.
    """

    view: View
    uplinks: list[Uplink]
    slots: list[Slot]
    active: list[Slot]
    subnet: Subnet
    fresh: bool
    config: NetConfig
    page: int
    features: Features
    plan: Plan
    operations: list[Operation]
    walls: Walls
    notes: list[Note]


def look(
    layout: Layout,
    environ: Mapping[str, str],
    *,
    netlink: Rtnl | None = None,
    refill: bool = False,
    page: int | None = None,
    bridge: bool | None = None,
) -> Look:
    """Observe and plan.  UsageError for a wrong config.toml, Unsupported where there can be no network.

    refill: the firewall is not compared with what was done last.  page: its port, None for what config.toml
    says.  bridge: whether the kernel can make one, None for looking.
    """
    if netlink is None:
        with Rtnl() as netlink:
            return look(layout, environ, netlink=netlink, refill=refill, page=page, bridge=bridge)
    config, port, notes = read_config(layout)
    last = netstate.read(layout)
    if last.bridges is None:
        _check_kernel(netlink)
    view = observe.look(netlink, environ)
    remembered, slots, damaged = slotfiles.peek(layout)
    active = active_slots(view, slots)
    notes += [Note(error.what, error.why, error.hint) for error in damaged]
    if active and last.bridge and view.link(last.bridge) is not None:
        config = config._replace(bridge=last.bridge)  # a new name is for when nobody has the old one
    chosen, fresh = remembered, False
    if chosen is None or (not active and slotfiles.wish(layout) != wish(config)):
        chosen, more = subnet.choose(view, config)
        notes += more
        fresh = True
    walls = Walls(environ, ("", "") if refill else last.digests)
    features = observe.features(
        netlink, environ, view, config.bridge, bridge=last.bridges if bridge is None else bridge
    )._replace(nat6=walls.features(6).nat, connmark=walls.features(4).connmark)
    uplinks = model.find(view, features.android, model.read_tables(observe.tables(environ)))
    page = port if page is None else page
    planned = plan.make(view, uplinks, chosen, active, config, features, page=page)
    view = view._replace(sysctls=observe.sysctls([each.path for each in planned.sysctls]))
    return Look(
        view=view,
        uplinks=uplinks,
        slots=slots,
        active=active,
        subnet=chosen,
        fresh=fresh,
        config=config,
        page=page,
        features=features,
        plan=planned,
        operations=diff.operations(view, planned),
        walls=walls,
        notes=[*notes, *planned.notes, *walls.notes()],
    )


def _check_kernel(netlink: Rtnl) -> None:
    what = "containers cannot have a network of their own here"
    hint = "They can have the host's: network host."
    if not os.path.exists("/proc/self/ns/net"):
        raise Unsupported(what, "this kernel has no network namespaces (CONFIG_NET_NS)", hint)
    if not netlink.has_kind("veth"):
        raise Unsupported(what, "this kernel has no virtual Ethernet (CONFIG_VETH)", hint)


def wish(config: NetConfig) -> str:
    """What the choice of the subnet followed from: when it changes, another is chosen."""
    return f"{config.subnet} {config.subnet6}"


def active_slots(view: View, slots: list[Slot]) -> list[Slot]:
    """The slots whose veth is there.  One without a file that can be read is cut off, not let out."""
    known = {slot.number: slot for slot in slots}
    numbers = sorted(number for link in view.links if (number := slot_of(link.name)) >= 0)
    return [known.get(number) or Slot(number, "", pins=(_LOST,)) for number in numbers]


def read_config(layout: Layout) -> tuple[NetConfig, int, list[Note]]:
    """What config.toml says of the network, and the port of its page; UsageError when it cannot be used.

    Most have no such file, and tomllib takes 10 ms: it is loaded only where a word tells that it is needed.
    """
    try:
        with open(os.open(layout.config, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return NetConfig(), _PAGE, []
    except OSError as error:
        raise NspawnError(f"{layout.config} cannot be read", error.strerror or "") from None
    if b"network" not in data and b"page" not in data:
        return NetConfig(), _PAGE, []
    import tomllib

    hint = "Correct it or remove it."
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{layout.config} cannot be read", str(error), hint) from None
    version = document.get("version", 1)
    if isinstance(version, int) and version > 1:
        note = Note(f"{layout.config} is not used", "a newer nspawn wrote it", "Update nspawn.")
        return NetConfig(), _PAGE, [note]
    page, table = document.get("page"), document.get("network", {})
    port = page.get("port", _PAGE) if isinstance(page, dict) else _PAGE
    if not isinstance(table, dict):
        raise UsageError(f"{layout.config}: network: expected a table, got {str(table)[:40]!r}", "", hint)
    usable = isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= 65535
    return from_table(table, f"{layout.config}: network"), port if usable else _PAGE, []
