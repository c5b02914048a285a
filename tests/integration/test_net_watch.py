"""What the kernel tells of the network, sieved: real changes in a namespace of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from nspawn.kernel import netwatch
from nspawn.kernel.netwatch import LOOK, NOTHING, REFILL, Sieve
from tests.support.netlab.plain import PlainLab

pytestmark = pytest.mark.root


class Watch:
    """A socket in the machine's namespace, and the sieve."""

    def __init__(self, host: PlainLab) -> None:
        self.space = host.phone
        self.lan = host["lan"].name
        with self.space.inside():
            self.end = netwatch.watch()
            self.sieve = Sieve("nspawn_br1")

    def after(self, *commands: str) -> int:
        """What changes by these commands of `ip` mean."""
        for command in commands:
            six = command.startswith("-6 ")
            self.space.ip(command.removeprefix("-6 "), family=6 if six else 0)
        return self.sieve.drain(self.end)


@pytest.fixture
def watch(host: PlainLab) -> Iterator[Watch]:
    """It has seen the machine as it is, with our bridge, a veth in it, and an uplink."""
    host.phone.sysctl(ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")  # new links take it over
    host.phone.ip(
        "link add nspawn_br1 type bridge",
        "link add other0 type veth peer name far0",
        "link set far0 up",
        f"link add nsp7 type veth peer name foreign netns {host['lan'].name}",
    )
    found = Watch(host)
    found.after(
        "link set nspawn_br1 up",
        "addr add 10.11.0.1/24 dev nspawn_br1",
        "link set nsp7 master nspawn_br1 up",
        "link set other0 up",
        "rule add pref 1000 to 10.11.0.0/24 lookup main protocol 78",
        "rule add pref 2999 iif nspawn_br1 unreachable protocol 78",
    )
    yield found
    found.end.close()


@pytest.mark.parametrize(
    "command",
    [
        "addr add 192.0.2.1/24 dev other0",
        "route add 198.51.100.0/24 dev other0",
        "route add unreachable 198.51.100.0/24 table 77",
        "-6 route add 2001:db8:77::/64 dev other0",
        "rule add pref 5030 from 10.0.0.0/8 lookup 99",
        "-6 rule add pref 5030 from fd00::/8 lookup 99",
        "link set other0 down",
        "link set other0 name other1",
        "link del other0",
        "link add other1 type bridge",
        "link del nspawn_br1",
        "link set nspawn_br1 down",
        "addr del 10.11.0.1/24 dev nspawn_br1",
    ],
)
def test_a_change_is_a_reason_to_look(watch: Watch, command: str) -> None:
    if "other0 down" in command or "name" in command:
        watch.after("link set other0 down", "link set other0 up")
    if "name" in command:
        watch.after("link set other0 down")
    assert watch.after(command) == LOOK


@pytest.mark.parametrize(
    "commands",
    [
        ["link add nsp8 type veth peer name more netns LAN", "link set nsp8 master nspawn_br1 up"],
        ["link del nsp7"],
        ["link set nsp7 down"],
        ["link set nsp7 name nsp-7"],
        ["route add 10.77.0.0/16 dev other0 protocol 78"],
        ["-6 route add fd77::/64 dev other0 protocol 78"],
        ["rule add pref 1100 from 10.11.0.2 lookup 99 protocol 78"],
        ["addr add 10.11.0.9/32 dev nspawn_br1"],
        ["-6 addr add fd11::1/64 dev nspawn_br1 nodad"],
        ["route add 10.78.0.0/16 dev nspawn_br1"],
        ["route add local 10.79.0.1/32 dev other0 table local"],
        ["link set other0 alias something"],
        ["neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev other0 nud permanent"],
    ],
)
def test_our_own_and_what_says_nothing_is_held_back(watch: Watch, commands: list[str]) -> None:
    if "nsp7 name" in commands[0]:
        watch.after("link set nsp7 down")
    assert watch.after(*(each.replace("LAN", watch.lan) for each in commands)) == NOTHING


def test_what_repeats_is_held_back(watch: Watch) -> None:
    words = "-6 addr replace 2001:db8:5::1/64 dev other0 nodad valid_lft 300 preferred_lft 300"
    assert watch.after(words) == LOOK
    for seconds in (400, 500):
        assert watch.after(words.replace("300", str(seconds))) == NOTHING
    assert watch.after("-6 addr del 2001:db8:5::1/64 dev other0") == LOOK
    assert watch.after(words) == LOOK


def test_rules_of_ours_that_go_mean_that_netd_began_anew(watch: Watch) -> None:
    assert watch.after("rule del pref 1000") == REFILL
    for pref in (10000, 10001, 10002, 10003):
        watch.after(f"rule add pref {pref} lookup {pref}")
    assert watch.after("rule del pref 10000") == LOOK
    assert watch.after(*(f"rule add pref {pref} lookup {pref}" for pref in range(20000, 20005))) == LOOK
    assert watch.after(*(f"rule del pref {pref}" for pref in range(20000, 20005))) == REFILL


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_rule_that_holds_a_container_can_be_made_anew(watch: Watch, family: str) -> None:
    address = "10.11.0.2" if family == "-4" else "fd11::2"
    rule = f"rule add pref 1109 from {address} iif nspawn_br1 unreachable protocol 78"
    other = f"rule add pref 1101 from {address} iif nspawn_br1 lookup 99 protocol 78"
    watch.after(*(f"-6 {each}" if family == "-6" else each for each in (rule, other)))
    before = watch.space.check("ip", family, "rule")
    for priority in (1101, 1109):
        watch.space.check("ip", family, "rule", "del", "pref", str(priority))
    assert watch.sieve.drain(watch.end) == REFILL
    ((source, message),) = watch.sieve.lost
    assert source == socket.inet_pton(socket.AF_INET6 if family == "-6" else socket.AF_INET, address)
    for _ in range(2):  # where it is there already, nothing is added
        watch.end.send(message)
    watch.space.check("ip", family, *other.split())
    assert watch.space.check("ip", family, "rule") == before
    assert watch.sieve.drain(watch.end) == NOTHING


def test_forwarding_that_is_switched_off_is_noticed(watch: Watch) -> None:
    for setting in ("ipv4__ip_forward", "ipv6__conf__all__forwarding", "ipv4__conf__nspawn_br1__forwarding"):
        watch.space.sysctl(**{setting: "1"})
        assert watch.sieve.drain(watch.end) == NOTHING, setting
        watch.space.sysctl(**{setting: "0"})
        assert watch.sieve.drain(watch.end) == LOOK, setting


def test_what_a_port_of_ours_did_is_no_news(watch: Watch) -> None:
    with watch.space.inside():
        end = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with end:
        end.bind((0, 0))
        watch.sieve.ports.add(end.getsockname()[0])
        # RTM_NEWRULE for everything, priority 7000, by the message of `ip rule add`.
        body = (
            bytes((2, 0, 0, 0, 254, 0, 0, 1)) + bytes(4) + b"\x08\x00\x06\x00" + (7000).to_bytes(4, "little")
        )
        header = (16 + len(body)).to_bytes(4, "little") + b"\x20\x00\x05\x06" + bytes(8)
        end.send(header + body)
        assert end.recv(4096)[16:20] == bytes(4)
    assert "7000:" in watch.space.check("ip", "rule")
    assert watch.sieve.drain(watch.end) == NOTHING


def test_more_than_the_socket_holds_is_a_reason_to_look(watch: Watch) -> None:
    watch.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    watch.space.ip(*(f"addr add 10.9.{number}.1/32 dev nspawn_br1" for number in range(200)))
    assert watch.sieve.drain(watch.end) == LOOK
    assert watch.after("link set other0 alias more") == NOTHING
