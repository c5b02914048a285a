"""Answers the DHCP clients of containers: each gets the address that its place in the network has anyway.

The address is there before anything of the container runs, and no rootfs needs DHCP.  But many bring a
client of their own, which begins by taking every address off eth0; it gets the same one back.  Nothing is
kept: who has which address follows from the MAC (model.slot), and a lease has no end.
"""

from __future__ import annotations

import _socket

from nspawn.model import dhcpmessage
from nspawn.model.dhcpmessage import ACK, DISCOVER, INFORM, NAK, OFFER, REQUEST, Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.model.slot import Slot, Subnet
    from nspawn.network.names import Names

#: The zone in which containers find each other.
_DOMAIN = b"nspawn"
_NOWHERE = bytes(4)
_EVERYBODY = "255.255.255.255"
#: Packets before the others have their turn.
_AT_ONCE = 32


class Leases:
    """names: knows the slots."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def serve(self, end: _socket.socket) -> None:
        """Answer what waits at the socket, which is bound to the bridge."""
        for _ in range(_AT_ONCE):
            try:
                data = end.recv(dhcpmessage.LARGEST)
            except BlockingIOError:
                return
            try:
                asked = dhcpmessage.read(data)
            except dhcpmessage.Malformed:
                continue
            self._names.refresh()
            said = self.answer(asked)
            if said is not None:
                # Who has an address already hears it there; the others hear only what all hear.
                renews = asked.has != _NOWHERE and asked.kind in (REQUEST, INFORM)
                to = _socket.inet_ntop(_socket.AF_INET, asked.has) if renews else _EVERYBODY
                try:
                    end.sendto(said, (to, dhcpmessage.CLIENT_PORT))
                except OSError:
                    pass  # it asks again

    def answer(self, asked: Asked) -> bytes | None:
        """The answer; None for what gets none."""
        found = self._names.of_mac(asked.mac)
        if found is None:
            return None
        subnet, slot = found
        own = subnet.address4(slot.number)
        if asked.kind == INFORM:
            return dhcpmessage.answer(asked, ACK, _NOWHERE, _about(subnet, slot))
        if asked.server not in (b"", subnet.gateway4):
            return None  # it has chosen another server
        lease = dhcpmessage.FOREVER.to_bytes(4, "big")
        options = [(dhcpmessage.LEASE, lease), *_about(subnet, slot)]
        if asked.kind == DISCOVER:
            return dhcpmessage.answer(asked, OFFER, own, options)
        if asked.kind != REQUEST:
            return None  # DECLINE and RELEASE change nothing
        wants = asked.wants or asked.has
        if wants == own:
            return dhcpmessage.answer(asked, ACK, own, options)
        # One that it had elsewhere, or before it was moved: it begins anew.
        refusal = [(dhcpmessage.SERVER, subnet.gateway4), (dhcpmessage.WHY, b"it has another address")]
        return dhcpmessage.answer(asked, NAK, _NOWHERE, refusal)


def _about(subnet: Subnet, slot: Slot) -> list[tuple[int, bytes]]:
    """What a container is told besides its address."""
    mask = ((1 << 32) - (1 << 32 - subnet.length4)).to_bytes(4, "big")
    last = (subnet.base4 | (1 << 32 - subnet.length4) - 1).to_bytes(4, "big")
    servers = [_socket.inet_pton(_socket.AF_INET, each) for each in slot.dns if ":" not in each]
    options = [
        (dhcpmessage.SERVER, subnet.gateway4),
        (dhcpmessage.MASK, mask),
        (dhcpmessage.BROADCAST, last),
        (dhcpmessage.ROUTER, subnet.gateway4),
        (dhcpmessage.SERVERS, b"".join(servers) if slot.dns else subnet.gateway4),
        (dhcpmessage.HOST, slot.host.encode("ascii", "replace")[:63]),
    ]
    return options if slot.dns else [*options, (dhcpmessage.DOMAIN, _DOMAIN)]
