"""A phone in the lab: its uplinks are told to the fake of netd, as Android's framework does."""

from __future__ import annotations

from pathlib import Path

from tests.support.netlab import topology
from tests.support.netlab.lab import Lab
from tests.support.netlab.netd import FakeNetd, Network
from tests.support.netlab.phoneroot import PhoneRoot
from tests.support.netlab.spaces import Space
from tests.support.netlab.topology import CLAT4, Line
from tests.support.netlab.tun import Tunnel

#: Where one of these is, the other's default is not: the first that is there is Android's default.
_BEST = ("ethernet", "wifi", "mobile")
HOTSPOT_DEVICE = "ap0"


class PhoneLab(Lab):
    """A phone.  generation: of netlab.ladder."""

    def __init__(self, folder: Path, generation: str = "13") -> None:
        self.generation = generation
        super().__init__(folder)
        try:
            # As Android's init does.
            self.phone.sysctl(ipv4__ping_group_range="0 2147483647")
            self.root = PhoneRoot(folder / "android")
            self.netd = FakeNetd(self.phone, self.root.root, generation)
            self.netd.start()
        except BaseException:
            self.close()
            raise
        self.networks: dict[str, Network] = {}

    def joined(self, line: Line) -> None:
        self._register(line, f"{line.net4} scope link", f"default via {line.gate4}")

    def leaves(self, line: Line) -> None:
        network = self.networks.pop(line.title)
        if self._clat and line.title == "mobile":
            self._clat.close()
            self._clat = None
        self.netd.remove(network)
        self._choose()

    def connect_464xlat(self) -> None:
        """A mobile network that has only IPv6; IPv4 goes through a device of its own."""
        line = topology.line("mobile")
        self._plug(line, only6=True)
        self.up["mobile"] = line
        self._register(line)
        device = f"v4-{line.device}"
        world = self.spaces["mobile"]
        self._clat = Tunnel(self.loop, (self.phone, device), (world, "clat"))
        world.ip("link set clat up", f"addr add 192.0.0.1 peer {CLAT4} dev clat")
        self.phone.ip(f"link set {device} up", f"addr add {CLAT4}/32 dev {device}")
        self.netd.attach(self.networks["mobile"], device, "default scope link")

    def vpn_on(self, *, split: bool = False) -> None:
        """A new tun each time.  split: no default route, but two halves of everything."""
        self._open_tunnel()
        self.networks["vpn"] = self.netd.add("vpn", servers=(topology.VPN_SERVER4,))
        if split:
            routes = ["0.0.0.0/1 scope link", "128.0.0.0/1 scope link", "::/1", "8000::/1"]
        else:
            routes = ["default scope link", "::/0"]
        self.netd.attach(self.networks["vpn"], "tun0", *routes)

    def vpn_off(self) -> None:
        self.netd.remove(self.networks.pop("vpn"))
        self._close_tunnel()

    def hotspot_on(self, uplink: str = "mobile") -> None:
        """With one client, that has addresses of both families."""
        client = self.spaces[topology.HOTSPOT]
        self.phone.ip(
            f"link add {HOTSPOT_DEVICE} type veth peer name eth0 netns {client.name}",
            f"link set {HOTSPOT_DEVICE} up",
            f"addr add {topology.HOTSPOT_GATEWAY4}/24 dev {HOTSPOT_DEVICE}",
            f"addr add {topology.HOTSPOT_GATEWAY6}/64 dev {HOTSPOT_DEVICE} nodad",
        )
        client.ip(
            *topology.of_client(
                topology.HOTSPOT4,
                topology.HOTSPOT_GATEWAY4,
                topology.HOTSPOT6,
                topology.HOTSPOT_GATEWAY6,
            )
        )
        self.networks["hotspot"] = self.netd.add("local")
        self.netd.attach(
            self.networks["hotspot"], HOTSPOT_DEVICE, "192.168.43.0/24 scope link", "2001:db8:43::/64"
        )
        self.netd.tether(HOTSPOT_DEVICE, topology.line(uplink).device)

    def hotspot_off(self) -> None:
        self.netd.untether()
        self.netd.remove(self.networks.pop("hotspot"))
        self.phone.ip(f"link del {HOTSPOT_DEVICE}")

    def mark_of(self, space: Space) -> int:
        """Netd's client library marks sockets; on LineageOS nothing gets out without permissions."""
        return 0xC0000 if self.generation == "lineage" and space is self.phone else 0

    def _register(self, line: Line, *routes4: str) -> None:
        network = self.netd.add("physical", permission=line.permission, servers=(line.gate4,))
        self.networks[line.title] = network
        self.netd.attach(network, line.device, *routes4, line.net6, f"::/0 via {line.gate6}")
        self._choose()

    def _choose(self) -> None:
        best = next((self.networks[title] for title in _BEST if title in self.networks), None)
        if best is not self.netd.default:
            self.netd.make_default(best)
