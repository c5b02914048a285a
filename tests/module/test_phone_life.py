"""The module's life on an emulated phone: soft reboots, poorer kernels, power cuts, storage, and its end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.module.conftest import NewPhone
from tests.support import processes
from tests.support.phone.handset import Kernel
from tests.support.phone.phone import OLD_KERNEL, STOCK_KERNEL
from tests.support.phone.server import MODULE, STATE, Server

pytestmark = [pytest.mark.phone, pytest.mark.root]

BIND = "/data/media/0/Download"


def ours(server: Server) -> list[str]:
    """Command lines of the module's own processes."""
    lines = [processes.command_line(pid) for pid in server.phone.processes() if processes.alive(pid)]
    return [" ".join(words) for words in lines if any("nspawn" in word for word in words)]


def guard(server: Server) -> dict[str, Any]:
    """What the crash guard says; its status tells whether it is in the way."""
    found: dict[str, Any] = json.loads(server.nspawn("guard --json", must=False).out)
    return found


def test_soft_reboot_changes_nothing(server: Server) -> None:
    server.create("box", "--autostart --start")
    pid, before = server.state("box")["pid"], sorted(ours(server))
    server.phone.soft_reboot()
    assert server.phone.sh("sleep 1; echo $?").out == "0\n"
    assert server.state("box")["pid"] == pid
    keepers = [line for line in ours(server) if "keeper" in line]
    assert sorted(keepers) == [line for line in before if "keeper" in line]
    assert server.wait_page()[1] == 200


@pytest.mark.parametrize("kernel", [OLD_KERNEL, STOCK_KERNEL], ids=["old", "stock"])
def test_poor_kernels(new_phone: NewPhone, archive: Path, kernel: Kernel) -> None:
    server = Server(new_phone("magisk", kernel=kernel))
    server.install(archive)
    server.create("box", "--autostart")
    server.restart()
    server.becomes("box", "running")
    assert server.nspawn("exec box cat /started").out == "up\n"
    warnings = " ".join(server.state("box")["warnings"])
    assert ("pid" in warnings, "ipc" in warnings) == (kernel is STOCK_KERNEL,) * 2, warnings
    shown = {each["name"]: each["have"] for each in server.json("doctor --json")["namespaces"]}
    assert (shown["pid"], shown["ipc"]) == (kernel is not STOCK_KERNEL,) * 2, shown
    server.nspawn("stop box --time 1")
    assert server.state("box")["state"] == "stopped"


def test_disable_while_running_stops_in_order(server: Server) -> None:
    phone = server.phone
    server.nspawn("create box --image builtin --autostart --command 'sh /patient'")
    patient = "trap 'echo bye >/bye; exit' TERM\necho up >/started\nwhile :; do sleep 0.1; done\n"
    server.file("containers/box/rootfs/patient").write_text(patient)
    server.nspawn("start box")
    assert processes.wait_until(server.file("containers/box/rootfs/started").exists, 5)
    phone.sh(f"touch {MODULE}/disable")
    assert processes.wait_until(lambda: not ours(server), 15, 0.1), ours(server)
    assert phone.path(f"{STATE}/containers/box/rootfs/bye").read_text() == "bye\n"
    assert "containers" not in phone.sh("cat /proc/mounts").out

    phone.reboot()
    phone.wait_boot_completed()
    assert not ours(server)
    phone.sh(f"rm {MODULE}/disable")
    server.restart()
    server.becomes("box", "running")


@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_with_containers_and_live_binds(new_phone: NewPhone, archive: Path, purge: bool) -> None:
    phone = new_phone("ksu")
    server = Server(phone)
    server.install(archive)
    phone.sh(f"echo photo >{BIND}/photo")
    server.create("box", f"--bind {BIND}:/mnt/download --start")
    assert server.nspawn("exec box cat /mnt/download/photo").out == "photo\n"
    if purge:
        server.nspawn("uninstall --purge --yes")
    else:
        phone.sh(f"touch {MODULE}/remove")
    assert processes.wait_until(lambda: not ours(server), 15, 0.1), ours(server)
    phone.reboot()
    phone.wait_boot_completed()
    assert not phone.path(MODULE).exists()
    assert phone.sh("ls -A /data/adb/ksu/bin | grep -E 'nspawn|getroot'", must=False).out == ""
    assert phone.path(f"{BIND}/photo").read_text() == "photo\n"
    if purge:
        assert processes.wait_until(lambda: not list(phone.path("/data/adb").glob("nspawn*")), 10)
    else:
        assert phone.path(f"{STATE}/containers/box/rootfs/started").read_text() == "up\n"
        assert phone.path(f"{STATE}/containers/box/container.toml").exists()


def test_three_power_cuts_end_in_safe_mode(server: Server) -> None:
    phone = server.phone
    server.create("box", "--autostart")
    server.settle()
    phone.sh("sync")
    for _ in range(3):
        phone.power_cut()
        phone.boot()
        server.wait_page()
    phone.power_cut()
    server.boot()
    status = guard(server)
    assert status["blocked"]
    assert status["safe_mode"] or status["trip"]
    assert server.state("box")["state"] == "stopped"
    assert "box" in server.nspawn("list").out

    server.nspawn("guard try-again")
    server.becomes("box", "running")
    assert not guard(server)["blocked"]


def test_quick_reboots_are_no_crashes(server: Server) -> None:
    server.create("box", "--autostart")
    for _boot in range(4):
        server.restart()
        server.becomes("box", "running")
    status = guard(server)
    assert (status["blocked"], status["failed_boots"], status["trip"]) == (False, 0, None)


@pytest.mark.parametrize("seconds", [0.1, 0.4])
def test_power_cut_in_the_middle(server: Server, seconds: float) -> None:
    """Of a creation and of a start: what is there afterwards is whole."""
    phone = server.phone
    server.create("kept", "--autostart")
    server.settle()
    phone.sh(
        "sync; setsid sh -c 'nspawn create half --image builtin --start; nspawn start kept'"
        " </dev/null >/dev/null 2>&1 &"
    )
    time.sleep(seconds)
    phone.power_cut()
    server.boot()
    names = [each["name"] for each in server.json("list --json")]
    assert "kept" in names
    for name in names:
        assert not server.json(f"info {name} --json")["damaged"]
    assert phone.sh(f"ls {STATE}/containers").out.split() == sorted(names)
    if guard(server)["blocked"]:
        server.nspawn("guard try-again")
    server.nspawn("start kept", must=False)
    server.becomes("kept", "running")
    assert server.nspawn("exec kept cat /started").out == "up\n"


def test_storage_comes_when_unlocked(new_phone: NewPhone, archive: Path) -> None:
    phone = new_phone("magisk", locked=True)
    server = Server(phone)
    server.install(archive)
    server.create("box", "--autostart --set storage=/sdcard")
    server.create("later", "--autostart --set autostart.when=storage")
    server.restart()
    server.becomes("box", "running")
    assert server.nspawn("exec box ls /sdcard", must=False).out == ""
    assert server.state("later")["state"] == "stopped"
    assert "unlocked" in server.state("later")["waits"]
    phone.unlock()
    shown = ["Android", "Download"]
    assert processes.wait_until(
        lambda: server.nspawn("exec box ls /sdcard", must=False).lines == shown, 10, 0.2
    ), phone.logs()
    server.becomes("later", "running")


def test_wake_lock_while_it_runs(server: Server) -> None:
    server.create("box", "--set wake_lock=true --start")
    held = server.phone.wake_locks()
    assert "nspawn" in held
    assert server.phone.wake_unlocked() == ""
    server.nspawn("stop box --time 1")
    assert server.phone.wake_unlocked() == held


def test_hot_battery_pauses(server: Server) -> None:
    server.file("config.toml").write_text("[power]\nfreeze_above = 45.0\nthaw_below = 42.0\n")
    server.create("box", "--autostart --set pausable=true")
    server.create("other", "--autostart")
    server.restart()
    server.becomes("box", "running")
    server.phone.power_supply("battery", temp="470")
    assert processes.wait_until(lambda: server.state("box")["frozen"], 10, 0.2), server.phone.logs()
    assert not server.state("other")["frozen"]
    server.phone.power_supply("battery", temp="430")
    assert server.state("box")["frozen"], "between the two it stays as it is"
    server.phone.power_supply("battery", temp="410")
    assert processes.wait_until(lambda: not server.state("box")["frozen"], 10, 0.2), server.phone.logs()
    assert server.nspawn("exec box echo awake").out == "awake\n"
