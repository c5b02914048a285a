"""One container's place in the network: from before its cell is told what to run, until it has ended."""

from __future__ import annotations

from nspawn.errors import NspawnError
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.network import Network
    from nspawn.model.slot import Slot

    Told = Callable[[NspawnError | None], None]


class Attachment:
    """A user of the network.  slot: its place; number: the slot's.  on_end: called when it has ended."""

    __slots__ = ("_connected", "_network", "_on_end", "number", "slot")

    def __init__(self, network: Network, slot: Slot, on_end: Callable[[], None] = lambda: None) -> None:
        self._network = network
        self._on_end = on_end
        self._connected = False
        self.slot = slot
        self.number = slot.number

    def wait(self, told: Told) -> bool:
        """Have the network up.  True when it is; else told later, also why it is not."""
        return self._network.need(self, told)

    def adopt(self) -> None:
        """Its container was started by a spawner before us."""
        self._connected = True
        self._network.adopt(self)

    def connect(self, pid: int, told: Told) -> bool:
        """Make its veth, into the network namespace of its cell.

        True when its command may run; else told later, when what must be there before that is.
        """
        self._connected = True
        try:
            self._network.connect(self.number, pid)
        except NspawnError:
            # Somebody has just broken the network: it is made anew first.
            self._network.refresh(lambda error: self._connect_again(pid, told, error))
            return False
        return self._arrange(told)

    def _connect_again(self, pid: int, told: Told, error: NspawnError | None) -> None:
        if not self._connected:
            return  # it has ended meanwhile
        try:
            if error is not None:
                raise error
            self._network.connect(self.number, pid)
        except NspawnError as failure:
            told(failure)
            return
        if self._arrange(told):
            told(None)

    def _arrange(self, told: Told) -> bool:
        """Have the agent run when this container has rules of its own; True when it has none."""
        if self.slot.careful or not self._network.bridged:
            self._network.refresh(told)
            return False
        return True

    def fields(self) -> list[tuple[str, bytes]]:
        """What the cell is told."""
        return cell_fields(self.slot, self._network.outcome)

    def end(self) -> None:
        """Its container has ended, or does not start."""
        self._network.leave(self)
        if self._connected:
            self._connected = False
            self._network.wires.disconnected(self.number)
        self._on_end()


def cell_fields(slot: Slot, outcome: Record) -> list[tuple[str, bytes]]:
    """What the child in a container's namespaces must know to set its end of the wire up."""
    from nspawn.model.slot import Subnet

    ipv6 = slot.ipv6 != "off"
    record = Record(
        (
            ("net-slot", slot.number),
            ("net-bridged", int(outcome.text("mode", "bridge") != "ptp")),
            ("net-ipv6", int(ipv6)),
            ("net-default6", int(ipv6 and outcome.text("ipv6", "none") != "none")),
            *Subnet.of(outcome).fields(),
        )
    )
    for server in slot.dns:
        record.add("net-dns", server)
    return record.fields
