"""`nspawn --net ROOTFS COMMAND`: with a spawner and without, on a terminal and not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import processes, rootfs
from tests.support.netlab.lab import eventually
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import LabProgram, Network, foreground
from tests.support.netlab.residue import Residue
from tests.support.netlab.topology import WORLD4, line

pytestmark = pytest.mark.root

SHOW = "ip addr show eth0; cat /etc/resolv.conf; ping -c1 -W3 10.11.0.1"


@pytest.fixture
def alone(host: PlainLab, tmp_path: Path) -> LabProgram:
    """The program without a spawner."""
    return LabProgram(host, tmp_path / "alone")


@pytest.fixture
def place(busybox_base: Path, tmp_path: Path) -> Path:
    return rootfs.copy(busybox_base, tmp_path / "place")


def has_rule(lab: PlainLab) -> bool:
    return "1000:" in lab.phone.check("ip", "rule")


def is_repaired(lab: PlainLab) -> None:
    """Somebody looks after the network."""
    eventually(lambda: has_rule(lab), True)
    lab.phone.ip("rule del pref 1000")
    eventually(lambda: has_rule(lab), True)


def slots(program: LabProgram) -> list[str]:
    return sorted(os.listdir(program.root / "network/slots"))


def look(lab: PlainLab) -> Residue:
    return Residue(lab.phone, ("nft",))


@contextmanager
def sleeping(program: LabProgram, place: Path, *options: str) -> Iterator[int]:
    """A run on a terminal, for the block; its PID."""
    with program.terminal(
        *options, "--net", place, "/bin/sh", "-c", "echo be''gun; exec sleep 1000"
    ) as child:
        child.expect("begun")
        assert child.pid
        yield child.pid
        child.kill(signal.SIGTERM)
        child.wait()


def test_without_a_spawner_it_has_addresses_and_leaves_nothing(
    host: PlainLab, alone: LabProgram, place: Path
) -> None:
    before = look(host)
    result = alone("--net", place, "/bin/sh", "-c", f"{SHOW}; exit 7")
    assert result.status == 7, str(result)
    for words in ("inet 10.11.0.2/24", "inet6 fd11::2/64", "nameserver 10.11.0.1", " 0% packet loss"):
        assert words in result.out
    assert result.err == ""
    assert before.changed(look(host)) == []
    assert slots(alone) == []


def test_it_reaches_the_world_and_is_reached(host: PlainLab, alone: LabProgram, place: Path) -> None:
    with foreground(host, alone, place, "-p", "8000:7000", "--ip", "10.11.0.77") as one:
        assert one.address4 == "10.11.0.77"
        assert one.ask(WORLD4).peer == line("wifi").near4
        assert host.ask("lan", line("wifi").near4, 8000).tag == "place"
        is_repaired(host)
        two = alone("--ip", "10.11.0.77", place, "true")
        assert two.status == 1, str(two)
        assert "10.11.0.77 is taken" in two.err
        two = alone("-p", "127.0.0.1:8000:1", place, "true")
        assert two.status == 1, str(two)
        assert "8000" in two.err
        assert host.ask("lan", line("wifi").near4, 8000).tag == "place"
        kept = alone("-C")
        assert kept.status == 1, str(kept)
        assert "in use" in kept.err


def test_of_several_the_next_takes_over(host: PlainLab, alone: LabProgram, place: Path) -> None:
    before = look(host)
    with ExitStack() as first, ExitStack() as second, ExitStack() as third:
        one = first.enter_context(foreground(host, alone, place, "--net"))
        two = second.enter_context(foreground(host, alone, place, "--net"))
        third.enter_context(foreground(host, alone, place, "--net"))
        assert one.ask(two.address4).tag == "place"
        second.close()
        is_repaired(host)
        first.close()
        is_repaired(host)
    assert before.changed(look(host)) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing(
    host: PlainLab, alone: LabProgram, place: Path, number: signal.Signals
) -> None:
    before = look(host)
    with alone.terminal("-p", "8000:80", place, "/bin/sh", "-c", "echo be''gun; exec sleep 1000") as child:
        child.expect("begun")
        assert child.pid
        os.kill(child.pid, number)
        eventually(lambda: before.changed(look(host)), [], 10)
    eventually(lambda: slots(alone), [])


def test_with_a_spawner_it_is_handed_over(host: PlainLab, on_host: Network, place: Path) -> None:
    before = look(host)
    on_host.daemon.serve()
    with on_host.nspawn.box(place, "--net", "-p", "8000:7000") as box:
        assert processes.parent(box.pid) == on_host.daemon.spawner
        assert "10.11.0.2/24" in box.enter("ip", "addr").out
        is_repaired(host)
        assert slots(on_host.nspawn) == ["0"]
        result = on_host.nspawn("-p8000:1", place, "true")
        assert result.status == 1, str(result)
        assert "8000" in result.err
    eventually(lambda: slots(on_host.nspawn), [])
    eventually(lambda: before.changed(look(host)), [], 10)


def test_what_is_handed_over_ends_with_its_caller(host: PlainLab, on_host: Network, place: Path) -> None:
    on_host.daemon.serve()
    with on_host.nspawn.box(place, "--net") as box:
        box.process.kill()
        assert processes.gone(box.pid)
        eventually(lambda: slots(on_host.nspawn), [])
    eventually(lambda: "nspawn_br1" in host.phone.interfaces(), False, 10)


def test_many_handed_over_at_once(host: PlainLab, on_host: Network, place: Path) -> None:
    on_host.daemon.serve()
    with host.phone.inside():
        running = [
            subprocess.Popen(
                [str(on_host.nspawn.path), "--net", str(place), "/bin/sh", "-c", SHOW],
                env=on_host.nspawn.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(20)
        ]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 20, said
    addresses = {text.partition("inet ")[2].partition("/")[0] for text in said}
    assert all(" 0% packet loss" in text for text in said)
    assert len(addresses) > 1
    eventually(lambda: slots(on_host.nspawn), [])


def test_on_a_terminal_the_spawner_holds_the_network(host: PlainLab, on_host: Network, place: Path) -> None:
    before = look(host)
    on_host.daemon.serve()
    with sleeping(on_host.nspawn, place, "-p", "8000:7000") as pid:
        assert processes.parent(pid) == os.getpid()
        assert [each for each in processes.children(pid) if processes.namespace(each, "net")] != []
        is_repaired(host)
        assert on_host.nspawn("net", "down").status == 1
        on_host.daemon.kill_spawner()
        is_repaired(host)
        on_host.nspawn.ok("shutdown")
        # Nobody but we: a caretaker of our own.
        is_repaired(host)
        assert host.ask("lan", line("wifi").near4, 8000).why == "Connection refused"
    eventually(lambda: before.changed(look(host)), [], 10)


def test_an_uplink_that_is_not_there_is_a_mistake(host: PlainLab, alone: LabProgram, place: Path) -> None:
    before = look(host)
    for pins in (["--route-via", "nosuch0"], ["--route-via=vpn,nosuch*"]):
        result = alone(*pins, place, "true")
        assert result.status == 2, str(result)
        assert "no uplink" in result.err
        assert "wlan0 (" in result.err
    assert alone("--route-via", "nosuch0,wlan0", place, "true").status == 0
    assert before.changed(look(host)) == []
    assert slots(alone) == []


def test_the_clean_up_says_what_it_did(host: PlainLab, alone: LabProgram, place: Path) -> None:
    before = look(host)
    nothing = alone("-C")
    assert (nothing.status, nothing.out) == (0, "")
    assert "nothing" in nothing.err
    with sleeping(alone, place) as pid:
        killed = [pid, *processes.children(pid)]
        for each in killed:
            os.kill(each, signal.SIGKILL)
        assert all(processes.gone(each) for each in killed)
    assert before.changed(look(host))
    eventually(lambda: {name for name in host.phone.interfaces() if name.startswith("nsp")}, {"nspawn_br1"})
    result = alone("--cleanup-route")
    assert result.status == 0, str(result)
    assert "ip link delete nspawn_br1" in result.out
    assert before.changed(look(host)) == []
    together = alone("-C", place, "true")
    assert together.status == 2, str(together)
    alone.ok(place, "true")  # sweeps the cgroup of the one that was killed


def test_reserved_ports_are_told(host: PlainLab, alone: LabProgram, place: Path) -> None:
    result = alone("-P", "8020:8024", place, "true")
    assert result.status == 0, str(result)
    assert "8022" in result.err
    assert host.phone.interfaces()


def test_another_init_is_connected_at_each_boot(host: PlainLab, alone: LabProgram, place: Path) -> None:
    """`--boot` starts it again after a reboot from inside, in the same place of the network."""
    init = place / "sbin/init"
    init.parent.mkdir(exist_ok=True)
    init.unlink(missing_ok=True)
    init.write_text(
        "#!/bin/sh\nping -c1 -W3 10.11.0.1 >/dev/null && ip addr show eth0\n"
        "[ -e /second ] && exec poweroff -f\ntouch /second\nexec reboot -f\n"
    )
    init.chmod(0o755)
    result = alone("--net", "--boot", place)
    assert result.status == 0, str(result)
    assert result.out.count("inet 10.11.0.2/24") == 2, str(result)


def test_mini_has_none_of_it(host: PlainLab, tmp_path: Path, place: Path) -> None:
    mini = LabProgram(host, tmp_path / "mini")
    mini.path = mini.path.with_name("nspawn-mini")
    for words in (["--net"], ["-p", "1:1"], ["--ip=10.11.0.5"], ["-C"], ["--net=none"]):
        result = mini(*words, place, "true")
        assert result.status == 2, str(result)
        assert "nspawn-mini has no" in result.err


def test_without_network_namespaces_there_is_the_reason(
    host: PlainLab, alone: LabProgram, place: Path
) -> None:
    from tests.integration.test_run_kernels import poor

    before = look(host)
    result = alone("-p", "8000:80", place, "true", prefix=poor("--without", "net"))
    assert result.status == 1, str(result)
    assert "network" in result.err
    assert before.changed(look(host)) == []
