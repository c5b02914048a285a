"""The firewall's rules, from what the network shall be: our own chains, table by table.

Spelled for iptables-restore of 1.6 and newer, legacy and nf_tables.  Neither `-m addrtype` nor nftables is on
phones, and IPv6 has no table nat there (facts: network, section 1).
"""

from __future__ import annotations

from typing import NamedTuple

from nspawn.model import forwards
from nspawn.model.netplan import FirewallInput, Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nspawn.model.forwards import Forward

    #: Rules without their `-A CHAIN`, by table and chain.  Those of built-in chains are jumps to ours.
    Tables = Mapping[str, Mapping[str, tuple[str, ...]]]

#: Bits of the connection's mark in which the uplink's number is.
MARK_SHIFT, MARK_MASK = 21, 0x01E00000
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
_ICMP = {4: "icmp", 6: "ipv6-icmp"}
_RESTORE = f"-j CONNMARK --restore-mark --nfmask {MARK_MASK:#x} --ctmask {MARK_MASK:#x}"
_CLAMP = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"


class Features(NamedTuple):
    """What the kernel has of one family: the tables, the match conntrack, the targets CONNMARK and TCPMSS."""

    filter: bool = True
    nat: bool = True
    mangle: bool = True
    raw: bool = True
    conntrack: bool = True
    connmark: bool = True
    tcpmss: bool = True


def notes(family: int, features: Features) -> list[Note]:
    """What is missing, what that costs and which option of the kernel it takes."""
    ip = "IP" if family == 4 else "IP6"
    config = "It takes a kernel with CONFIG_{}."
    if not features.filter:
        return [
            Note(
                f"no firewall for IPv{family}",
                "the table filter is missing",
                config.format(f"{ip}_NF_FILTER"),
            )
        ]
    found = []
    if not features.nat:
        cost = (
            "containers reach nothing outside" if family == 4 else "no IPv6 by translation, and no forwards"
        )
        found.append(Note(cost, f"the table nat of IPv{family} is missing", config.format(f"{ip}_NF_NAT")))
    if not features.raw and family == 4:  # of IPv6 the kernel itself refuses ::1 from outside
        later = "mangle" if features.mangle else "filter"
        found.append(
            Note(
                f"containers are kept from the machine's loopback by the table {later}",
                "the table raw of IPv4 is missing",
                config.format("IP_NF_RAW"),
            )
        )
    if not features.conntrack:
        found.append(
            Note(
                f"containers can be reached over IPv{family} by who routes to them",
                "the match conntrack is missing",
                config.format("NETFILTER_XT_MATCH_CONNTRACK"),
            )
        )
    if not (features.mangle and features.connmark):
        found.append(
            Note(
                f"replies of forwards may leave by another uplink (IPv{family})",
                "connection marks are missing",
                config.format(f"NETFILTER_XT_TARGET_CONNMARK and {ip}_NF_MANGLE"),
            )
        )
    if not features.tcpmss:
        found.append(
            Note(
                f"connections through a VPN may stall (IPv{family})",
                "TCPMSS is missing",
                config.format("NETFILTER_XT_TARGET_TCPMSS"),
            )
        )
    return found


def tables(family: int, wanted: FirewallInput, features: Features) -> Tables:
    """Our chains and their rules, for tables that the kernel has; empty without IPv6 or its filter."""
    if not features.filter or (family == 6 and not wanted.subnet6):
        return {}
    side = _Side(family, wanted, features)
    found = {"raw": side.raw(), "filter": side.filter(), "mangle": side.mangle(), "nat": side.nat()}
    return {name: {chain: rules for chain, rules in made.items() if rules} for name, made in found.items()}


class _Side:
    """One family of it."""

    def __init__(self, family: int, wanted: FirewallInput, features: Features) -> None:
        self.family = family
        self.wanted = wanted
        self.features = features
        self.subnet = wanted.subnet4 if family == 4 else wanted.subnet6
        self.gateway = wanted.gateway4 if family == 4 else wanted.gateway6

    def _each(self, *texts: str) -> list[str]:
        """Each text for each inner interface."""
        return [text.format(inner) for text in texts for inner in self.wanted.inner]

    def _state(self, states: str) -> str:
        """A match of the connection's state; nothing where the kernel cannot tell it."""
        return f" -m conntrack --ctstate {states}" if self.features.conntrack else ""

    def _from(self, chain: str) -> tuple[str, ...]:
        """Jumps of what comes from containers."""
        return tuple(self._each(f"-i {{}} -j {chain}"))

    # What containers send to the machine's loopback, or in its name.  On their interface 127.0.0.0/8 is no
    # martian, because route_localnet is on for forwards from the machine itself.  Best before conntrack; in
    # mangle the replies to 127.0.0.1 are still to the gateway's address, in filter they are not any more.
    def _guard(self) -> list[str]:
        lo = _LOOPBACK[self.family]
        return [f"-s {lo} -j DROP", f"-d {lo} -j DROP"]

    def raw(self) -> dict[str, tuple[str, ...]]:
        if not self.features.raw:
            return {}
        return {"PREROUTING": self._from("NSPAWN-GUARD"), "NSPAWN-GUARD": tuple(self._guard())}

    def filter(self) -> dict[str, tuple[str, ...]]:
        to = self._each("-o {} -j NSPAWN-TO")
        return {
            "INPUT": self._from("NSPAWN-INPUT"),
            "FORWARD": (*self._from("NSPAWN-FROM"), *to),
            "NSPAWN-INPUT": tuple(self._input()),
            "NSPAWN-FROM": (*self._first(), *self._leaving()),
            "NSPAWN-TO": (*self._first(), *self._entering()),
        }

    def _input(self) -> list[str]:
        rules = []
        if self.features.conntrack:
            rules.append("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        if self._page:
            rules.append(f"-d 127.0.0.1/32 -p tcp -m tcp --dport {self._page} -j ACCEPT")
        if not self.features.raw and not self.features.mangle:
            rules += self._guard()
        for proto in ("udp", "tcp"):
            rules.append(f"-d {self.gateway} -p {proto} -m {proto} --dport 53 -j ACCEPT")
        return [*rules, f"-p {_ICMP[self.family]} -j ACCEPT"]

    def _first(self) -> list[str]:
        """All that a packet of a connection meets when it is passed on: most packets are of one.

        TCPMSS here and not in mangle, where it would take another chain; the answer to a SYN is of a
        connection already.
        """
        rules = [_CLAMP] if self.features.tcpmss and self.wanted.clamp else []
        if self.features.conntrack:
            rules.append("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        return rules

    def _leaving(self) -> list[str]:
        """Everything from containers, to each other also."""
        rules = self._each("-o {} -j ACCEPT")
        if self.features.conntrack:
            # It would leave with its own address, untranslated.
            rules.append("-m conntrack --ctstate INVALID -j DROP")
        if self._translated:
            return [*rules, "-j ACCEPT"]
        return [*rules, *(f"-s {address} -j ACCEPT" for address in self._proxied), "-j DROP"]

    def _entering(self) -> list[str]:
        """To containers only what was forwarded."""
        rules = self._marks() if self._marked else []
        rules.append(f"{self._state('DNAT')} -j ACCEPT".strip())
        if self.features.conntrack:
            rules += [*(f"-d {address} -j ACCEPT" for address in self._proxied), "-j DROP"]
        return rules

    @property
    def _proxied(self) -> list[str]:
        return [proxy.address for proxy in self.wanted.proxied] if self.family == 6 else []

    @property
    def _marked(self) -> bool:
        """Whether connections have marks: they are given in filter and of use in mangle only."""
        return self.features.connmark and self.features.mangle

    @property
    def _translated(self) -> bool:
        return self.family == 4 or (self.features.nat and self.wanted.ipv6 == "nat")

    @property
    def _page(self) -> int:
        """The page's port when containers may use it.  It listens at 127.0.0.1; no DNAT leads to ::1."""
        wanted = self.wanted
        return wanted.page if wanted.allow_page and self.family == 4 and self.features.nat else 0

    def mangle(self) -> dict[str, tuple[str, ...]]:
        if not self.features.mangle:
            return {}
        rules = [] if self.features.raw else self._guard()
        if self._marked and self._marks():
            rules.append(_RESTORE)
        return {"PREROUTING": self._from("NSPAWN-REPLY"), "NSPAWN-REPLY": tuple(rules)} if rules else {}

    def _marks(self) -> list[str]:
        """New connections to containers remember by which uplink they came.

        In FORWARD, where DNAT is done, so that connections to the machine itself keep their marks; behind
        what lets the others through, where there is conntrack.
        """
        rules = []
        for mark in self.wanted.marks:
            link = mark.link4 if self.family == 4 else mark.link6
            if link:
                value = f"{mark.mark << MARK_SHIFT:#x}/{MARK_MASK:#x}"
                rules.append(f"-i {link} -j CONNMARK --set-xmark {value}")
        return rules

    def nat(self) -> dict[str, tuple[str, ...]]:
        if not self.features.nat or (self.family == 6 and self.wanted.ipv6 == "none"):
            return {}
        to_containers = list(self._destinations())
        arriving: list[str] = []
        if self._page:
            to = f"-j DNAT --to-destination 127.0.0.1:{self._page}"
            arriving += self._each(f"-i {{}} -d {self.gateway} -p tcp -m tcp --dport {self._page} {to}")
        leaving: list[str] = []
        if to_containers:
            for proto in ("udp", "tcp"):  # a forward of port 53 does not take the containers' own name server
                arriving += self._each(
                    f"-i {{}} -d {self.gateway} -p {proto} -m {proto} --dport 53 -j RETURN"
                )
            if self.wanted.page:  # nor the page's port at localhost
                leaving.append(
                    f"-d {_LOOPBACK[self.family]} -p tcp -m tcp --dport {self.wanted.page} -j RETURN"
                )
            own = [f"-d {address} -j NSPAWN-DNAT" for address in self._locals()]
            arriving += own
            leaving += [f"-d {_LOOPBACK[self.family]} -j NSPAWN-DNAT", *own]
        made = {
            "NSPAWN-DNAT": tuple(to_containers),
            "NSPAWN-PRE": tuple(arriving),
            "NSPAWN-OUT": tuple(leaving),
            "NSPAWN-POST": tuple(self._sources()),
        }
        jumps = {"PREROUTING": "NSPAWN-PRE", "OUTPUT": "NSPAWN-OUT", "POSTROUTING": "NSPAWN-POST"}
        return {builtin: (f"-j {chain}",) for builtin, chain in jumps.items() if made[chain]} | made

    def _locals(self) -> list[str]:
        """The machine's own addresses, and the gateway's for containers."""
        own = [local.address for local in self.wanted.locals if local.family == self.family]
        # A connection to a link-local address cannot be passed on to another link.
        passable = [
            address for address in own if not address.lower().startswith(("fe8", "fe9", "fea", "feb"))
        ]
        return list(dict.fromkeys([*passable, self.gateway]))

    def _destinations(self) -> Iterable[str]:
        for published in self.wanted.published:
            address = published.address4 if self.family == 4 else published.address6
            forward = forwards.parse_publish(published.forward)
            if address and forward.family in (0, self.family):
                yield from rules(forward, address)

    def _sources(self) -> list[str]:
        """Hairpins and the machine's loopback get the gateway's address, what goes out the uplink's."""
        dnat = self._state("DNAT")
        back = self._each(
            f"-s {self.subnet} -o {{}}{dnat} -j MASQUERADE",
            f"-s {_LOOPBACK[self.family]} -o {{}} -j MASQUERADE",
            "-o {} -j RETURN",
        )
        return [*back, f"-s {self.subnet} -j MASQUERADE"] if self._translated else back


def rules(forward: Forward, address: str) -> list[str]:
    """The rules of the chain of DNATs, which only sees connections to the machine's own addresses."""
    listen = f"-d {forward.listen} " if forward.listen.strip("0.:") else ""
    start = f"{listen}-p {forward.proto} -m {forward.proto} --dport"
    end = "-j DNAT --to-destination"
    if not forward.shifted:
        ports = f"{forward.host}:{forward.last}" if forward.ports > 1 else str(forward.host)
        return [f"{start} {ports} {end} {address}"]
    to = f"[{address}]" if ":" in address else address
    return [
        f"{start} {forward.host + step} {end} {to}:{forward.container + step}"
        for step in range(forward.ports)
    ]
