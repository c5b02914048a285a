"""The release zip on an arm64 phone: Linux 6.1, Magisk, SELinux enforcing. The tests are one story."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.phone import vm
from tests.support.phone.vm_build import assemble
from tests.support.phone.vm_module import MODULE, STATE, WITNESS, Module, release

pytestmark = [pytest.mark.phone, pytest.mark.root, pytest.mark.slow, pytest.mark.usefixtures("in_order")]

NEWER = "9.9.9"


@pytest.fixture(scope="module")
def module(clean_module: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The phone after the zip was flashed, and rebooted."""
    place = tmp_path_factory.mktemp("vm")
    zips = {"now.zip": release(), "newer.zip": release(NEWER)}
    hardware = assemble(place, "6.1", "magisk", files=zips, selinux=True)
    with vm.powered(vm.Phone(hardware, place / "console")) as phone:
        found = Module(phone=phone)
        found.booted()
        said = found.flash("now.zip")
        assert "Linux 6.1." in said
        assert "Reboot." in said
        found.reboot()
        yield found


def test_the_page_answers(module: Module) -> None:
    status, body = module.phone.get("/")
    assert (status, body[:15].lower()) == (200, b"<!doctype html>")
    assert module.phone.get("/api/v1/containers")[0] == 401
    assert module.api("containers", module.must("token").strip()) == {"containers": []}


def test_its_commands_are_found_in_path(module: Module) -> None:
    answer = module.phone.check("nspawn --version; nspawn-mini --version; ls -l $(which nspawn)")
    assert "nspawn" in answer
    assert "/system/bin/nspawn" in answer


def test_a_container_is_made_and_runs(module: Module) -> None:
    module.must("create", "box", "--image", "builtin", "--autostart", "--command", WITNESS)
    module.must("start", "box")
    module.wait_started("box")
    pid = module.containers()["box"]["state"]["pid"]
    for kind in ("mnt", "pid", "ipc", "uts", "cgroup"):
        ours, theirs = module.phone.check(f"readlink /proc/{pid}/ns/{kind} /proc/1/ns/{kind}").split()
        assert ours != theirs, kind
    assert module.must("exec", "box", "--", "/bin/sh", "-c", "echo $$; ls /").split()[1:] != []


def test_selinux_is_enforced(module: Module) -> None:
    assert module.phone.check("cat /sys/fs/selinux/enforce") == "1"
    box = module.containers()["box"]["state"]["pid"]
    script = f"cat /proc/{box}/attr/current; cat /proc/$(pidof -s python3.13)/attr/current"
    assert module.phone.check(script).replace("\0", "") == "u:r:magisk:s0" * 2
    as_shell = f"print -n u:r:shell:s0 >/proc/self/attr/current; exec /system/bin/ls {STATE}"
    refused = module.phone.sh(as_shell)
    assert refused.status != 0
    assert "Permission denied" in refused.out
    denials = module.phone.check("dmesg | grep 'avc: *denied'").splitlines()
    assert [line for line in denials if "scontext=u:r:shell:" not in line] == []


def test_it_comes_back_with_the_machine(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    token = module.must("token").strip()
    before = module.checksums("box")
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
    module.booted()
    assert module.checksums("box") == before


def test_the_power_goes_in_the_middle_of_a_create(module: Module) -> None:
    before = module.checksums("box")
    # An archive that stops in the middle: half of it is unpacked, and on the disk.
    module.phone.check(
        "cd /data/local/tmp && mkdir half && head -c 3000000 /dev/urandom >half/big && tar -cf half.tar half"
        " && mkfifo slow && (nspawn create late --tar - <slow >late.log 2>&1 &) && exec 9>slow"
        " && head -c 2000000 half.tar >&9"
        f" && until [ -s {STATE}/containers/.creating-late/rootfs/half/big ]; do sleep 0.1; done && sync"
        " && (sleep 1000 &)"
    )
    module.phone.cut()
    module.phone.power_on()
    module.wait_started("box")
    module.booted()
    assert list(module.containers()) == ["box"]
    assert module.checksums("box") == before
    module.must("create", "late", "--image", "builtin")
    assert sorted(module.phone.check(f"ls -A {STATE}/containers").split()) == ["box", "late"]
    module.must("rm", "late")
    # A boot is a good one after a minute, which none of these lasts: three of them would be the safe mode.
    module.must("guard", "try-again")


def test_an_update_over_what_runs(module: Module) -> None:
    token = module.must("token")
    box = module.containers()["box"]["state"]["pid"]
    files = module.checksums("box")
    module.flash("newer.zip")
    assert module.containers()["box"]["state"]["pid"] == box
    assert module.phone.get("/")[0] == 200
    module.reboot()
    assert f"version={NEWER}\n" in module.phone.check(f"cat {MODULE}/module.prop")
    assert NEWER in module.must("--version")
    module.wait_started("box")
    assert module.must("token") == token
    assert module.checksums("box") == files
    assert module.phone.get("/")[0] == 200
