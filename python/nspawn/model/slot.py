"""A container's place in the network: a number, from which its addresses and the name of its veth follow.

Pure and small: the spawner's start path reads it.
"""

from __future__ import annotations

from nspawn.errors import Damaged
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Slots are 0 to LAST: .0 is the network, .1 the bridge, .255 the broadcast of the usual /24.
LAST = 252
_FIRST_HOST = 2


class Subnet:
    """Where the containers live.  base4: the IPv4 network address as a number; length4: of its prefix.

    base6: of the IPv6 network, whose prefix has 64 bits.
    """

    __slots__ = ("base4", "base6", "length4")

    def __init__(self, base4: int, length4: int, base6: int) -> None:
        self.base4 = base4
        self.length4 = length4
        self.base6 = base6

    @property
    def room(self) -> int:
        """How many slots it has."""
        return max(0, min(LAST + 1, (1 << 32 - self.length4) - 3))

    @property
    def gateway4(self) -> bytes:
        return (self.base4 + 1).to_bytes(4, "big")

    @property
    def gateway6(self) -> bytes:
        return (self.base6 + 1).to_bytes(16, "big")

    def address4(self, number: int) -> bytes:
        return (self.base4 + _FIRST_HOST + number).to_bytes(4, "big")

    def address6(self, number: int) -> bytes:
        return (self.base6 + _FIRST_HOST + number).to_bytes(16, "big")

    def number_of(self, address4: int) -> int:
        """The slot that has this address; -1 when it is none of a container's."""
        number = address4 - self.base4 - _FIRST_HOST
        return number if 0 <= number < self.room else -1

    def fields(self) -> tuple[tuple[str, int | str], ...]:
        """In a record; a number of 128 bits as text."""
        return (("base4", self.base4), ("length4", self.length4), ("base6", str(self.base6)))

    @classmethod
    def of(cls, record: Record) -> Subnet:
        """From a record's fields, or Damaged."""
        found = cls(record.integer("base4"), record.integer("length4"), record.integer("base6"))
        if not (0 < found.base4 < 1 << 32 and 8 <= found.length4 <= 29 and 0 < found.base6 < 1 << 128):
            raise Damaged("the network's subnet is not one")
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subnet) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.fields())


def veth(number: int) -> str:
    """The host's end; the container's is eth0."""
    return f"nsp{number}"


def slot_of(interface: str) -> int:
    """The slot of a veth's name; -1 of any other interface."""
    number = interface.removeprefix("nsp")
    return int(number) if interface.startswith("nsp") and number.isdecimal() and len(number) <= 3 else -1


def mac(number: int) -> bytes:
    """Of eth0: locally administered, stable."""
    return b"\x02nsp" + number.to_bytes(2, "big")


class Slot:
    """What a container has asked of the network, as of its last start.

    owner: `name:NAME` of a container, `run:PID:START` of a foreground run (its process and start time).
    host: the name by which others find it.  pins: words as in the settings; on_down: "block" or "fallback".
    forwards: as text, each in the spelling of model.forwards.  dns: servers instead of ours.
    ipv6: "auto", "proxy" or "off".
    """

    __slots__ = ("dns", "forwards", "host", "ipv6", "number", "on_down", "owner", "pins")

    def __init__(
        self,
        number: int,
        owner: str,
        *,
        host: str = "",
        pins: Iterable[str] = (),
        on_down: str = "block",
        forwards: Iterable[str] = (),
        dns: Iterable[str] = (),
        ipv6: str = "auto",
    ) -> None:
        self.number = number
        self.owner = owner
        self.host = host
        self.pins = tuple(pins)
        self.on_down = on_down
        self.forwards = tuple(forwards)
        self.dns = tuple(dns)
        self.ipv6 = ipv6

    @property
    def careful(self) -> bool:
        """Whether rules or forwards of its own must be there before its command runs."""
        return bool(self.pins or self.forwards or self.ipv6 == "proxy")

    def to_record(self) -> Record:
        record = Record(
            (
                ("slot", self.number),
                ("owner", self.owner),
                ("host", self.host),
                ("on-down", self.on_down),
                ("ipv6", self.ipv6),
            )
        )
        for key, values in (("pin", self.pins), ("forward", self.forwards), ("dns", self.dns)):
            for value in values:
                record.add(key, value)
        return record

    @classmethod
    def from_record(cls, record: Record) -> Slot:
        """The value again, or Damaged."""
        number, on_down, ipv6 = record.integer("slot", -1), record.text("on-down"), record.text("ipv6")
        if not 0 <= number <= LAST or on_down not in ("block", "fallback"):
            raise Damaged("a slot of the network is not whole", repr(record)[:80])
        texts = {
            key: [value.decode("utf-8", "replace") for value in record.all(key)]
            for key in ("pin", "forward", "dns")
        }
        return cls(
            number,
            record.text("owner"),
            host=record.text("host"),
            pins=texts["pin"],
            on_down=on_down,
            forwards=texts["forward"],
            dns=texts["dns"],
            ipv6=ipv6 or "auto",
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and self.to_record().fields == other.to_record().fields

    __hash__ = None  # type: ignore[assignment]
