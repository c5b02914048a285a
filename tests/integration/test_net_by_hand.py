"""`nspawn net up`: the network stays until `nspawn net down`, and somebody looks after it all the time."""

from __future__ import annotations

import time

import pytest

from tests.support.netlab.lab import eventually
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network
from tests.support.netlab.residue import Residue

pytestmark = pytest.mark.root

#: A network that nobody needs is taken down after a second.
UNNEEDED = 1.5


def has_rule(lab: PlainLab) -> bool:
    return "1000:" in lab.phone.check("ip", "rule")


def is_repaired(lab: PlainLab) -> None:
    eventually(lambda: has_rule(lab), True)
    lab.phone.ip("rule del pref 1000")
    eventually(lambda: has_rule(lab), True)


def test_it_is_looked_after_although_there_was_no_spawner(host: PlainLab, on_host: Network) -> None:
    before = Residue(host.phone, ("nft",))
    spawners = [on_host.daemon.spawner]
    on_host.nspawn.ok("net", "up")
    spawners.append(on_host.daemon.spawner)
    assert [bool(each) for each in spawners] == [False, True]
    is_repaired(host)
    on_host.nspawn.ok("net", "down")
    eventually(lambda: before.changed(Residue(host.phone, ("nft",))), [])


def test_the_next_spawner_knows_of_it(host: PlainLab, on_host: Network) -> None:
    on_host.nspawn.ok("net", "up")
    for kill in (on_host.daemon.kill_spawner, on_host.daemon.kill_both):
        kill()
        on_host.nspawn.ok("net", "up", "--dry-run")
        if not on_host.daemon.spawner:
            on_host.daemon.serve()
        time.sleep(UNNEEDED)
        is_repaired(host)
    on_host.nspawn.ok("net", "down")
    eventually(lambda: has_rule(host), False)


def test_after_down_it_is_forgotten(host: PlainLab, on_host: Network) -> None:
    on_host.nspawn.ok("net", "up")
    on_host.nspawn.ok("net", "down")
    on_host.run("one")
    on_host.daemon.kill_spawner()
    assert has_rule(host)
    on_host.stop("one")
    eventually(lambda: has_rule(host), False)


def test_a_container_that_comes_and_goes_does_not_take_it_along(host: PlainLab, on_host: Network) -> None:
    on_host.nspawn.ok("net", "up")
    on_host.run("one")
    on_host.daemon.kill_spawner()
    on_host.stop("one")
    time.sleep(UNNEEDED)
    is_repaired(host)
