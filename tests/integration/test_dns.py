"""The forwarder, asked by dig from containers' namespaces, with real servers behind two uplinks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import dnslab
from tests.support.dnslab import (
    BIG,
    GATEWAY6,
    MEDIUM,
    MOBILE,
    MOBILE6,
    MOBILE_SAYS,
    NOBODY,
    WIFI,
    WIFI_SAYS,
    DnsLab,
)
from tests.support.processes import wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def built(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsLab]:
    with dnslab.dns_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(built: DnsLab, tmp_path: Path) -> Iterator[DnsLab]:
    """Three containers: web (0), db.eu (1) and a foreground run (2); the machine's server is the WiFi's."""
    built.begin(tmp_path)
    built.slot(0, "web")
    built.slot(1, "db.eu")
    built.slot(2, "run", owner=f"run:{os.getpid()}:1")
    built.resolv_conf(WIFI)
    yield built
    built.end()


# Forwarding


def test_a_name_is_asked_of_the_machines_server_by_udp_and_tcp_and_both_families(lab: DnsLab) -> None:
    lab.activate()
    for server in (dnslab.GATEWAY, GATEWAY6):
        for protocol in ("+notcp", "+tcp"):
            assert lab.short(0, "uplink.example", protocol, server=server) == [WIFI_SAYS], lab.said
    assert lab.short(0, "six.example", "AAAA") == ["2001:db8::7"]
    assert lab.short(0, "-x", "203.0.113.8") == ["two.example."]
    assert lab.status(0, "missing.example") == "NXDOMAIN"


def test_a_server_by_ipv6_is_asked(lab: DnsLab) -> None:
    lab.resolv_conf(MOBILE6)
    lab.activate()
    assert lab.short(0, "uplink.example") == [MOBILE_SAYS], lab.said


def test_a_new_resolv_conf_counts_from_the_next_question_on(lab: DnsLab) -> None:
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]
    lab.resolv_conf(MOBILE)
    assert lab.short(0, "uplink.example") == [MOBILE_SAYS], lab.said


def test_a_big_answer_comes_by_tcp_after_a_truncated_one(lab: DnsLab) -> None:
    lab.activate()
    whole = lab.short(0, BIG, "TXT")
    assert len("".join(whole)) > 4000, lab.said
    cut = lab.dig(0, BIG, "TXT", "+ignore", "+noedns").out
    assert " tc " in cut, cut
    assert "MSG SIZE  rcvd: " in cut
    assert int(cut.partition("MSG SIZE  rcvd: ")[2].split()[0]) <= 512, cut
    assert lab.short(0, BIG, "TXT", "+tcp") == whole
    assert "opt" not in lab.dig(0, BIG, "TXT", "+tcp", "+noedns").out.lower().replace("options", "")


def test_a_client_that_takes_more_than_servers_are_asked_for_gets_it_by_udp(lab: DnsLab) -> None:
    """Servers are asked for 1232 bytes; what is cut off then is fetched by TCP."""
    lab.activate()
    found = lab.dig(0, MEDIUM, "TXT", "+bufsize=4096", "+ignore").out
    assert " tc " not in found, found
    assert 2000 < int(found.partition("MSG SIZE  rcvd: ")[2].split()[0]) <= 4096, found
    assert " tc " in lab.dig(0, MEDIUM, "TXT", "+bufsize=1400", "+ignore").out
    assert " tc " in lab.dig(0, BIG, "TXT", "+bufsize=65000", "+ignore").out


def test_a_silent_server_is_passed_over_and_then_asked_last(lab: DnsLab) -> None:
    lab.resolv_conf(NOBODY, MOBILE)
    lab.activate()
    assert lab.short(0, "uplink.example") == [MOBILE_SAYS], lab.said
    assert lab.dig(0, "uplink.example", "+time=1").out.count(MOBILE_SAYS) == 1, lab.said


def test_no_server_at_all_is_a_failure_and_not_silence(lab: DnsLab) -> None:
    lab.resolv_conf(NOBODY)
    lab.activate()
    assert lab.status(0, "uplink.example") == "SERVFAIL", lab.said


def test_a_server_that_refuses_is_passed_over_and_its_word_is_the_last_resort(lab: DnsLab) -> None:
    """dnsmasq without servers of its own refuses what it does not know."""
    lab.resolv_conf(WIFI, MOBILE)
    lab.activate()
    before = lab.asked("mobile")
    assert lab.status(0, "www.elsewhere.test") == "REFUSED", lab.said
    assert lab.asked("mobile") > before


def test_the_machines_own_question_at_the_gateway_is_answered(lab: DnsLab) -> None:
    lab.activate()
    found = lab.inside("host", "dig", "+short", f"@{dnslab.GATEWAY}", "uplink.example", "web.nspawn").lines
    assert found == [WIFI_SAYS, "10.11.0.2"]


# Names of containers


def test_containers_find_each_other_by_name_in_both_families_and_back(lab: DnsLab) -> None:
    lab.activate()
    assert lab.short(0, "db.eu.nspawn") == ["10.11.0.3"], lab.said
    assert lab.short(0, "DB.eu.NSPAWN", "AAAA") == ["fd11::3"]
    assert lab.short(1, "run.nspawn", "A") == ["10.11.0.4"]
    assert lab.short(1, "-x", "10.11.0.2") == ["web.nspawn."]
    assert lab.short(1, "-x", "fd11::2") == ["web.nspawn."]


def test_what_is_unknown_below_nspawn_does_not_exist_and_is_asked_of_nobody(lab: DnsLab) -> None:
    lab.activate()
    before = lab.asked("wifi"), lab.asked("mobile")
    assert lab.status(0, "nobody.nspawn") == "NXDOMAIN"
    assert lab.status(0, "www.web.nspawn") == "NXDOMAIN"
    assert lab.status(0, "-x", "10.11.0.77") == "NXDOMAIN"
    assert lab.status(0, "-x", "fd11::77") == "NXDOMAIN"
    assert lab.status(0, "-c", "CH", "web.nspawn", "TXT") == "REFUSED"
    for name, kind in (("web.nspawn", "MX"), ("eu.nspawn", "A"), ("nspawn", "SOA")):
        found = lab.dig(0, name, kind).out
        assert "status: NOERROR" in found, found
        assert "ANSWER: 0, AUTHORITY: 1" in found, found
    assert (lab.asked("wifi"), lab.asked("mobile")) == before


def test_a_name_is_there_as_long_as_its_container_runs(lab: DnsLab) -> None:
    lab.activate()
    assert lab.short(0, "run.nspawn") == ["10.11.0.4"]
    lab.stop_container(2)
    try:
        assert lab.status(0, "run.nspawn") == "NXDOMAIN"
        assert lab.status(0, "-x", "10.11.0.4") == "NXDOMAIN"
    finally:
        lab.start_container(2)
    assert lab.short(0, "run.nspawn") == ["10.11.0.4"]
    lab.slot(2, "shop")
    assert lab.short(0, "shop.nspawn") == ["10.11.0.4"]
    assert lab.status(0, "run.nspawn") == "NXDOMAIN"


def test_a_container_without_ipv6_has_no_address_of_it(lab: DnsLab) -> None:
    lab.slot(1, "db", ipv6="off")
    lab.activate()
    assert lab.short(0, "db.nspawn", "A") == ["10.11.0.3"]
    assert lab.short(0, "db.nspawn", "AAAA") == []
    assert lab.status(0, "db.nspawn", "AAAA") == "NOERROR"


def test_of_a_run_and_a_container_of_one_name_the_container_has_it(lab: DnsLab) -> None:
    lab.slot(0, "web", owner="run:1:1")
    lab.slot(1, "web")
    lab.activate()
    assert lab.short(2, "web.nspawn") == ["10.11.0.3"]


# Ways out


def test_a_pinned_container_asks_by_its_own_uplink(lab: DnsLab) -> None:
    """By the device: the server of the other uplink cannot be reached through it."""
    lab.slot(1, "db", pins=("mobile",))
    lab.resolv_conf(WIFI, MOBILE)
    lab.state(("egress", "* wlan0 0"), ("egress", "1 rmnet0 0 via rmnet0 because it is pinned"))
    lab.activate()
    before = lab.asked("wifi")
    assert lab.short(1, "uplink.example") == [MOBILE_SAYS], lab.said
    assert lab.short(1, "uplink.example", "+tcp") == [MOBILE_SAYS]
    assert lab.asked("wifi") == before
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]


def test_a_blocked_container_gets_a_failure_and_nothing_leaves(lab: DnsLab) -> None:
    lab.slot(1, "db", pins=("vpn",))
    lab.state(("egress", "* wlan0 0"), ("egress", "1 - 0 blocked because no vpn is up"))
    lab.activate()
    before = lab.asked("wifi"), lab.asked("mobile")
    assert lab.status(1, "uplink.example") == "SERVFAIL"
    assert lab.status(1, "uplink.example", "+tcp") == "SERVFAIL"
    assert lab.short(1, "web.nspawn") == ["10.11.0.2"]
    assert (lab.asked("wifi"), lab.asked("mobile")) == before
    lab.state(("egress", "* wlan0 0"), ("egress", "1 rmnet0 0"))
    lab.resolv_conf(MOBILE)
    assert lab.short(1, "uplink.example") == [MOBILE_SAYS], lab.said


def test_a_pinned_container_that_the_agent_has_not_seen_yet_is_blocked(lab: DnsLab) -> None:
    lab.slot(1, "db", pins=("mobile",))
    lab.activate()
    assert lab.status(1, "uplink.example") == "SERVFAIL"
    lab.state(("egress", "* wlan0 0"))
    assert lab.status(1, "uplink.example") == "SERVFAIL"


def test_a_pinned_containers_question_does_not_go_to_a_resolver_of_the_machine_itself(lab: DnsLab) -> None:
    """systemd-resolved at 127.0.0.53 asks by any uplink; the servers behind it are in a file of its own."""
    lab.slot(1, "db", pins=("mobile",))
    lab.state(("egress", "1 rmnet0 0"))
    lab.resolv_conf("127.0.0.53")
    behind = lab.phone / "run/systemd/resolve"
    behind.mkdir(parents=True)
    (behind / "resolv.conf").write_text(f"nameserver {MOBILE}\n")
    lab.activate()
    assert lab.short(1, "uplink.example") == [MOBILE_SAYS], lab.said


def test_an_uplink_that_is_gone_is_a_failure(lab: DnsLab) -> None:
    lab.slot(1, "db", pins=("vpn",))
    lab.state(("egress", "1 tun9 0"))
    lab.activate()
    assert lab.status(1, "uplink.example") == "SERVFAIL"


def test_the_configured_servers_come_after_the_machines(lab: DnsLab) -> None:
    lab.resolv_conf()
    lab.state(("egress", "* wlan0 0"), ("server", MOBILE))
    lab.activate()
    assert lab.short(0, "uplink.example") == [MOBILE_SAYS], lab.said
    lab.resolv_conf(WIFI)
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]


def test_the_gateway_in_the_machines_resolv_conf_makes_no_loop(lab: DnsLab) -> None:
    lab.resolv_conf(dnslab.GATEWAY, GATEWAY6, WIFI)
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS], lab.said


# Who may ask


def test_who_is_not_in_the_subnet_gets_no_answer(lab: DnsLab) -> None:
    """A neighbour in the WiFi that sends to the gateway's address by way of the host."""
    lab.activate()
    lab.ip("wifi", f"route add {dnslab.GATEWAY}/32 via 192.0.2.1")
    try:
        words = ["dig", "+tries=1", "+time=1", f"@{dnslab.GATEWAY}", "web.nspawn"]
        assert "10.11.0.2" not in lab.inside("wifi", *words).out
        assert "10.11.0.2" not in lab.inside("wifi", *words, "+tcp").out
    finally:
        lab.ip("wifi", f"route del {dnslab.GATEWAY}/32")
    assert lab.short(0, "web.nspawn") == ["10.11.0.2"]


def test_an_address_that_no_container_has_gets_no_answer(lab: DnsLab) -> None:
    lab.activate()
    lab.ip("c0", "addr add 10.11.0.99/24 dev eth0")
    try:
        found = lab.inside(
            "c0", "dig", "-b", "10.11.0.99", "+tries=1", "+time=1", f"@{dnslab.GATEWAY}", "web.nspawn"
        )
        assert "10.11.0.2" not in found.out
    finally:
        lab.ip("c0", "addr del 10.11.0.99/24 dev eth0")


# Its life


def test_it_starts_at_the_first_question_leaves_when_idle_and_starts_again(lab: DnsLab) -> None:
    lab.environment["NSPAWN_DNS_IDLE"] = "0.3"
    lab.activate()
    assert lab.log.read_text() == "ready\n"
    for turn in (1, 2, 3):
        assert lab.short(0, "uplink.example", *(["+tcp"] if turn == 2 else [])) == [WIFI_SAYS], lab.said
        assert lab.ended(turn), lab.said


def test_it_stays_while_a_question_is_open(lab: DnsLab) -> None:
    lab.environment["NSPAWN_DNS_IDLE"] = "0.2"
    lab.resolv_conf(NOBODY)
    lab.activate()
    assert lab.status(0, "uplink.example") == "SERVFAIL", lab.said
    assert lab.log.read_text().count("started") == 1


def test_it_leaves_at_once_when_told_to(lab: DnsLab) -> None:
    lab.activate()
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]
    os.kill(lab.pid, signal.SIGTERM)
    assert wait_until(lambda: "ended 0" in lab.log.read_text(), 10), lab.said
    assert lab.short(0, "uplink.example") == [WIFI_SAYS]
