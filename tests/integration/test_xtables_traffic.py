"""What the rules do, by iptables-legacy and iptables-nft: traffic between a phone, its LAN and containers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.kernel import xtables
from nspawn.model.firewall import Features
from nspawn.model.netplan import FirewallInput, Proxy, Published
from tests.support import veths
from tests.support.veths import BRIDGE, DATABASE, GATEWAY, LOCALHOST, NEIGHBOUR, PHONE, SUBNET, WEB, Lab, sh
from tests.support.xtablesbox import WANTED, Firewall


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with veths.lab() as found:
        yield found


@pytest.fixture(scope="module", params=["legacy", "nft"])
def built(
    request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Firewall]:
    with veths.inside(lab.phone):
        found = Firewall(request.param, tmp_path_factory.mktemp(f"bin-{request.param}"))
    yield found
    with veths.inside(lab.phone):
        for family in (4, 6):
            xtables.remove(found.tools[family])


def use(lab: Lab, built: Firewall, wanted: FirewallInput = WANTED, has: Features | None = None) -> None:
    with veths.inside(lab.phone):
        for family in (4, 6):
            xtables.reconcile(built.tools[family], wanted, has or Features(), "")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_forward_is_reached_from_everywhere(lab: Lab, built: Firewall, family: int, kind: str) -> None:
    use(lab, built)
    inner, outer = (80, 8000) if kind == "tcp" else (6002, 5002)
    with veths.listening(lab.web, family, WEB[family], inner, kind) as server:
        reached = {
            "lan": veths.visit(lab.neighbour, server, PHONE[family], outer),
            "localhost": veths.visit(lab.phone, server, LOCALHOST[family], outer),
            "own address": veths.visit(lab.phone, server, PHONE[family], outer),
            "gateway from the phone": veths.visit(lab.phone, server, GATEWAY[family], outer),
            "other container": veths.visit(lab.database, server, PHONE[family], outer),
            "other container by the gateway": veths.visit(lab.database, server, GATEWAY[family], outer),
            "itself": veths.visit(lab.web, server, PHONE[family], outer),
        }
    gateway = GATEWAY[family]
    assert reached == {
        "lan": NEIGHBOUR[family],  # who comes from outside is told by the true address
        "localhost": gateway,
        "own address": PHONE[family],
        "gateway from the phone": gateway,
        "other container": gateway,
        "other container by the gateway": gateway,
        "itself": gateway,
    }


def test_other_containers_reach_a_forward_where_bridges_are_filtered(lab: Lab, built: Firewall) -> None:
    """With br_netfilter all of it happens on the bridge's port, and a container does not reach itself."""
    use(lab, built)
    lab.bridge_filter(on=True)
    try:
        for family in (4, 6):
            with veths.listening(lab.web, family, WEB[family], 80) as server:
                assert veths.visit(lab.database, server, PHONE[family], 8000)
                assert veths.visit(lab.neighbour, server, PHONE[family], 8000) == NEIGHBOUR[family]
                assert veths.visit(lab.database, server, WEB[family], 80) == DATABASE[family]
    finally:
        lab.bridge_filter(on=False)


def test_a_forward_of_one_address_is_reached_by_it_alone(lab: Lab, built: Firewall) -> None:
    use(lab, built)
    with veths.listening(lab.web, 4, WEB[4], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[4], 9000) == NEIGHBOUR[4]
        assert veths.visit(lab.phone, server, LOCALHOST[4], 9000, seconds=0.3) == ""
    with veths.listening(lab.web, 6, WEB[6], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[6], 9000, seconds=0.3) == ""


@pytest.mark.parametrize("family", [4, 6])
def test_the_page_keeps_its_port_at_localhost_only(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    with (
        veths.listening(lab.phone, family, LOCALHOST[family], 8080) as page,
        veths.listening(lab.web, family, WEB[family], 80) as server,
    ):
        assert veths.visit(lab.phone, page, LOCALHOST[family], 8080) == LOCALHOST[family]
        assert veths.visit(lab.neighbour, server, PHONE[family], 8080) == NEIGHBOUR[family]


@pytest.mark.parametrize(
    "has",
    [
        Features(),
        Features(conntrack=False),
        Features(conntrack=False, raw=False),
        Features(conntrack=False, raw=False, mangle=False),
    ],
    ids=["conntrack", "raw", "mangle", "filter"],
)
def test_containers_reach_neither_the_loopback_nor_the_page(lab: Lab, built: Firewall, has: Features) -> None:
    use(lab, built, has=has)
    sh(f"ip -n {lab.web} link set lo down")
    sh(f"ip -n {lab.web} address flush dev lo")
    sh(f"ip -n {lab.web} route add 127.0.0.0/8 via {GATEWAY[4]} table local")
    sh(f"ip -n {lab.web} -6 route add ::1 via {GATEWAY[6]} table local", allowed=True)
    with veths.inside(lab.web):
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
    try:
        for port in (8080, 631):
            for kind in ("tcp", "udp"):
                with veths.listening(lab.phone, 4, LOCALHOST[4], port, kind) as server:
                    assert veths.visit(lab.web, server, LOCALHOST[4], port, seconds=0.3, source=WEB[4]) == ""
                    assert veths.visit(lab.web, server, GATEWAY[4], port, seconds=0.3) == ""
        with veths.listening(lab.phone, 6, LOCALHOST[6], 631) as server:
            assert veths.visit(lab.web, server, LOCALHOST[6], 631, seconds=0.3) == ""
        # The forwards of the machine's own loopback work with each of them but the last.
        if not has.conntrack and not has.mangle:
            return
        with veths.listening(lab.database, 4, DATABASE[4], 80) as server:
            mine = WANTED._replace(published=(Published("8000:80/tcp", DATABASE[4], DATABASE[6]),))
            use(lab, built, mine, has)
            assert veths.visit(lab.phone, server, LOCALHOST[4], 8000) == GATEWAY[4]
    finally:
        sh(f"ip -n {lab.web} route del 127.0.0.0/8 table local")
        sh(f"ip -n {lab.web} link set lo up")
        sh(f"ip -n {lab.web} address add 127.0.0.1/8 dev lo", allowed=True)
        sh(f"ip -n {lab.web} address add ::1/128 dev lo", allowed=True)


def datagram(source: str, target: str, port: int) -> bytes:
    """With a source that need not be the sender's; the kernel fills in the rest of the header."""
    udp = struct.pack("!4H", 5000, port, 8 + 4, 0) + b"nsp!"
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses + udp


@pytest.mark.parametrize("source", [LOCALHOST[4], "127.9.9.9"])
def test_a_container_cannot_speak_as_the_loopback(lab: Lab, built: Firewall, source: str) -> None:
    """Neither to the machine, at whatever address, nor through it."""
    use(lab, built)
    ends = {}
    for name, target in ((lab.phone, GATEWAY[4]), (lab.neighbour, NEIGHBOUR[4])):
        with veths.inside(name):
            ends[target] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ends[target].bind((target, 631))
    with veths.inside(lab.web):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    try:
        for target, end in ends.items():
            raw.sendto(datagram(source, target, 631), (target, 0))
            raw.sendto(datagram(WEB[4], target, 631), (target, 0))
            end.settimeout(5)
            assert end.recvfrom(100)[1][0] == (WEB[4] if target == GATEWAY[4] else PHONE[4])
            end.settimeout(0.2)
            with pytest.raises(TimeoutError):
                end.recvfrom(100)
    finally:
        for end in (raw, *ends.values()):
            end.close()


def test_without_the_guard_a_container_does_reach_the_loopback(lab: Lab, built: Firewall) -> None:
    """That the test before tests something."""
    with veths.inside(lab.phone):
        xtables.remove(built.tools[4])
    sh(f"ip -n {lab.web} address flush dev lo")
    sh(f"ip -n {lab.web} route add 127.0.0.0/8 via {GATEWAY[4]} table local")
    with veths.inside(lab.web):
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
    try:
        with veths.listening(lab.phone, 4, LOCALHOST[4], 631) as server:
            assert veths.visit(lab.web, server, LOCALHOST[4], 631, source=WEB[4]) == WEB[4]
    finally:
        sh(f"ip -n {lab.web} route del 127.0.0.0/8 table local")
        sh(f"ip -n {lab.web} address add 127.0.0.1/8 dev lo")
        sh(f"ip -n {lab.web} address add ::1/128 dev lo", allowed=True)


def test_the_page_can_be_allowed_to_containers(lab: Lab, built: Firewall) -> None:
    use(lab, built, WANTED._replace(allow_page=True, published=()))
    with veths.listening(lab.phone, 4, LOCALHOST[4], 8080) as page:
        assert veths.visit(lab.web, page, GATEWAY[4], 8080) == WEB[4]
        assert veths.visit(lab.neighbour, page, PHONE[4], 8080, seconds=0.3) == ""


@pytest.mark.parametrize("family", [4, 6])
def test_who_routes_to_the_containers_is_not_let_in(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    sh(f"ip -n {lab.neighbour} -{family} route add {SUBNET[family]} via {PHONE[family]}")
    try:
        with veths.listening(lab.web, family, WEB[family], 80) as server:
            assert veths.visit(lab.neighbour, server, WEB[family], 80, seconds=0.3) == ""
            assert veths.visit(lab.phone, server, WEB[family], 80) == GATEWAY[family]
            assert veths.visit(lab.database, server, WEB[family], 80) == DATABASE[family]
    finally:
        sh(f"ip -n {lab.neighbour} -{family} route del {SUBNET[family]}")


@pytest.mark.parametrize("family", [4, 6])
def test_containers_leave_with_the_address_of_the_uplink(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    with veths.listening(lab.neighbour, family, NEIGHBOUR[family], 80) as server:
        assert veths.visit(lab.web, server, NEIGHBOUR[family], 80) == PHONE[family]


def test_an_address_of_the_network_is_let_through_untranslated(lab: Lab, built: Firewall) -> None:
    """Proxy NDP: in both directions; the others have no IPv6 outside."""
    address = "2001:db8:77::70"
    proxied = WANTED._replace(ipv6="proxy", proxied=(Proxy(address, "wlan0"),))
    use(lab, built, proxied, Features(nat=False))
    sh(f"ip -n {lab.web} address add {address}/128 dev eth0 nodad")
    sh(f"ip -n {lab.phone} route add {address}/128 dev {BRIDGE}")
    sh(f"ip -n {lab.phone} neighbour add proxy {address} dev wlan0")
    with veths.inside(lab.phone):
        Path("/proc/sys/net/ipv6/conf/wlan0/proxy_ndp").write_text("1")
    try:
        with veths.listening(lab.web, 6, address, 80) as server:
            assert veths.visit(lab.neighbour, server, address, 80) == NEIGHBOUR[6]
        with veths.listening(lab.neighbour, 6, NEIGHBOUR[6], 80) as server:
            assert veths.visit(lab.web, server, NEIGHBOUR[6], 80, source=address) == address
            assert veths.visit(lab.database, server, NEIGHBOUR[6], 80, seconds=0.3) == ""
    finally:
        sh(f"ip -n {lab.web} address del {address}/128 dev eth0")
        sh(f"ip -n {lab.phone} route del {address}/128 dev {BRIDGE}")
        sh(f"ip -n {lab.phone} neighbour del proxy {address} dev wlan0")


@pytest.mark.parametrize("family", [4, 6])
def test_containers_ask_our_name_server_whatever_is_forwarded(lab: Lab, built: Firewall, family: int) -> None:
    """Port 53 leads to a container, but at the gateway it is ours, and a closed INPUT lets it in."""
    use(lab, built)
    tool = built.program(family)
    with veths.inside(lab.phone):
        sh(f"{tool} -A INPUT -i {BRIDGE} -j DROP")
    try:
        with (
            veths.listening(lab.phone, family, GATEWAY[family], 53, "udp") as server,
            veths.listening(lab.database, family, DATABASE[family], 53, "udp") as other,
        ):
            assert veths.visit(lab.web, server, GATEWAY[family], 53) == WEB[family]
            assert veths.visit(lab.neighbour, other, PHONE[family], 53) == NEIGHBOUR[family]
        assert veths.ping(lab.web, family, GATEWAY[family])
    finally:
        with veths.inside(lab.phone):
            sh(f"{tool} -D INPUT -i {BRIDGE} -j DROP")


@pytest.mark.parametrize("family", [4, 6])
def test_a_connection_remembers_by_which_uplink_it_came(lab: Lab, built: Firewall, family: int) -> None:
    """And the container's packets carry that mark: here into a table that leads nowhere."""
    use(lab, built)
    rule = f"ip -n {lab.phone} -{family} rule"
    with veths.listening(lab.web, family, WEB[family], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[family], 8000) == NEIGHBOUR[family]
        found = sh(f"ip netns exec {lab.phone} conntrack -L -f ipv{family} -p tcp --orig-dst {PHONE[family]}")
        assert f"mark={3 << 21} " in found
        sh(f"{rule} add pref 100 iif {BRIDGE} fwmark {3 << 21:#x}/0x1e00000 unreachable")
        try:
            assert veths.visit(lab.neighbour, server, PHONE[family], 8000, seconds=0.3) == ""
        finally:
            sh(f"{rule} del pref 100")
    with veths.listening(lab.neighbour, family, NEIGHBOUR[family], 80) as server:
        assert veths.visit(lab.web, server, NEIGHBOUR[family], 80) == PHONE[family]
