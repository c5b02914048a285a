"""uninstall.sh: what goes, what stays, and that nothing is deleted through a mount."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.scripted import BIN, SHELLS, STATE, Rooted, installed

pytestmark = pytest.mark.usefixtures("clean_module")

UNINSTALL = "/data/adb/modules/nspawn/uninstall.sh"


@pytest.fixture
def phone(tmp_path: Path, small_zip: Path) -> Iterator[Rooted]:
    """With the module installed by KernelSU, a container, and photos elsewhere."""
    with installed(tmp_path / "root", small_zip, "ksu") as found:
        found.path(f"{STATE}/containers/web/rootfs/photos").mkdir(parents=True)
        found.path(f"{STATE}/containers/web/rootfs/file").write_text("data\n")
        found.path("data/media/0").mkdir(parents=True)
        found.path("data/media/0/photo").write_text("of a person\n")
        yield found


def confirm(phone: Rooted) -> None:
    phone.path(f"{STATE}/purge-confirmed").write_text("version=1\n")


def remains(phone: Rooted) -> list[str]:
    return sorted(name for name in os.listdir(phone.path("data/adb")) if name.startswith("nspawn"))


@pytest.mark.parametrize("shell", SHELLS)
def test_containers_stay(phone: Rooted, shell: str) -> None:
    begin = time.monotonic()
    done = phone(UNINSTALL, shell=shell)
    assert time.monotonic() - begin < 0.5
    assert (done.status, done.out, done.err) == (0, "", "")
    assert os.listdir(phone.path(BIN["ksu"])) == []
    assert phone.path(f"{STATE}/containers/web/rootfs/file").read_text() == "data\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_confirmed_deletion(phone: Rooted, shell: str) -> None:
    confirm(phone)
    done = phone(UNINSTALL, shell=shell)
    assert (done.status, done.out) == (0, "")
    assert not phone.exists(STATE)  # at once, under its name
    assert processes.wait_until(lambda: not remains(phone), 5), remains(phone)
    assert phone.path("data/media/0/photo").read_text() == "of a person\n"


def test_the_boot_does_not_wait_for_a_large_deletion(phone: Rooted) -> None:
    many = phone.path(f"{STATE}/containers/web/rootfs/many")
    for folder in range(40):
        (many / str(folder)).mkdir(parents=True)
        for number in range(500):
            (many / str(folder) / str(number)).touch()
    confirm(phone)
    begin = time.monotonic()
    phone(UNINSTALL)
    assert time.monotonic() - begin < 0.3
    assert processes.wait_until(lambda: not remains(phone), 20)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", ["containers/web/rootfs/photos", ""])
def test_nothing_is_deleted_through_a_mount(phone: Rooted, shell: str, place: str) -> None:
    confirm(phone)
    target = f"/{STATE}/{place}".rstrip("/")
    if place:
        bound = phone(f"mount --bind /data/media/0 {target}")
    else:
        bound = phone(f"cp -a {target} /data/elsewhere && mount --bind /data/elsewhere {target}")
    assert bound.status == 0, str(bound)
    done = phone(UNINSTALL, shell=shell)
    assert done.status == 0
    assert done.lines == ["nspawn: /data/adb/nspawn is not deleted: something is mounted in it"]
    time.sleep(0.3)
    assert phone.path("data/media/0/photo").read_text() == "of a person\n"
    assert phone.path(f"{STATE}/containers/web/rootfs/file").read_text() == "data\n"
    assert remains(phone) == ["nspawn"]


def test_a_mount_of_a_similar_name_is_not_in_it(phone: Rooted) -> None:
    confirm(phone)
    assert phone("mkdir /data/adb/nspawn2 && mount -t tmpfs tmpfs /data/adb/nspawn2").status == 0
    assert phone(UNINSTALL).out == ""
    assert processes.wait_until(lambda: remains(phone) == ["nspawn2"], 5)


def test_a_link_in_its_place_is_left_alone(phone: Rooted) -> None:
    confirm(phone)
    assert phone(f"mv /{STATE} /data/elsewhere && ln -s /data/elsewhere /{STATE}").status == 0
    phone(UNINSTALL)
    time.sleep(0.3)
    assert phone.path("data/elsewhere/containers/web/rootfs/file").exists()


def test_links_inside_lead_nowhere(phone: Rooted) -> None:
    phone.path(f"{STATE}/containers/web/rootfs/sdcard").symlink_to("/data/media/0")
    confirm(phone)
    phone(UNINSTALL)
    assert processes.wait_until(lambda: not remains(phone), 5)
    assert phone.path("data/media/0/photo").exists()


@pytest.mark.parametrize("purge", [False, True])
def test_what_runs_is_ended_in_order_first(phone: Rooted, purge: bool) -> None:
    phone("/data/adb/modules/nspawn/service.sh")
    log = phone.path(f"{STATE}/run/service.log")
    assert processes.wait_until(lambda: phone("grep control.sock /proc/net/unix").status == 0, 10), (
        log.read_text()
    )
    if purge:
        confirm(phone)
    done = phone(UNINSTALL)
    assert done.status == 0, str(done)
    assert phone.keepers() == []
    if purge:
        assert processes.wait_until(lambda: not remains(phone), 5)
    else:
        assert phone.path(f"{STATE}/containers/web/rootfs/file").exists()


@pytest.mark.slow
def test_a_service_that_does_not_end_keeps_its_containers(phone: Rooted) -> None:
    """FAKE: a listener in the spawner's place, which answers nothing."""
    confirm(phone)
    phone.path(f"{STATE}/run").mkdir()
    code = "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
    code += f" s.bind('/{STATE}/run/control.sock'); s.listen(); time.sleep(100)"
    assert phone(f'python3 -c "{code}" </dev/null >/dev/null 2>&1 &').status == 0
    assert processes.wait_until(lambda: phone("grep control.sock /proc/net/unix").status == 0, 10)
    done = phone(UNINSTALL, timeout=60)
    assert "containers still run: /data/adb/nspawn is left as it is" in done.out
    assert phone.path(f"{STATE}/containers/web/rootfs/file").exists()
