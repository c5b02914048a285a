"""The forwarder of names: started by the first question of a container, gone when none comes."""

from __future__ import annotations

import _socket
import os

from nspawn.container.activated import Activated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.activated import Owner
    from nspawn.container.loop import Timer
    from nspawn.model.slot import Subnet

_PORT = 53
_LEASES = 67
_AGAIN = 0.05  # seconds
_TRIES = 8  # 0.05, 0.1, 0.2 ... seconds after each other
_SELDOM = 60.0  # seconds, after those
_IP_FREEBIND, _IPV6_FREEBIND, _IPV6_V6ONLY = 15, 78, 26


class NameProcess(Activated):
    """trouble: why questions are not answered, or ""."""

    __slots__ = ("_bridge", "_closed", "_timer", "trouble")

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner, "dns", "the forwarder of names")
        self._timer: Timer | None = None
        self._closed = False
        self._bridge = 0
        self.trouble = ""
        self.end_stale()

    def open(self, subnet: Subnet, bridge: str = "", tries: int = _TRIES) -> None:
        """Take the port on the gateway's addresses, as soon as it is free: one before us may be leaving.

        bridge: where DHCP is answered, too; "" when there is none.
        """
        self._timer = None
        if self.listeners or self._closed:
            return
        ends: list[_socket.socket] = []
        try:
            for family, address in ((_socket.AF_INET, subnet.gateway4), (_socket.AF_INET6, subnet.gateway6)):
                for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
                    try:
                        ends.append(_bound(family, _socket.inet_ntop(family, address), kind))
                    except OSError:
                        if family == _socket.AF_INET:
                            raise
                        break  # a kernel without IPv6: IPv4 is what resolv.conf names first
        except OSError as error:
            for end in ends:
                end.close()
            self._again_later(subnet, bridge, tries, error)
            return
        self.trouble = ""
        if bridge:
            try:
                self._bridge = _index(bridge)
                ends.append(_leases(bridge))
            except OSError as error:
                self._owner.log(f"DHCP clients of containers get no answer: port {_LEASES}: {error.strerror}")
        self.listeners = [end.detach() for end in ends]
        self.listen()

    def is_of(self, bridge: str) -> bool:
        """Whether the bridge is the one that it listens at, and not a new one of this name."""
        return not self._bridge or not bridge or self._bridge == _index(bridge)

    def _again_later(self, subnet: Subnet, bridge: str, tries: int, error: OSError) -> None:
        """Whoever has the port may let go of it."""
        pause = _AGAIN * 2.0 ** (_TRIES - tries)
        if tries <= 1 and not self.trouble:
            self.trouble = f"port {_PORT} is not to be had: {error.strerror}"
            self._owner.log(f"containers cannot ask for names: {self.trouble}")
        if tries <= 1:
            pause = _SELDOM
        self._timer = self._owner.loop.after(pause, lambda: self.open(subnet, bridge, max(1, tries - 1)))

    def close(self) -> None:
        """Let go of everything."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.unlisten()
        for descriptor in self.listeners:
            os.close(descriptor)
        self.listeners = []
        self.stop()

    def listen(self) -> None:
        if not self._closed:
            super().listen()


def _bound(family: int, address: str, kind: int) -> _socket.socket:
    end = _socket.socket(family, kind)
    try:
        end.setblocking(False)
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        # The address may be put on an interface only with the first container (point to point).
        if family == _socket.AF_INET6:
            end.setsockopt(_socket.IPPROTO_IPV6, _IPV6_V6ONLY, 1)
            end.setsockopt(_socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            end.setsockopt(_socket.IPPROTO_IP, _IP_FREEBIND, 1)
        end.bind((address, _PORT))
        if kind == _socket.SOCK_STREAM:
            end.listen(64)
    except OSError:
        end.close()
        raise
    return end


def _index(bridge: str) -> int:
    try:
        return _socket.if_nametoindex(bridge)
    except OSError:
        return 0


def _leases(bridge: str) -> _socket.socket:
    """Who has no address yet asks everybody, so the socket is the interface's and not an address's."""
    end = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        end.setblocking(False)
        # Another's, at another interface, does not matter: hotspots have one, and virtual machines.
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, bridge.encode())
        end.bind(("", _LEASES))
    except OSError:
        end.close()
        raise
    return end
