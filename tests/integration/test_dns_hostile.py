"""The forwarder with containers that mean harm: it goes on for the others, and does not grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import dnslab, processes
from tests.support.dnslab import GATEWAY, GATEWAY6, NOBODY, WIFI, WIFI_SAYS, DnsLab
from tests.support.processes import wait_until
from tests.support.program import REPOSITORY

pytestmark = pytest.mark.root

#: Bytes by which the forwarder may grow while it is attacked: what its limits allow to be open.
ROOM = 4 << 20


@pytest.fixture(scope="module")
def built(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsLab]:
    with dnslab.dns_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(built: DnsLab, tmp_path: Path) -> Iterator[DnsLab]:
    """Container 0 means harm, container 1 does not.  The forwarder runs."""
    built.begin(tmp_path)
    built.slot(0, "bad")
    built.slot(1, "good")
    built.resolv_conf(WIFI)
    built.activate()
    for words in (["uplink.example"], ["uplink.example", "+tcp"], [dnslab.MEDIUM, "TXT"]):
        assert built.short(1, *words), built.said
    yield built
    built.end()


@contextmanager
def attack(lab: DnsLab, kind: str, count: int, server: str = GATEWAY) -> Iterator[None]:
    """All of it is sent when the block begins; connections stay until its end."""
    words = [sys.executable, str(REPOSITORY / "tests/support/dnsflood.py"), kind, server, str(count)]
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.space("c0"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"done\n"
            yield
        finally:
            process.communicate(timeout=20)


def memory(lab: DnsLab) -> int:
    """Bytes of the forwarder's own."""
    return int(processes.status(lab.pid)["VmRSS"].split()[0]) * 1024


def descriptors(lab: DnsLab) -> int:
    return len(list(Path(f"/proc/{lab.pid}/fd").iterdir()))


def serves_the_good_one(lab: DnsLab) -> None:
    """A question is asked more than once by every client; a flood may cost one of them."""
    for words in (["uplink.example"], ["uplink.example", "+tcp"]):
        found = lab.dig(1, "+short", *words, "+tries=5", "+time=3").lines
        assert found == [WIFI_SAYS], lab.said


@pytest.mark.parametrize("server", [GATEWAY, GATEWAY6])
def test_five_thousand_hostile_packets_leave_it_as_it_was(lab: DnsLab, server: str) -> None:
    pid, before = lab.pid, memory(lab)
    with attack(lab, "garbage", 5000, server):
        serves_the_good_one(lab)
    assert lab.pid == pid
    assert memory(lab) - before < ROOM, lab.said
    assert lab.errors.read_text() == ""


def test_a_flood_of_questions_that_nobody_answers_is_bounded(lab: DnsLab) -> None:
    lab.resolv_conf(NOBODY)
    pid, before, open_before = lab.pid, memory(lab), descriptors(lab)
    with attack(lab, "queries", 5000):
        assert descriptors(lab) - open_before <= 64, "of one container"
        lab.resolv_conf(WIFI)
        serves_the_good_one(lab)
    assert wait_until(lambda: descriptors(lab) <= open_before, 20), "each question ends"
    assert lab.pid == pid
    assert memory(lab) - before < ROOM, lab.said
    assert lab.errors.read_text() == ""


def test_a_flood_of_questions_that_are_answered_leaves_nothing(lab: DnsLab) -> None:
    pid, before = lab.pid, memory(lab)
    with attack(lab, "queries", 5000):
        serves_the_good_one(lab)
    assert lab.pid == pid
    assert memory(lab) - before < ROOM, lab.said


def test_connections_that_send_nothing_or_half_a_query_are_few_and_end(lab: DnsLab) -> None:
    pid, before, open_before = lab.pid, memory(lab), descriptors(lab)
    with attack(lab, "connect", 300):
        assert wait_until(lambda: descriptors(lab) - open_before <= 8, 2), "of one container"
        serves_the_good_one(lab)
        assert wait_until(lambda: descriptors(lab) <= open_before, 20), "the patience with them is short"
    assert lab.pid == pid
    assert memory(lab) - before < ROOM


def test_who_does_not_read_its_answers_is_given_up(lab: DnsLab) -> None:
    pid, before, open_before = lab.pid, memory(lab), descriptors(lab)
    with attack(lab, "pipeline", 20):
        serves_the_good_one(lab)
        assert memory(lab) - before < ROOM, lab.said
        assert wait_until(lambda: descriptors(lab) <= open_before, 30), lab.said
    assert lab.pid == pid


def test_a_connection_full_of_bad_queries_is_no_endless_work(lab: DnsLab) -> None:
    pid, before = lab.pid, memory(lab)
    with attack(lab, "malformed", 8):
        serves_the_good_one(lab)
    assert lab.pid == pid
    assert memory(lab) - before < ROOM
    assert lab.errors.read_text() == ""
