"""What the forwarder knows of the containers: their names and addresses, and which way out each has.

From files that others replace whole (the slots, the agent's outcome); read again when they have changed.
"""

from __future__ import annotations

import _socket
import os
import time

from nspawn.errors import Damaged
from nspawn.kernel import slotfiles
from nspawn.model import dnsmessage
from nspawn.model.dnsmessage import Answer, Question
from nspawn.model.record import Record
from nspawn.model.slot import mac, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.slot import Slot, Subnet

#: Below it are the containers, and nothing of it is ever asked of others.
ZONE = (b"nspawn",)
#: Seconds that a container's address, or its absence, may be remembered: containers come and go.
LIFETIME = 5
#: The host itself, and any asker without a slot.
NOBODY = -1
#: A file that was written less than so many seconds ago may be written again within the same time stamp.
_FRESH = 0.1


class Egress:
    """The way out of an asker.

    device: the interface, "" for the machine's own choice; netid: Android's number of its network, 0 unknown.
    pinned: whether it may be no other.
    """

    __slots__ = ("device", "netid", "pinned")

    def __init__(self, device: str = "", netid: int = 0, *, pinned: bool = False) -> None:
        self.device = device
        self.netid = netid
        self.pinned = pinned

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Egress) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Egress{self.key}"

    @property
    def key(self) -> tuple[str, int, bool]:
        return (self.device, self.netid, self.pinned)


class Names:
    """The containers of a layout.  android: an uplink's loss then blocks those without a pin, too."""

    def __init__(self, layout: Layout, *, android: bool) -> None:
        self._layout = layout
        self._android = android
        self._slots_stamp: tuple[int, ...] | None = None
        self._state_stamp: tuple[int, ...] | None = None
        self._subnet: Subnet | None = None
        self._slots: dict[int, Slot] = {}
        self._egress: dict[str, tuple[str, int]] = {}
        #: Counts the changes of the agent's outcome: uplinks may have come or gone.
        self.changes = 0
        #: Servers of last resort, as configured.
        self.servers: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Read again what has changed."""
        chosen, folder = _stamp(f"{self._layout.network}/prefix"), _stamp(f"{self._layout.network}/slots")
        stamp = None if chosen is None or folder is None else chosen + folder
        if stamp is None or stamp != self._slots_stamp:
            subnet, slots, _damaged = slotfiles.peek(self._layout)
            self._subnet = subnet
            self._slots = {slot.number: slot for slot in slots}
            self._slots_stamp = stamp
        state = _stamp(self._layout.network_state)
        if state is None or state != self._state_stamp:
            self._read_state()
            self._state_stamp = state

    def _read_state(self) -> None:
        try:
            with open(self._layout.network_state, "rb") as file:
                record = Record.decode(file.read(1 << 20))
        except (OSError, Damaged):
            record = Record()
        found = {}
        for line in record.all("egress"):
            words = line.decode("utf-8", "replace").split(" ", 3)
            if len(words) >= 3 and words[2].isdecimal():
                found[words[0]] = (words[1], int(words[2]))
        servers = tuple(server.decode("ascii", "replace") for server in record.all("server"))
        if found != self._egress or servers != self.servers:
            self.changes += 1
        self._egress = found
        self.servers = servers

    # Who asks

    def asker(self, address: str) -> int | None:
        """The slot of who asks from this address, NOBODY for the machine itself; None for all others.

        Only the subnet's own are answered, and of those only who has a slot or is the gateway.
        """
        subnet = self._subnet
        if subnet is None:
            return None
        plain = address.partition("%")[0]
        if ":" in plain:
            value = int.from_bytes(_socket.inet_pton(_socket.AF_INET6, plain), "big")
            number = value - int.from_bytes(subnet.address6(0), "big")
        else:
            value = int.from_bytes(_socket.inet_aton(plain), "big")
            number = value - int.from_bytes(subnet.address4(0), "big")
        if number == -1:  # the gateway is one before the first container
            return NOBODY
        return number if number in self._slots else None

    def of_mac(self, address: bytes) -> tuple[Subnet, Slot] | None:
        """The subnet, and the slot whose eth0 has this hardware address; None when nobody's does."""
        slot = self._slots.get(int.from_bytes(address[-2:], "big"))
        if self._subnet is None or slot is None or mac(slot.number) != address or not _is_active(slot.number):
            return None
        return self._subnet, slot

    def gateways(self) -> tuple[str, ...]:
        """Our own addresses, which are no servers to ask."""
        subnet = self._subnet
        if subnet is None:
            return ()
        return (
            _socket.inet_ntop(_socket.AF_INET, subnet.gateway4),
            _socket.inet_ntop(_socket.AF_INET6, subnet.gateway6),
        )

    def egress(self, number: int) -> Egress | None:
        """The way out of this asker; None when it has none now."""
        slot = self._slots.get(number)
        pinned = slot is not None and bool(slot.pins)
        own = self._egress.get(str(number)) if number >= 0 else None
        if own is None:
            if pinned:
                return None  # the agent has not decided yet, and no other way may do
            own = self._egress.get("*", ("", 0))
        device, netid = own
        if device == "-":
            return None if pinned or self._android else Egress()
        if not pinned and not self._android:
            return Egress()  # the machine's own rules lead them
        return Egress(device, netid, pinned=pinned)

    # Their names

    def answer(self, question: Question) -> bytes | None:
        """The answer to a question about containers; None for one that is about somebody else."""
        if question.klass != dnsmessage.IN:
            return None
        if question.name[-1:] == ZONE:
            return self._forward(question)
        if question.name[-1:] == (b"arpa",):
            return self._reverse(question)
        return None

    def _forward(self, question: Question) -> bytes:
        host = b".".join(question.name[:-1]).decode("latin-1")
        slot = self._named(host)
        if slot is not None and self._subnet is not None:
            records = []
            if question.kind in (dnsmessage.A, dnsmessage.ANY):
                records.append(Answer(dnsmessage.A, LIFETIME, self._subnet.address4(slot.number)))
            if question.kind in (dnsmessage.AAAA, dnsmessage.ANY) and slot.ipv6 != "off":
                records.append(Answer(dnsmessage.AAAA, LIFETIME, self._subnet.address6(slot.number)))
            return _reply(question, dnsmessage.NOERROR, records, ZONE)
        there = not host or any(
            each.host.endswith(f".{host}") and _is_active(each.number) for each in self._slots.values()
        )
        return _reply(question, dnsmessage.NOERROR if there else dnsmessage.NXDOMAIN, (), ZONE)

    def _named(self, host: str) -> Slot | None:
        """The container of this name; a foreground run only where no container has it."""
        found = None
        for slot in self._slots.values():
            if slot.host.lower() == host and host and _is_active(slot.number):
                if slot.owner.startswith("name:"):
                    return slot
                found = found or slot
        return found

    def _reverse(self, question: Question) -> bytes | None:
        address = dnsmessage.address_of(question.name)
        subnet = self._subnet
        if address is None or subnet is None:
            return None
        value = int.from_bytes(address, "big")
        if len(address) == 4:
            if value >> 32 - subnet.length4 != subnet.base4 >> 32 - subnet.length4:
                return None
            number = subnet.number_of(value)
        else:
            if value >> 64 != subnet.base6 >> 64:
                return None
            number = value - int.from_bytes(subnet.address6(0), "big")
        slot = self._slots.get(number)
        if slot is None or not slot.host or not _is_active(number):
            return _reply(question, dnsmessage.NXDOMAIN, ())
        try:
            target = dnsmessage.name([*slot.host.encode().split(b"."), *ZONE])
        except ValueError:
            return _reply(question, dnsmessage.NXDOMAIN, ())
        wanted = question.kind in (dnsmessage.PTR, dnsmessage.ANY)
        records = [Answer(dnsmessage.PTR, LIFETIME, target)] if wanted else []
        return _reply(question, dnsmessage.NOERROR, records)


def _reply(
    question: Question, rcode: int, records: list[Answer] | tuple[()], zone: tuple[bytes, ...] = ()
) -> bytes:
    """An answer of ours; of an absence in the zone, caches learn how long to remember it."""
    authority = dnsmessage.soa(zone, LIFETIME) if zone and not records else b""
    return dnsmessage.answer(question, rcode, records, authority=authority)


def _is_active(number: int) -> bool:
    """Whether its container runs: the kernel knows."""
    try:
        _socket.if_nametoindex(veth(number))
    except OSError:
        return False
    return True


def _stamp(path: str) -> tuple[int, ...] | None:
    """What changes when the file, or a folder's list of files, does; None when that cannot be told."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if abs(time.time() - found.st_mtime) < _FRESH:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
