"""FakeNetd: what Android's netd leaves in the kernel, played from facts/network.md, section 1.

Rules, tables, rt_tables, chains of iptables, forwarding, tethering; for Android 10/11, 12, 13 to 16, and
LineageOS.  What it keeps in its own memory is in files here, since the fake `ndc` shares it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.support.netlab import chains
from tests.support.netlab.ladder import LADDERS
from tests.support.netlab.spaces import Space

LOCAL_NETWORK = 97
_LEGACY_NETWORK, _LEGACY_SYSTEM = 98, 99
_FIRST_NETID = 100
_TRIES = 5
#: The table of an interface; of its local routes, Android 13 and later.
_TABLES, _LOCAL_TABLES = 1000, 1000000000
#: An app of its own has the VPN: it does not use it.
_VPN_APP = 10134
_USERS = (f"0-{_VPN_APP - 1}", f"{_VPN_APP + 1}-99999")


@dataclass
class Network:
    """A network as netd has it.  kind: "physical", "vpn" or "local"; permission: of topology.

    tables: by interface; a network of 464XLAT has two of them.  servers: of names.
    """

    netid: int
    kind: str
    permission: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    servers: tuple[str, ...] = ()


class FakeNetd:
    """space: the phone's; root: of its files; generation: a key of LADDERS."""

    def __init__(self, space: Space, root: Path, generation: str) -> None:
        self.space = space
        self.ladder = LADDERS[generation]
        self.default: Network | None = None
        self.networks: list[Network] = []
        self._root = root
        self._netid = _FIRST_NETID - 1
        self._locked = False
        self._tethered: list[tuple[str, str, int]] = []
        self._requests = root / "netd/forwarding"
        self._requests.mkdir(parents=True)
        (root / "data/misc/net").mkdir(parents=True)

    def start(self) -> None:
        """What its start does: away with all rules but the local one, and with what others have in chains."""
        for request in self._requests.iterdir():
            request.unlink()
        # Chains before rules: while rules of others go, one by one, nothing of IPv4 is forwarded.
        self._iptables(chains.START, 4)
        self._iptables(chains.START, 6)
        self._iptables(chains.START4, 4)
        self._forget_rules()
        ladder = self.ladder
        self._rules(
            "add",
            [
                f"pref {ladder.legacy_system} fwmark 0xc0000/0xd0000 table {_LEGACY_SYSTEM}",
                f"pref {ladder.explicit} fwmark 0x10063/0x1ffff iif lo table {LOCAL_NETWORK}",
                f"pref {ladder.legacy_system_late} fwmark 0x0/0x10000 table {_LEGACY_SYSTEM}",
                f"pref {ladder.legacy_network} fwmark 0x0/0x10000 table {_LEGACY_NETWORK}",
                f"pref {ladder.local_network} fwmark 0x0/0x10000 table {LOCAL_NETWORK}",
                f"pref {ladder.unreachable} unreachable",
            ],
        )
        self._set_forwarding()
        self._write_files()

    def restart(self) -> None:
        """It crashed: a start, and everything it is told again."""
        self.start()
        for network in self.networks:
            for interface in network.tables:
                self._rules("add", self._rules_of(network, interface))
        self._rules("add", self._rules_of_default())
        if self._locked:
            self._rules("add", self._lockdown())
        for tethered in self._tethered:
            (self._requests / "tethering").touch()
            self._tether_rules(*tethered)
        self._set_forwarding()

    def add(self, kind: str, *, permission: int = 0, servers: tuple[str, ...] = ()) -> Network:
        if kind == "local":
            netid = 99
        else:
            self._netid += 1
            netid = self._netid
        network = Network(netid, kind, permission, servers=servers)
        self.networks.append(network)
        return network

    def attach(self, network: Network, interface: str, *routes: str) -> None:
        """One more interface.  routes: words of `ip route`, such as "default via 10.64.0.1"."""
        table = LOCAL_NETWORK
        if network.kind != "local":
            table = _TABLES + self.space.number_of(interface)
        network.tables[interface] = table
        self._rules("add", self._rules_of(network, interface))
        if network is self.default:
            self._rules("add", self._default_rules(network, interface))
        commands: dict[int, list[str]] = {4: [], 6: []}
        for route in routes:
            to = route.split()[0]
            family = 6 if ":" in route else 4
            commands[family].append(f"route add {route} dev {interface} table {table} proto static")
            if self.ladder.local_routes and network.kind == "physical" and "via" not in route:
                local = table - _TABLES + _LOCAL_TABLES
                commands[family].append(f"route add {to} dev {interface} table {local} proto static")
        for family, lines in commands.items():
            self.space.ip(*lines, family=family)
        self._write_files()

    def remove(self, network: Network) -> None:
        """It is gone, with its interfaces; a default that it was is none."""
        if network is self.default:
            self.make_default(None)
        for interface in list(network.tables):
            self.detach(network, interface)
        self.networks.remove(network)
        self._write_files()

    def detach(self, network: Network, interface: str) -> None:
        self._rules("del", self._rules_of(network, interface))
        if network is self.default:
            self._rules("del", self._default_rules(network, interface))
        table = network.tables.pop(interface)
        if table != LOCAL_NETWORK:
            tables = [table, *([table - _TABLES + _LOCAL_TABLES] if self.ladder.local_routes else [])]
            for family in (4, 6):
                self.space.ip_forgiving(*(f"route flush table {each}" for each in tables), family=family)
        self._write_files()

    def make_default(self, network: Network | None) -> None:
        """First the new one's rules, then away with the old one's: as netd switches."""
        old, self.default = self.default, network
        self._rules("add", self._rules_of_default())
        if old:
            for interface in old.tables:
                self._rules("del", self._default_rules(old, interface))
        self._write_files()

    def lock_down(self, on: bool) -> None:
        """Nothing without a VPN: also, and above all, while there is none."""
        if on != self._locked:
            self._locked = on
            self._rules("add" if on else "del", self._lockdown())

    def tether(self, clients: str, uplink: str) -> None:
        """Share an uplink with those on the interface `clients`."""
        self._tethered.append((clients, uplink, self._table(uplink)))
        (self._requests / "tethering").touch()
        self._set_forwarding()
        self._tether_rules(*self._tethered[-1])

    def untether(self) -> None:
        """Not any more: the forwarding that nobody else asked for is off."""
        for clients, _, table in self._tethered:
            self._rules("del", [f"pref {self.ladder.tether} iif {clients} table {table}"])
        self._tethered.clear()
        self._iptables(chains.UNTETHER, 4)
        (self._requests / "tethering").unlink(missing_ok=True)
        self._set_forwarding()

    @property
    def forwarding_requests(self) -> list[str]:
        return sorted(path.name for path in self._requests.iterdir())

    def _rules_of(self, network: Network, interface: str) -> list[str]:
        ladder, table, netid = self.ladder, network.tables[interface], network.netid
        root = f"pref {ladder.own_interface} iif lo oif {interface} uidrange 0-0 table {table}"
        if network.kind == "local":
            return [root, f"pref {ladder.interface} iif lo oif {interface} table {table}"]
        explicit = f"pref {ladder.explicit} fwmark {0x10000 | netid:#x}/0x1ffff iif lo"
        if network.kind == "vpn":
            lines = [
                f"pref {ladder.from_vpn} iif {interface} table {LOCAL_NETWORK}",
                f"pref {ladder.vpn} fwmark {0xC0000 | netid:#x}/0xcffff table {table}",
                f"{explicit} uidrange 0-0 table {table}",
            ]
            for users in _USERS:
                lines += [
                    f"pref {ladder.vpn} fwmark 0x0/0x20000 iif lo uidrange {users} table {table}",
                    f"{explicit} uidrange {users} table {table}",
                    f"pref {ladder.interface} iif lo oif {interface} uidrange {users} table {table}",
                ]
            return lines
        allowed = network.permission
        mark = f"fwmark {allowed:#x}/{allowed:#x} " if allowed else ""
        full = f"fwmark {allowed | 0x10000 | netid:#x}/{allowed | 0x1FFFF:#x}"
        lines = [
            root,
            f"pref {ladder.explicit} {full} iif lo table {table}",
            f"pref {ladder.interface} {mark}iif lo oif {interface} table {table}",
        ]
        if not allowed:
            lines.append(f"pref {ladder.implicit} fwmark {netid:#x}/0x1ffff iif lo table {table}")
        return lines

    def _default_rules(self, network: Network, interface: str) -> list[str]:
        ladder, table = self.ladder, network.tables[interface]
        lines = [f"pref {ladder.default} fwmark {ladder.default_mark} iif lo table {table}"]
        if ladder.local_routes:
            local = table - _TABLES + _LOCAL_TABLES
            lines.append(f"pref {ladder.local_routes} fwmark 0x0/0x10000 iif lo table {local}")
        return lines

    def _rules_of_default(self) -> list[str]:
        network = self.default
        if not network:
            return []
        return [line for interface in network.tables for line in self._default_rules(network, interface)]

    def _lockdown(self) -> list[str]:
        return [
            f"pref {self.ladder.prohibit} fwmark 0x0/0x20000 iif lo uidrange {users} prohibit"
            for users in _USERS
        ]

    def _tether_rules(self, clients: str, uplink: str, table: int) -> None:
        self._rules("add", [f"pref {self.ladder.tether} iif {clients} table {table}"])
        self._iptables(chains.tether(clients, uplink), 4)

    def _table(self, interface: str) -> int:
        return next((each.tables[interface] for each in self.networks if interface in each.tables), 0)

    def _rules(self, what: str, rules: list[str]) -> None:
        for family in (4, 6):
            self.space.ip(*(f"rule {what} {rule}" for rule in rules), family=family)

    def _forget_rules(self) -> None:
        # As netd: what a dump gives, one after the other, all but priority 0.  One of the dump may have gone
        # meanwhile, by the program's doing: then the rest are left to the next try.
        for family in (4, 6):
            words = ("ip", f"-{family}", "rule", "flush")
            if all(self.space.run(*words).status for _ in range(_TRIES)):
                self.space.check(*words)

    def _iptables(self, script: str, family: int) -> None:
        program = self._root / "system/bin" / ("iptables-restore" if family == 4 else "ip6tables-restore")
        self.space.check(program, "--noflush", "-w", stdin=script)

    def _set_forwarding(self) -> None:
        value = "1" if self.forwarding_requests else "0"
        self.space.sysctl(ipv4__ip_forward=value, ipv6__conf__all__forwarding=value)

    def _write_files(self) -> None:
        lines = ["255 local", "254 main", "97 local_network", "98 legacy_network", "99 legacy_system"]
        for network in self.networks:
            for interface, table in network.tables.items():
                if table != LOCAL_NETWORK:
                    lines.append(f"{table} {interface}")
                    if self.ladder.local_routes:
                        lines.append(f"{table - _TABLES + _LOCAL_TABLES} {interface}_local")
        # In place, as netd does: a reader may see half of it.
        (self._root / "data/misc/net/rt_tables").write_text("\n".join(lines) + "\n")
        shown = [self._described(network) for network in self.networks if network.kind != "local"]
        (self._root / "netd/connectivity").write_text("\n".join(shown) + "\n")

    def _described(self, network: Network) -> str:
        """As `dumpsys connectivity` has it, of what is read there."""
        servers = ",".join(f"/{each}" if self.ladder.brackets else each for each in network.servers)
        listed = f"[ {servers} ]" if self.ladder.brackets else f"[{servers},]"
        name = next(iter(network.tables), "null")
        return (
            f"  NetworkAgentInfo{{network{{{network.netid}}}  lp{{{{InterfaceName: {name} "
            f"DnsAddresses: {listed} Domains: null MTU: 1500}}}}  created=true}}"
        )
