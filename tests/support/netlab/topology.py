"""What there is around a machine: its uplinks and who lives behind them, as data.

Behind every uplink the same two addresses answer, and say by which uplink they were reached.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Somewhere in the internet.
WORLD4 = "203.0.113.1"
WORLD6 = "2001:db8:ffff::1"

MACHINE = "phone"
LAN, REMOTE, HOTSPOT = "lan", "remote", "hotspot"

LAN4, LAN6 = "192.168.1.77", "2001:db8:1::77"
REMOTE4, REMOTE6 = "198.51.100.9", "2001:db8:51::9"
HOTSPOT4, HOTSPOT6 = "192.168.43.20", "2001:db8:43::20"
#: The machine's own addresses towards them.
HOTSPOT_GATEWAY4, HOTSPOT_GATEWAY6 = "192.168.43.1", "2001:db8:43::1"
VPN4, VPN6 = "10.8.0.2", "fd08::2"
#: The VPN's server, inside of the tunnel.
VPN_SERVER4, VPN_SERVER6 = "10.8.0.1", "fd08::1"
#: IPv4 of a mobile network that has only IPv6 (464XLAT): an address of RFC 7335.
CLAT4 = "192.0.0.4"

#: netd's permissions in the marks of a network: of the system only (IMS), of background traffic.
SYSTEM, BACKGROUND = 0xC0000, 0x40000


@dataclass(frozen=True, kw_only=True)
class Line:
    """An uplink.

    title: also the name of its namespace, and what its echo service says; device: the machine's interface.
    near4, near6: the machine's address, gate4, gate6: the other end; lengths of the prefixes.
    permission: who may use it on Android, 0 for all.
    """

    title: str
    device: str
    near4: str
    gate4: str
    near6: str
    gate6: str
    length4: int = 24
    length6: int = 64
    permission: int = 0

    @property
    def net4(self) -> str:
        return f"{_network(self.near4, self.length4)}/{self.length4}"

    @property
    def net6(self) -> str:
        return f"{self.near6.partition('::')[0]}::/{self.length6}"


LINES = (
    Line(
        title="wifi",
        device="wlan0",
        near4="192.168.1.50",
        gate4="192.168.1.1",
        near6="2001:db8:1::50",
        gate6="2001:db8:1::1",
    ),
    Line(
        title="ethernet",
        device="eth0",
        near4="192.168.2.50",
        gate4="192.168.2.1",
        near6="2001:db8:2::50",
        gate6="2001:db8:2::1",
    ),
    Line(
        title="mobile",
        device="rmnet_data1",
        near4="10.64.0.2",
        gate4="10.64.0.1",
        length4=30,
        near6="2001:db8:64::2",
        gate6="2001:db8:64::1",
    ),
    Line(
        title="ims",
        device="rmnet_data0",
        near4="10.65.0.2",
        gate4="10.65.0.1",
        length4=30,
        near6="2001:db8:65::2",
        gate6="2001:db8:65::1",
        permission=SYSTEM,
    ),
    Line(
        title="background",
        device="rmnet_data2",
        near4="10.66.0.2",
        gate4="10.66.0.1",
        length4=30,
        near6="2001:db8:66::2",
        gate6="2001:db8:66::1",
        permission=BACKGROUND,
    ),
)

VPN = "vpn"
#: Each has the world behind it.
WORLDS = (*(line.title for line in LINES), VPN)
CLIENTS = (LAN, REMOTE, HOTSPOT)


def line(title: str) -> Line:
    return next(each for each in LINES if each.title == title)


def of_world() -> list[str]:
    """`ip` commands for every namespace behind an uplink."""
    return [f"addr add {WORLD4}/32 dev lo", f"addr add {WORLD6}/128 dev lo"]


def of_access_point(lan: str, remote: str) -> list[str]:
    """Of WiFi's namespace: a LAN with a client, and a network elsewhere that it routes to."""
    return [
        "link add br-lan type bridge",
        "link set br-lan up",
        "addr add 192.168.1.1/24 dev br-lan",
        "addr add 2001:db8:1::1/64 dev br-lan nodad",
        f"link add lan0 type veth peer name eth0 netns {lan}",
        "link set lan0 master br-lan up",
        f"link add wan0 type veth peer name eth0 netns {remote}",
        "link set wan0 up",
        "addr add 198.51.100.1/24 dev wan0",
        "addr add 2001:db8:51::1/64 dev wan0 nodad",
    ]


def of_client(address4: str, gate4: str, address6: str, gate6: str) -> list[str]:
    return [
        "link set eth0 up",
        f"addr add {address4}/24 dev eth0",
        f"addr add {address6}/64 dev eth0 nodad",
        f"route add default via {gate4}",
        f"route add ::/0 via {gate6}",
    ]


def _network(address: str, length: int) -> str:
    whole = int.from_bytes(bytes(int(part) for part in address.split(".")), "big")
    return ".".join(str(part) for part in (whole >> 32 - length << 32 - length).to_bytes(4, "big"))
