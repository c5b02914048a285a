"""A machine and the networks around it, in network namespaces: everything is gone when the lab is.

`Lab` has what every machine has; android.py and plain.py make a phone and a Linux host of it.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.netlab import spaces, topology
from tests.support.netlab.echo import PORT, Echo
from tests.support.netlab.loop import Loop
from tests.support.netlab.probe import Answer, ask
from tests.support.netlab.spaces import Space
from tests.support.netlab.tally import Tally
from tests.support.netlab.topology import Line
from tests.support.netlab.tun import Tunnel
from tests.support.processes import wait_until

_PREFIX = "netlab"
_numbers = itertools.count()


class Lab:
    """Namespaces by their titles, of topology: `phone` is the machine under test.

    spaces: the machine, what is behind its uplinks ("wifi", "mobile", "vpn", ...), and clients.
    up: titles of the uplinks that are connected.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.up: dict[str, Line] = {}
        self.tunnel: Tunnel | None = None
        self._clat: Tunnel | None = None
        with ExitStack() as stack:
            spaces.sweep(_PREFIX)
            folder.mkdir(exist_ok=True)
            self.loop = Loop()
            stack.callback(self.loop.end)
            titles = (topology.MACHINE, *topology.WORLDS, *topology.CLIENTS)
            prefix = f"{_PREFIX}{os.getpid()}.{next(_numbers)}"
            self.spaces = spaces.make(prefix, titles, folder / "lab.lock")
            stack.callback(spaces.remove, list(self.spaces.values()))
            self.phone = self.spaces[topology.MACHINE]
            self._build()
            for title in (*topology.WORLDS, *topology.CLIENTS):
                stack.callback(Echo(self.loop, self.spaces[title], title).close)
            stack.callback(self._unplug)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def __getitem__(self, title: str) -> Space:
        return self.spaces[title]

    # Uplinks.  What a machine does about them is in the subclasses.

    def connect(self, title: str) -> None:
        """A new device, with its addresses; a new index, as a phone's modem and WiFi have it."""
        line = topology.line(title)
        self._plug(line)
        self.up[title] = line
        self.joined(line)

    def disconnect(self, title: str) -> None:
        line = self.up.pop(title)
        self.leaves(line)
        self.phone.ip(f"link del {line.device}")

    def joined(self, line: Line) -> None:
        raise NotImplementedError

    def leaves(self, line: Line) -> None:
        raise NotImplementedError

    def _plug(self, line: Line, *, only6: bool = False) -> None:
        world = self.spaces[line.title]
        self.phone.ip(
            # A radio keeps its address: others' ARP tables still have it when the interface returns.
            f"link add {line.device} address {_mac(line.title)}"
            f" type veth peer name to-phone netns {world.name}",
            f"link set {line.device} up",
            *([] if only6 else [f"addr add {line.near4}/{line.length4} dev {line.device}"]),
            f"addr add {line.near6}/{line.length6} dev {line.device} nodad",
        )
        if line.title == "wifi":
            world.ip("link set to-phone master br-lan up")
        else:
            world.ip(
                "link set to-phone up",
                f"addr add {line.gate4}/{line.length4} dev to-phone",
                f"addr add {line.gate6}/{line.length6} dev to-phone nodad",
            )

    def _open_tunnel(self, device: str = "tun0") -> None:
        """The VPN's devices, up and with addresses."""
        world = self.spaces[topology.VPN]
        self.tunnel = Tunnel(self.loop, (self.phone, device), (world, "to-phone"))
        world.ip(
            "link set to-phone up",
            f"addr add {topology.VPN_SERVER4} peer {topology.VPN4} dev to-phone",
            f"addr add {topology.VPN_SERVER6}/64 dev to-phone nodad",
        )
        self.phone.ip(
            f"link set {device} up",
            f"addr add {topology.VPN4}/32 dev {device}",
            f"addr add {topology.VPN6}/128 dev {device} nodad",
        )

    def _close_tunnel(self) -> None:
        assert self.tunnel
        self.tunnel.close()
        self.tunnel = None

    # What tests ask.

    def ask(
        self, space: Space | str, host: str, port: int = PORT, proto: str = "tcp", *, seconds: float = 2.0
    ) -> Answer:
        """Who answers there, and whom does it see."""
        asking = self.spaces[space] if isinstance(space, str) else space
        return ask(asking, host, port, proto, mark=self.mark_of(asking), seconds=seconds)

    def mark_of(self, space: Space) -> int:  # noqa: ARG002  (Android's looks at it)
        """The mark that a socket of the machine's own programs bears."""
        return 0

    @contextmanager
    def serving(self, space: Space, tag: str, port: int = PORT, address: str = "") -> Iterator[Echo]:
        """An echo service in a namespace for the block, also of a process: see inside_of."""
        echo = Echo(self.loop, space, tag, port, address)
        try:
            yield echo
        finally:
            echo.close()

    @contextmanager
    def counting(self, port: int) -> Iterator[Tally]:
        """What comes to a port of the worlds behind the uplinks."""
        tally = Tally([self.spaces[title] for title in topology.WORLDS], port)
        try:
            yield tally
        finally:
            tally.close()

    def _build(self) -> None:
        for title in topology.WORLDS:
            self.spaces[title].sysctl(ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
            self.spaces[title].ip(*topology.of_world())
        lan, remote = self.spaces[topology.LAN], self.spaces[topology.REMOTE]
        self.spaces["wifi"].ip(*topology.of_access_point(lan.name, remote.name))
        lan.ip(*topology.of_client(topology.LAN4, "192.168.1.1", topology.LAN6, "2001:db8:1::1"))
        remote.ip(*topology.of_client(topology.REMOTE4, "198.51.100.1", topology.REMOTE6, "2001:db8:51::1"))

    def _unplug(self) -> None:
        for tunnel in (self.tunnel, self._clat):
            if tunnel:
                tunnel.close()
        self.tunnel = self._clat = None


@contextmanager
def inside_of(pid: int) -> Iterator[Space]:
    """The namespace of a process."""
    space = spaces.of_process(pid)
    try:
        yield space
    finally:
        space.close()


def _mac(title: str) -> str:
    return "02:00:" + ":".join(f"{byte:02x}" for byte in zlib.crc32(title.encode()).to_bytes(4, "big"))


def eventually(
    look: Callable[[], object], expected: object, seconds: float = 20.0, *, step: float = 0.05
) -> None:
    """Look until it is as expected; the last look is what a failure shows."""
    found: list[object] = []

    def there() -> bool:
        found[:] = [look()]
        return found[0] == expected

    wait_until(there, seconds, step)
    assert found[0] == expected, f"found {found[0]!r}, expected {expected!r}"
