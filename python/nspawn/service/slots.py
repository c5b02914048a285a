"""The slots of named containers: what is asked for is checked against the others, given, kept, taken away.

A container's slot, and so its address, is its own from the first start with `network.mode=nat`, or from the
moment in which it asks for a fixed address, until it is removed.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, NspawnError, UsageError
from nspawn.kernel.slotfiles import SlotFiles, is_gone, name_owner, peek
from nspawn.model import forwards, prefix, settings
from nspawn.model.names import host_name
from nspawn.model.slot import Slot, veth
from nspawn.service import config
from nspawn.service import files as system

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nspawn.container.client import Client
    from nspawn.layout import Layout
    from nspawn.model.forwards import Forward
    from nspawn.model.settings import Network, Settings
    from nspawn.model.slot import Subnet
    from nspawn.service.request import Fields
    from nspawn.service.store import Store


@contextmanager
def locked(layout: Layout) -> Iterator[SlotFiles]:
    """The files of all slots, held against every other process; NspawnError."""
    try:
        with SlotFiles(layout) as held:
            yield held
    except OSError as error:
        raise system.system_error("the network's files cannot be used", error) from None


@contextmanager
def claimed(store: Store, name: str, value: Settings) -> Iterator[None]:
    """While it lasts, what these settings ask of the network is free, and stays so; Conflict, UsageError.

    A fixed address is taken at once, unless the container runs with another one.
    """
    if value.network.mode != "nat":
        yield
        return
    with locked(store.layout) as held:
        number = _check_all(store, held, name, value.network)
        subnet = held.subnet()
        owner = name_owner(name)
        before = held.of(owner)
        if number >= 0 and subnet and not (before and is_link(veth(before.number))):
            held.take(wish(name, value, number), subnet)
        try:
            yield
        except BaseException:
            if held.of(owner) != before:
                held.release(owner)
                if before is not None:
                    held.write(before)
            raise


def check(store: Store, name: str, value: Settings) -> None:
    """Conflict or UsageError when another has what these settings ask of the network."""
    if value.network.mode == "nat":
        with locked(store.layout) as held:
            _forget_gone(store, held)
            _check_all(store, held, name, value.network)


def start_fields(layout: Layout, client: Client, name: str, value: Settings) -> Fields:
    """What op=start is told: the container's slot, written for these settings.

    Conflict when a container that runs has a port or the address.
    """
    slot = _take(layout, name, value)
    if slot is None:
        client.call("net", [("verb", "ready")])  # it chooses the subnet
        slot = _take(layout, name, value)
    if slot is None:
        raise NspawnError(f"{name} has no address", "no subnet was chosen", "See: nspawn net status")
    return list(slot.to_record().fields)


def _take(layout: Layout, name: str, value: Settings) -> Slot | None:
    """None when no subnet was chosen yet."""
    with locked(layout) as held:
        subnet = held.subnet()
        if subnet is None:
            return None
        asked = wish(name, value, _number(value.network, subnet))
        _check_running(held, asked, value.network)
        return held.take(asked, subnet)


def warnings(layout: Layout, name: str, network: Network) -> list[str]:
    """What a person should know of the forwards at a start: ports that are left out, or are somebody's."""
    found, left_out = settings.granted(network)
    if not found:
        return list(left_out)
    from nspawn.service import listeners  # with the network's notes, which a start seldom has

    port = config.load(layout).port
    known = peek(layout)[0]
    ours = [prefix.spell(4, known.base4 + 1), prefix.spell(6, known.base6 + 1)] if known else []
    told = listeners.warnings([(name, forward) for forward in found], page=port, ours=ours)
    return [*left_out, *(f"{note.what}: {note.why}" for note in told)]


def release(layout: Layout, name: str) -> None:
    """Its address is free again."""
    if os.path.isdir(layout.network):
        with locked(layout) as held:
            held.release(name_owner(name))


def rename(layout: Layout, old: str, new: str) -> None:
    """It keeps its address under the new name."""
    if os.path.isdir(layout.network):
        with locked(layout) as held:
            held.rename(old, new)


def _address(subnet: Subnet, number: int) -> str:
    return prefix.spell(4, int.from_bytes(subnet.address4(number), "big"))


def _forget_gone(store: Store, held: SlotFiles) -> None:
    """Slots of containers whose folder somebody has removed."""
    for slot in held.all():
        kind, _, name = slot.owner.partition(":")
        if kind == "name" and not is_link(veth(slot.number)) and not store.has(name):
            held.release(slot.owner, slot.number)


def wish(name: str, value: Settings, number: int) -> Slot:
    """The slot of this number that a container with these settings asks for, as it is given at a start."""
    network = value.network
    return Slot(
        number,
        name_owner(name),
        host=value.hostname or host_name(name),
        pins=network.pin,
        on_down=network.on_down,
        forwards=[str(each) for each in settings.granted(network)[0]],
        dns=network.dns,
        ipv6=network.ipv6,
    )


def _number(network: Network, subnet: Subnet) -> int:
    """The slot of the fixed address; -1 for none."""
    if not network.ip:
        return -1
    number = subnet.number_of(prefix.address(network.ip)[1])
    if number < 0:
        raise UsageError(
            f"network.ip: {network.ip} is not an address of a container",
            f"the network has {_address(subnet, 0)} to {_address(subnet, subnet.room - 1)}",
        )
    return number


def _check_all(store: Store, held: SlotFiles, name: str, network: Network) -> int:
    """The slot of the fixed address, -1 for none, after all checks against others."""
    _check_others(store, name, network)
    subnet = held.subnet()
    number = _number(network, subnet) if subnet else -1
    slot = held.get(number) if number >= 0 else None
    if slot is not None and slot.owner != name_owner(name) and not is_gone(slot.owner):
        raise _address_taken(network.ip, owner_text(slot.owner))
    return number


def _address_taken(address: str, owner: str) -> Conflict:
    return Conflict(f"network.ip: {address} is the address of {owner}", hint="Choose another, or none.")


def _check_others(store: Store, name: str, network: Network) -> None:
    others: list[tuple[str, Forward]] = []
    for other, theirs in _networks(store, name):
        if network.ip and network.ip == theirs.ip:
            raise _address_taken(network.ip, other)
        others += [(other, forward) for forward in settings.forwarded(theirs)]
    _check_forwards(network, others)


def _networks(store: Store, name: str) -> Iterator[tuple[str, Network]]:
    """Of all other containers with a network like this one, by name."""
    for other in store.names():
        if other == name:
            continue
        try:
            network = store.load(other).settings.network
        except NspawnError:
            continue  # removed meanwhile
        if network.mode == "nat":
            yield other, network


def _check_running(held: SlotFiles, asked: Slot, network: Network) -> None:
    """What runs has the ports of its last start, whatever its settings say by now."""
    if not asked.forwards:
        return
    others = [
        (owner_text(slot.owner), forwards.parse_publish(text))
        for slot in held.all()
        if slot.owner != asked.owner and not is_gone(slot.owner) and is_link(veth(slot.number))
        for text in slot.forwards
    ]
    _check_forwards(network, others)


def _check_forwards(network: Network, others: Sequence[tuple[str, Forward]]) -> None:
    for key, asked in (
        ("ports", settings.forwarded(replace(network, port_range=()))),
        ("port_range", settings.forwarded(replace(network, ports=()))),
    ):
        try:
            forwards.conflict(asked, others)
        except Conflict as error:
            raise Conflict(f"network.{key}: {error.what}", error.why, error.hint) from None


def owner_text(owner: str) -> str:
    """The container's name, or which foreground run it is."""
    kind, _, who = owner.partition(":")
    return who if kind == "name" else f"a run (process {who.partition(':')[0]})"


def is_link(name: str) -> bool:
    """Whether this network namespace has the interface now; /sys shows that of who mounted it."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
