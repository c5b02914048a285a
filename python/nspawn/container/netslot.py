"""The slot of a run by a command line: it lasts as long as the run."""

from __future__ import annotations

import _socket

from nspawn.errors import NspawnError, UsageError
from nspawn.kernel.slotfiles import SlotFiles, is_gone, peek
from nspawn.kernel.wire import is_there
from nspawn.model import words
from nspawn.model.slot import Slot, Subnet, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.netwish import Wish
    from nspawn.model.record import Record


def take(layout: Layout, owner: str, wish: Wish, host: str, outcome: Record, *, wait: bool = True) -> Slot:
    """A slot for the wish.  owner: as of kernel/slotfiles.py; outcome: of the agent, which has run.

    Conflict when another has the address or a port; UsageError when there is no such uplink or address.
    Without wait, BlockingIOError when another process is at the files just now.
    """
    check_pins(wish.pins, outcome)
    subnet = Subnet.of(outcome)
    asked = Slot(
        _number(wish.address, subnet),
        owner,
        host=host,
        pins=wish.pins,
        on_down=wish.on_down,
        forwards=wish.forwards,
        dns=wish.dns,
        ipv6=wish.ipv6,
    )
    try:
        with SlotFiles(layout, wait=wait) as files:
            if wish.forwards:
                _check_forwards(files, asked)
            return files.take(asked, subnet)
    except BlockingIOError:
        raise
    except OSError as error:
        raise NspawnError("the network's files cannot be used", str(error)) from error


def _number(address: str, subnet: Subnet) -> int:
    """The slot of a fixed address, -1 for any."""
    if not address:
        return -1
    number = subnet.number_of(int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big"))
    if number < 0:
        first, last = (_text(subnet.address4(each)) for each in (0, subnet.room - 1))
        raise UsageError(f"{address} is not an address of a container", f"the network has {first} to {last}")
    return number


def _text(address: bytes) -> str:
    return _socket.inet_ntop(_socket.AF_INET, address)


def _check_forwards(files: SlotFiles, asked: Slot) -> None:
    """Conflict when a container that runs has one of the ports."""
    from nspawn.model import forwards

    others = [
        (
            slot.owner.partition(":")[2]
            if slot.owner.startswith("name:")
            else f"a run at slot {slot.number}",
            each,
        )
        for slot in files.all()
        if slot.forwards and _is_used(slot)
        for each in map(forwards.parse_publish, slot.forwards)
    ]
    forwards.conflict(map(forwards.parse_publish, asked.forwards), others)


def _is_used(slot: Slot) -> bool:
    """Whether its container runs; a run's begins with its slot."""
    if slot.owner.startswith("run:"):
        return not is_gone(slot.owner)
    return is_there(veth(slot.number))


def check_pins(pins: tuple[str, ...], outcome: Record) -> None:
    """UsageError when none of them means anything that is there: on a command line, that is a mistake."""
    if not pins:
        return
    uplinks = [text.decode("utf-8", "replace").split() for text in outcome.all("uplink")]
    names = {name for _index, name in _socket.if_nameindex()}
    for pin in pins:
        if pin in words.KINDS:
            if any(pin in uplink[1:2] for uplink in uplinks):
                return
        elif any(words.fits(pin, name) for name in names):
            return
    there = ", ".join(" ".join((uplink[0], f"({uplink[1]})")) for uplink in uplinks if len(uplink) > 1)
    raise UsageError(
        f"there is no uplink {', '.join(map(repr, pins))}",
        f"there is {there}" if there else "there is none at all",
        "See them: nspawn net status. A named container would wait for it.",
    )


def release(layout: Layout, owner: str, number: int) -> None:
    """The run is over."""
    try:
        with SlotFiles(layout) as files:
            files.release(owner, number)
    except OSError:
        return  # a run that is over loses it anyway


def numbers_of(layout: Layout, owner: str) -> list[int]:
    """Of all slots of this owner."""
    _subnet, slots, _damaged = peek(layout)
    return [slot.number for slot in slots if slot.owner == owner]
