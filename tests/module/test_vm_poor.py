"""The release zip on a poor arm64 phone: KernelSU and Linux 5.10, without PID, IPC and user namespaces and
system calls newer than 4.19, without bridge, overlay and IPv6 NAT. The tests are one story.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.phone import vm
from tests.support.phone.vm_build import LINUX_4_19, assemble
from tests.support.phone.vm_module import WITNESS, Module, release

pytestmark = [pytest.mark.phone, pytest.mark.root, pytest.mark.slow, pytest.mark.usefixtures("in_order")]

MISSING = ("bridge", "br_netfilter", "overlay", "ip6table_nat")


@pytest.fixture(scope="module")
def module(clean_module: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The phone after the zip was flashed, and rebooted."""
    place = tmp_path_factory.mktemp("vm")
    hardware = assemble(
        place,
        "5.10",
        "ksu",
        files={"now.zip": release()},
        without_modules=MISSING,
        without_namespaces=("pid", "ipc", "user"),
        older_than=LINUX_4_19,
    )
    with vm.powered(vm.Phone(hardware, place / "console")) as phone:
        found = Module(phone=phone)
        found.booted()
        assert "Linux 5.10." in found.flash("now.zip")
        found.reboot()
        yield found


@pytest.mark.parametrize("kind", ["-p", "-i", "-U"])
def test_the_kernel_refuses_namespaces(module: Module, kind: str) -> None:
    refused = module.phone.sh(f"unshare {kind} true")
    assert refused.status != 0
    assert "Invalid argument" in refused.out


def test_the_kernel_lacks_modules(module: Module) -> None:
    loaded = {line.split()[0] for line in module.phone.check("cat /proc/modules").splitlines()}
    assert {"veth", "tun", "iptable_nat"} <= loaded
    assert loaded.isdisjoint(MISSING)
    assert "overlay" not in module.phone.check("cat /proc/filesystems").split()
    assert module.phone.sh("ip link add probe type bridge").status != 0
    assert "nat" not in module.phone.check("cat /proc/net/ip6_tables_names").split()


def test_a_container_runs_with_what_there_is(module: Module) -> None:
    assert module.phone.get("/")[0] == 200
    module.must("create", "box", "--image", "builtin", "--autostart", "--command", WITNESS)
    module.must("start", "box")
    module.wait_started("box")
    state = module.containers()["box"]["state"]
    assert "pid" in " ".join(state["warnings"])
    same = [
        kind
        for kind in ("mnt", "pid", "ipc", "uts", "cgroup")
        if len(set(module.phone.check(f"readlink /proc/{state['pid']}/ns/{kind} /proc/1/ns/{kind}").split()))
        == 1
    ]
    assert same == ["pid", "ipc"]
    module.must("stop", "box")
    # Without a PID namespace nothing but its cgroup ends what it left behind.
    assert module.phone.sh("ps -A -o args | grep '[s]leep 100000'").out.strip() == ""


def test_the_power_goes_in_the_middle_of_a_start(module: Module) -> None:
    files = module.checksums("box")
    module.phone.reboot()
    module.phone.wait("grep -q note=start /data/adb/nspawn/guard", 90, step=0.05)
    module.phone.check("cd /data/local/tmp && echo synced >first && sync && echo not >second")
    module.phone.cut()
    module.phone.power_on()
    module.booted()
    # The bench itself: this power cut is one.
    assert module.phone.check("cat /data/local/tmp/first").strip() == "synced"
    assert "not" not in module.phone.sh("cat /data/local/tmp/second 2>/dev/null").out
    assert module.phone.get("/")[0] == 200
    assert module.containers()["box"]["state"]["state"] == "stopped"
    assert module.checksums("box") == files
    guard = json.loads(module.command("guard", "--json").out)
    assert guard["blocked"] is True
    assert (guard["trip"]["step"], guard["trip"]["container"]) == ("start", "box")
    refused = module.command("start", "box")
    assert refused.status == 1
    assert "box was starting" in refused.out


def test_it_starts_when_a_person_says_so(module: Module) -> None:
    module.must("guard", "try-again")
    module.wait_started("box")
    assert module.containers()["box"]["state"]["state"] == "running"
    # Its note is taken back when the machine has gone on for a while.
    module.phone.wait("! grep -q note=start /data/adb/nspawn/guard", 30)


def test_it_comes_back_with_the_machine(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    token = module.must("token").strip()
    module.phone.reboot()
    module.wait_started("box")
    running = time.monotonic() - module.phone.powered_at
    found = module.api("containers", token)["containers"]
    answering = time.monotonic() - module.phone.powered_at
    with capsys.disabled():
        print(
            f"\nreboot to container running {running:.1f} s, to page answering {answering:.1f} s (goal: 45 s)"
        )
    assert [(each["name"], each["state"]["state"]) for each in found] == [("box", "running")]
