"""The emulated phone itself: it boots, loses power and answers as the facts say."""

from __future__ import annotations

import ctypes
import mmap
import platform
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.module.conftest import NewPhone
from tests.support import processes
from tests.support.phone import stub
from tests.support.phone.phone import STOCK_KERNEL, Phone
from tests.support.phone.shells import SHELLS

pytestmark = [pytest.mark.phone, pytest.mark.root]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return stub.write(tmp_path / "stub.zip")


def told(phone: Phone, script: str) -> dict[str, str]:
    """What a script of the stub has told, once it has."""
    path = phone.path(f"{stub.TOLD}/{script}")
    assert processes.wait_until(lambda: path.exists() and "PWD=" in path.read_text(), 5), phone.logs()
    words = [line.replace("=", " ", 1).partition(" ") for line in path.read_text().splitlines()]
    return {key.rstrip(":\t"): value.strip() for key, _, value in words}


def test_boot(new_phone: NewPhone, manager: str) -> None:
    phone = new_phone(manager)
    phone.boot()
    phone.wait_boot_completed()
    assert phone.getprop("ro.product.cpu.abi") == "x86_64"
    assert phone.sh("getprop sys.boot_completed; getprop nothing fallback").lines == ["1", "fallback"]
    mounts = {line.split()[1]: line.split() for line in phone.sh("cat /proc/mounts").lines}
    assert mounts["/"][3].startswith("ro,")
    assert {"nosuid", "nodev"} <= set(mounts["/data"][3].split(","))
    assert "hidepid=invisible" in mounts["/proc"][3]
    assert mounts["/dev/cpuctl"][2] == "cgroup"
    assert phone.sh("ls / | grep -E '^(usr|lib|run|tmp|home|root)$'", must=False).out == ""
    assert "unreachable" in phone.sh("ip rule").out
    assert "tetherctrl_FORWARD" in phone.sh("iptables -S FORWARD").out
    assert phone.sh("ps -A -o STAT | grep -c Z", must=False).out.strip() == "0"


def test_flash_and_stages(new_phone: NewPhone, manager: str, module: Path) -> None:
    phone = new_phone(manager)
    phone.boot()
    phone.wait_boot_completed()
    result = phone.flash(module)
    assert "hello" in result.out
    customize = told(phone, "customize")
    assert customize["umask"] == "0000"
    assert customize["MODPATH"] == "/data/adb/modules_update/stub ARCH x64 API 33"
    assert customize.get("KSU") == ("true" if manager == "ksu" else None)
    assert customize.get("APATCH") == ("true" if manager == "apatch" else None)
    assert phone.sh("ls /data/adb/modules/stub").lines == ["module.prop", "update"]

    phone.hold = True
    phone.reboot()
    phone.wait_event("service")
    service = told(phone, "service")
    assert service["umask"] == "0000"
    assert service["completed"] == ""
    phone.complete_boot()
    phone.hold = False
    assert service["stdin"] == ("/dev/zero" if manager == "magisk" else "/dev/null")
    assert service["ASH_STANDALONE"] == "1"
    assert service["cwd"] == ("/data/adb/modules/stub" if manager == "ksu" else "/")
    assert int(service["SigIgn"], 16) & 0b110 == 0, "SIGINT and SIGQUIT are not ignored"
    if manager != "magisk":
        assert told(phone, "boot-completed")["completed"] == "1"
    # Only Magisk shows system/ in PATH by itself.
    assert phone.sh("stub", must=False).out == ("stub\n" if manager == "magisk" else "")

    phone.sh("touch /data/adb/modules/stub/disable; rm /data/local/tmp/service")
    phone.reboot()
    phone.wait_boot_completed()
    assert not phone.path(f"{stub.TOLD}/service").exists()
    assert phone.sh("stub", must=False).status

    phone.sh("touch /data/adb/modules/stub/remove")
    phone.reboot()
    phone.wait_boot_completed()
    assert told(phone, "uninstall")["completed"] == "", "before zygote"
    assert phone.sh("ls /data/adb/modules").out == ""


def test_update_keeps_the_old_until_the_reboot(new_phone: NewPhone, tmp_path: Path) -> None:
    phone = new_phone("ksu")
    phone.boot()
    phone.wait_boot_completed()
    phone.flash(stub.write(tmp_path / "one.zip", {"one": "1"}))
    phone.reboot()
    phone.wait_boot_completed()
    phone.flash(stub.write(tmp_path / "two.zip", {"two": "2"}))
    assert phone.path("/data/adb/modules/stub/one").exists()
    phone.reboot()
    phone.wait_boot_completed()
    assert phone.sh("cd /data/adb/modules/stub; ls one two", must=False).out == "two\n"


def test_abort_leaves_nothing(new_phone: NewPhone, tmp_path: Path) -> None:
    phone = new_phone("magisk")
    phone.boot()
    phone.wait_boot_completed()
    result = phone.flash(stub.write(tmp_path / "no.zip", {"customize.sh": "abort 'not here'\n"}), must=False)
    assert (result.status, result.lines[-1]) == (1, "not here")
    assert phone.sh(
        "ls /data/adb/modules /data/adb/modules_update /dev/fake.install", must=False
    ).out.split() == [
        "/data/adb/modules:",
        "/data/adb/modules_update:",
    ]


def test_power_cut_loses_what_was_not_synced(new_phone: NewPhone) -> None:
    phone = new_phone()
    phone.boot()
    phone.wait_boot_completed()
    first = phone.sh("cat /proc/sys/kernel/random/boot_id").out
    phone.sh(
        "cd /data/local/tmp; echo kept >kept; sync; echo lost >lost; echo half >kept.new; mv kept.new moved"
    )
    phone.power_cut()
    phone.boot()
    phone.wait_boot_completed()
    assert phone.sh("cat /data/local/tmp/*", must=False).out == "kept\n"
    assert phone.sh("cat /proc/sys/kernel/random/boot_id").out != first


def test_everything_ends_with_the_power(new_phone: NewPhone) -> None:
    phone = new_phone()
    phone.boot()
    phone.wait_boot_completed()
    phone.sh("busybox setsid sleep 1000 </dev/null >/dev/null 2>&1 & exit", must=False)
    phone.sh("mkdir /sys/fs/cgroup/mine /dev/cpuset/mine; busybox sleep 1001 </dev/null >/dev/null 2>&1 &")
    pids = phone.processes()
    assert len(pids) >= 3
    phone.power_off()
    assert not [pid for pid in pids if processes.alive(pid)]


def test_reboots_in_quick_succession(new_phone: NewPhone) -> None:
    """The earliest that a person can: init has begun, and the boot is in the middle of something."""
    phone = new_phone()
    phone.boot()
    for _round in range(5):
        phone.reboot()
    phone.wait_boot_completed()


def test_boot_on_hold(new_phone: NewPhone, module: Path) -> None:
    phone = new_phone("apatch", hold=True, locked=True)
    phone.boot()
    phone.wait_event("service")
    assert phone.getprop("sys.boot_completed") == ""
    phone.complete_boot()
    assert phone.getprop("sys.boot_completed") == "1"


def test_storage_opens_when_unlocked(new_phone: NewPhone) -> None:
    phone = new_phone(locked=True)
    phone.boot()
    phone.wait_boot_completed()
    assert phone.getprop("sys.user.0.ce_available") == ""
    assert phone.sh("ls /data/media/0").out.startswith("+")
    assert phone.sh("ls /sdcard/", must=False).status
    phone.unlock()
    assert phone.sh("ls /data/media/0; echo text >/sdcard/Download/note").lines == ["Android", "Download"]
    phone.reboot()
    phone.wait_boot_completed()
    assert phone.sh("cat /data/media/0/Download/note", must=False).status
    phone.unlock()
    assert phone.sh("cat /sdcard/Download/note").out == "text\n"


@pytest.mark.parametrize("inside", [True, False])
def test_property_change_wakes_a_futex(new_phone: NewPhone, inside: bool) -> None:
    phone = new_phone()
    phone.boot()
    phone.wait_boot_completed()
    number = {"x86_64": 202, "aarch64": 98}[platform.machine()]
    with open(phone.path("/dev/__properties__/properties_serial"), "r+b") as file:
        area = mmap.mmap(file.fileno(), 128)
    serial = ctypes.c_uint32.from_buffer(area, 4)
    before = serial.value
    woken: list[int] = []
    waiter = threading.Thread(
        target=lambda: woken.append(
            ctypes.CDLL(None).syscall(number, ctypes.byref(serial), 0, before, None, None, 0)
        )
    )
    waiter.start()
    time.sleep(0.1)
    if inside:
        phone.sh("setprop test.word something")
    else:
        phone.setprop("test.word", "something")
    waiter.join(5)
    assert woken == [0]
    assert serial.value > before
    assert phone.getprop("test.word") == "something"
    assert phone.sh("getprop test.word").out == "something\n"


def test_uevent_is_heard_in_the_phone_only(new_phone: NewPhone) -> None:
    phone = new_phone()
    phone.boot()
    phone.wait_boot_completed()
    listen = (
        "import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15); s.bind((0, 1));"
        "print('ready', flush=True); print(s.recv(4096).decode().split('\\0'))"
    )
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as outside,
        subprocess.Popen(
            ["nsenter", "-t", str(phone.pid), "-n", sys.executable, "-c", listen],
            stdout=subprocess.PIPE,
            text=True,
        ) as listener,
    ):
        outside.bind((0, 1))
        outside.setblocking(False)
        assert listener.stdout
        listener.stdout.readline()
        phone.power_supply("battery", capacity="12", status="Charging")
        heard = listener.stdout.readline()
        with pytest.raises(BlockingIOError):
            outside.recv(4096)
    assert "'ACTION=change'" in heard
    assert "'POWER_SUPPLY_CAPACITY=12'" in heard
    assert phone.sh("cat /sys/class/power_supply/battery/capacity").out == "12\n"
    assert "level: 12" in phone.sh("dumpsys battery").out


@pytest.mark.parametrize("shell", SHELLS)
def test_shells(new_phone: NewPhone, shell: str) -> None:
    phone = new_phone("ksu")
    phone.boot()
    phone.wait_boot_completed()
    result = phone.sh(
        "id -u; readlink /proc/self/ns/mnt; readlink /proc/1/ns/mnt; echo '$HOME' \"$PATH\"", shell
    )
    user, mine, init, words = result.lines
    assert user == "0"
    assert (mine == init) == (shell == "adb su")
    assert words.startswith("$HOME ")
    assert "/system/bin" in words
    # What init mounts later is seen in an app's namespace, and not the other way round.
    phone.sh("mount -t tmpfs hidden /mnt", shell)
    assert ("hidden" in phone.sh("cat /proc/mounts").out) == (shell == "adb su")


def test_poor_kernel(new_phone: NewPhone, tmp_path: Path) -> None:
    script = "busybox unshare -p true; echo $? >/data/local/tmp/unshared\n"
    phone = new_phone("magisk", kernel=STOCK_KERNEL)
    phone.boot()
    phone.wait_boot_completed()
    phone.flash(stub.write(tmp_path / "poor.zip", {"service.sh": script}))
    phone.reboot()
    phone.wait_boot_completed()
    told_by = phone.path("/data/local/tmp/unshared")
    assert processes.wait_until(lambda: told_by.exists() and told_by.read_text(), 5)
    assert told_by.read_text() == "1\n"
    assert "Invalid argument" in phone.sh("/system/fake/busybox unshare -p true", must=False).err
    assert phone.sh("/system/fake/busybox unshare -m true").status == 0


def test_soft_reboot_runs_services_again(new_phone: NewPhone, module: Path) -> None:
    phone = new_phone("ksu")
    phone.boot()
    phone.wait_boot_completed()
    phone.flash(module)
    phone.reboot()
    phone.wait_boot_completed()
    told(phone, "service")
    phone.sh("rm /data/local/tmp/service")
    pid = phone.pid
    phone.soft_reboot()
    assert told(phone, "service")["ASH_STANDALONE"] == "1"
    assert phone.pid == pid
