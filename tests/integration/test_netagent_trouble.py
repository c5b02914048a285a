"""The agent where something fails: nothing is left of it, or the next run finishes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Result, run
from tests.support.netbox import AGENT, Machine, difference, plain_host

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    with plain_host(tmp_path / "state") as found:
        yield found


PATCHED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
change = sys.argv.pop(1)
from nspawn.kernel.rtnl import Rtnl
from nspawn.network import apply
exec(change)
from nspawn.service.netagent import main
sys.exit(main(sys.argv[1:]))
"""
#: The kernel refuses one of all changes; after that it takes everything.
REFUSAL = """
left = [{step}]
def refusing(real):
    def call(self, *words, **more):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(1, "refused here", "line")
        return real(self, *words, **more)
    return call
Rtnl._send = refusing(Rtnl._send)
apply.write = refusing(apply.write)
"""


def patched(host: Machine, tmp_path: Path, change: str, *words: str) -> Result:
    """A run of the agent with a change in its code."""
    script = tmp_path / "patched.py"
    script.write_text(PATCHED)
    line = host.agent_words(*words)
    at = line.index(str(AGENT))
    line[at : at + 1] = [str(script), str(AGENT.parents[1]), change]
    return run(line, environment=host.environment)


def test_a_container_whose_file_cannot_be_read_is_cut_off(host: Machine) -> None:
    host.up()
    number = host.slot("a", pins=("wlan0",))
    Path(host.layout.network, "slots", str(number)).write_bytes(b"junk")
    outcome = host.up()
    assert any(b"is damaged" in note for note in outcome.all("note"))
    assert any(egress.startswith(b"0 - 0 ") for egress in outcome.all("egress"))
    assert any(line.startswith("1109: from 10.11.0.2 ") and "unreachable" in line for line in host.rules())


def test_with_broken_tools_nothing_is_left(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    for name in ("iptables-restore", "iptables-nft-restore", "iptables-legacy-restore"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "#!/bin/sh\n[ $1 = --version ] && exec /usr/sbin/iptables-nft-restore $1\n"
            "echo 'it is broken' >&2\nexit 4\n"
        )
        path.chmod(0o755)
    error = host.refused("up", environment={"PATH": f"{tmp_path}/bin:{host.environment['PATH']}"})
    assert "it is broken" in f"{error.text('what')} {error.text('why')}"
    assert not difference(before, host.state())
    host.up()


def test_whatever_step_fails_nothing_is_left(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    for step in range(3, 40):  # the first two ask for kinds of interfaces
        result = patched(host, tmp_path, REFUSAL.format(step=step), "up")
        if result.status == 0:
            break
        assert "refused here" in result.out, result
        found = difference(before, host.state())
        assert not found, (step, found)
    assert step > 8


def test_what_is_there_stays_when_a_later_run_fails(host: Machine, tmp_path: Path) -> None:
    host.up()
    host.slot("a")
    host.up()
    before = host.state()
    host.slot("b", pins=("wlan0",))
    assert patched(host, tmp_path, REFUSAL.format(step=1), "up").status == 1
    after = host.state()
    assert all(line in after["ip rule"] for line in before["ip rule"])
    assert any("master nspawn_br1" in line for line in after["links"] if "nsp0" in line)
    host.up()
    host.leave()
    host.down()


def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(host: Machine) -> None:
    """And taken down again from wherever it was."""
    seed = int(os.environ.get("NSPAWN_SEED", "0")) or random.randrange(1 << 30)
    chance = random.Random(seed)
    before = host.state()
    host.up()
    host.slot("a", pins=("wlan0",), forwards=("8080:80/tcp",))
    host.slot("b")
    host.up()
    wanted = host.state()
    for turn in range(12):
        first, second = ("down --force", "up") if turn % 2 else ("up", "down --force")
        if first == "up":
            host.down("--force")
            host.veths.clear()
            for number in (0, 1):
                host.veth(number)
        with subprocess.Popen(
            host.agent_words(*first.split()),
            env=host.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(0.04 + chance.random() * 0.06)
            process.send_signal(signal.SIGKILL)
        if second == "up":
            for number in (0, 1):
                if f"nsp{number}@" not in "".join(host("ip", "link")):
                    host.veth(number)
            host.up()
            found = difference(_numberless(wanted), _numberless(host.state()))
            assert not found, (seed, turn, found)
        else:
            host.outcome(*second.split())
            host.veths.clear()
            found = difference(before, host.state())
            assert not found, (seed, turn, found)


def _numberless(state: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without what is new at each interface that is made."""
    keys = ("ip rule", "ip -6 rule", "ip route show table all", "iptables-save", "ip6tables-save")
    return {key: sorted(state[key]) for key in keys}


def test_a_kernel_without_veth_is_told(host: Machine, tmp_path: Path) -> None:
    before = host.state()
    result = patched(host, tmp_path, "Rtnl.has_kind = lambda self, kind: kind != 'veth'", "up")
    assert result.status == 1
    assert "CONFIG_VETH" in result.out
    assert not difference(before, host.state())


def test_without_a_bridge_each_container_is_connected_by_itself(host: Machine, tmp_path: Path) -> None:
    before = host.state()

    def up() -> None:
        result = patched(host, tmp_path, "Rtnl.has_kind = lambda self, kind: kind != 'bridge'", "up")
        assert result.status == 0, str(result)
        assert "mode=ptp" in result.out

    up()
    host.slot("a", pins=("wlan0",))
    host.slot("b", forwards=("8080:80/tcp",))
    up()
    routes = host.ip("route")
    for number in (0, 1):
        assert f"10.11.0.{number + 2} dev nsp{number} proto 78 scope link src 10.11.0.1" in routes
        assert "inet 10.11.0.1/32" in host("ip", "-o", "addr", "show", f"nsp{number}")[0]
    assert not host("ip", "link", "show", "type", "bridge")
    with host.watched() as changes:
        up()
    assert changes == []
    host.leave()
    up()
    host.down()
    assert not difference(before, host.state())
