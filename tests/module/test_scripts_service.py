"""service.sh: how the service stands after it, whatever the manager gave it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.scripted import BIN, MODULE, SHELLS, STATE, Rooted, installed

pytestmark = pytest.mark.usefixtures("clean_module")

SERVICE = "/data/adb/modules/nspawn/service.sh"
SOCKET = f"{STATE}/run/control.sock"


@pytest.fixture
def phone(tmp_path: Path, small_zip: Path) -> Iterator[Rooted]:
    """With the module installed by KernelSU."""
    with installed(tmp_path / "root", small_zip, "ksu") as found:
        yield found


def listening(phone: Rooted) -> bool:
    return f" /{SOCKET}\n" in phone("cat /proc/net/unix").out


def started(phone: Rooted) -> int:
    """The one service, once it answers."""
    assert processes.wait_until(lambda: listening(phone), 10), phone.path(
        f"{STATE}/run/service.log"
    ).read_text()
    (keeper,) = phone.keepers()
    return keeper


def environment(pid: int) -> dict[str, str]:
    words = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    return dict(word.decode().split("=", 1) for word in words if word)


def test_it_waits_for_nothing(phone: Rooted) -> None:
    begin = time.monotonic()
    done = phone(SERVICE)
    took = time.monotonic() - begin
    assert (done.status, done.out, done.err) == (0, "", "")
    assert took < 1
    started(phone)
    assert phone("/data/adb/ksu/bin/nspawn list").status == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_of_the_managers_is_inherited(phone: Rooted, shell: str) -> None:
    spoilt = {
        "KSU": "true",
        "ASH_STANDALONE": "1",
        "LD_PRELOAD": "/absent.so",
        "LD_LIBRARY_PATH": "/absent",
        "PYTHONPATH": "/absent",
        "TOKEN": "secret",
        "ANDROID_ROOT": "/system",
        "ANDROID_ART_ROOT": "/apex/com.android.art",
        "BOOTCLASSPATH": "/absent.jar",
        "ANDROID_DATA": "",
    }
    done = phone(f"umask 0; exec {shell} {SERVICE} </dev/zero", environment=spoilt, shell=shell)
    assert done.status == 0, str(done)
    keeper = started(phone)
    module = f"/{MODULE}"
    found = environment(keeper)
    assert found.pop("PATH").split(":")[4] == "/system/bin"
    assert found == {
        "LANG": "C.UTF-8",
        "HOME": "/data/adb/nspawn",
        "TMPDIR": "/data/adb/nspawn/run/tmp",
        "TZ": "Europe/Berlin",
        "TZDIR": f"{module}/share/zoneinfo",
        "SSL_CERT_FILE": f"{module}/python/lib/python3.13/site-packages/certifi/cacert.pem",
        "ANDROID_ROOT": "/system",
        "ANDROID_DATA": "/data",
        "ANDROID_ART_ROOT": "/apex/com.android.art",
        "NSPAWN_MODULE": module,
    }
    facts = processes.status(keeper)
    assert facts["Umask"] == "0077"
    assert int(facts["SigIgn"], 16) & 0b110 == 0  # SIGINT and SIGQUIT, which a shell's "&" has ignored
    assert facts["NSsid"].split()[-1] == facts["NSpid"].split()[-1]
    assert facts["NSpgid"].split()[-1] == facts["NSpid"].split()[-1]
    inside = facts["NSpid"].split()[-1]
    log = f"/{STATE}/run/service.log"
    streams = phone(f"cd /proc/{inside}/fd; for n in 0 1 2; do readlink $n; done")
    assert streams.lines == ["/dev/null", log, log]
    may = phone("echo -900 >/proc/self/oom_score_adj").status == 0  # some machines let no one
    assert (Path("/proc") / str(keeper) / "oom_score_adj").read_text() == ("-900\n" if may else "0\n")
    assert phone(f"readlink /proc/{inside}/cwd").out == "/\n"
    modes = {each: oct(phone.path(each).stat().st_mode & 0o777) for each in (STATE, f"{STATE}/run")}
    assert set(modes.values()) == {"0o700"}
    assert not [
        path
        for path in phone.path(STATE).rglob("*")
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]
    assert "secret" not in phone.path(f"{STATE}/run/service.log").read_text()


def test_a_second_run_leaves_the_first_service_alone(phone: Rooted) -> None:
    phone(SERVICE)
    keeper = started(phone)
    for _ in range(3):
        assert phone(SERVICE).status == 0
    assert processes.wait_until(lambda: "serve" not in phone("ps -o args").out.split(), 10)
    assert processes.wait_until(lambda: phone.keepers() == [keeper], 5)
    assert phone("/data/adb/ksu/bin/nspawn list").status == 0


@pytest.mark.parametrize("mark", ["disable", "remove"])
def test_a_module_that_is_off_starts_nothing(phone: Rooted, mark: str) -> None:
    phone.path(f"{MODULE}/{mark}").touch()
    assert phone(SERVICE).status == 0
    time.sleep(0.5)
    assert phone.keepers() == []
    assert not phone.exists(STATE)


def test_it_leaves_the_group_of_the_app_that_ran_it(phone: Rooted) -> None:
    """FAKE: files in the place of control groups; a 0 stands for the process that writes."""
    groups = ("dev/memcg", "dev/cpuset", "acct")
    assert phone("mkdir -p /acct && mount -t tmpfs tmpfs /dev && mkdir /dev/memcg /dev/cpuset").status == 0
    assert phone("mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9").status == 0
    for each in groups:
        phone.path(f"{each}/cgroup.procs").touch()
    assert phone(SERVICE).status == 0
    started(phone)
    assert {phone.path(f"{each}/cgroup.procs").read_text() for each in groups} == {"0\n"}


def test_the_log_is_kept_small(phone: Rooted) -> None:
    log = phone.path(f"{STATE}/run/service.log")
    log.parent.mkdir(parents=True)
    log.write_text("old\n" * 100_000 + "last\n")
    phone(SERVICE)
    started(phone)
    assert log.stat().st_size < 10_000
    kept = Path(f"{log}.1").read_text()
    assert kept.endswith("old\nlast\n")
    assert len(kept) == 65536


@pytest.mark.parametrize("shell", SHELLS)
def test_without_its_log_the_service_starts_all_the_same(phone: Rooted, shell: str) -> None:
    phone.path(f"{STATE}/run/service.log").mkdir(parents=True)
    done = phone(SERVICE, shell=shell)
    assert (done.status, done.err) == (0, "")
    assert processes.wait_until(lambda: listening(phone), 10)


def test_a_full_disk_costs_the_log_and_not_the_service(phone: Rooted) -> None:
    assert phone("dd if=/dev/zero of=/data/fill bs=1M").status != 0
    assert phone(SERVICE).status == 0
    started(phone)
    assert phone("/data/adb/ksu/bin/nspawn list").status == 0


@pytest.mark.parametrize("manager", ["ksu", "apatch"])
def test_the_links_are_made_again(phone: Rooted, manager: str) -> None:
    """Another manager than the one that installed it, or one that emptied its folder."""
    folder = phone.path(BIN[manager])
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    (folder / "nspawn").symlink_to("/data/adb/modules/nspawn/system/bin/nspawn")  # of an older version
    (folder / "getroot").write_text("somebody's\n")
    phone(SERVICE)
    started(phone)
    assert os.readlink(folder / "nspawn") == "/data/adb/modules/nspawn/bin/nspawn"
    assert os.readlink(folder / "nspawn-mini") == "/data/adb/modules/nspawn/bin/nspawn-mini"
    assert (folder / "getroot").read_text() == "somebody's\n"
    log = phone.path(f"{STATE}/run/service.log").read_text()
    assert f"/{BIN[manager]}/getroot is not nspawn's: it is left alone" in log


def test_a_confirmed_deletion_that_no_uninstallation_followed_is_forgotten(phone: Rooted) -> None:
    phone.path(STATE).mkdir()
    phone.path(f"{STATE}/purge-confirmed").touch()
    phone(SERVICE)
    started(phone)
    assert not phone.exists(f"{STATE}/purge-confirmed")


def test_a_deletion_that_was_cut_short_goes_on(phone: Rooted) -> None:
    left = phone.path(f"{STATE}.deleted.17/containers/web")
    left.mkdir(parents=True)
    (left / "file").touch()
    phone(SERVICE)
    started(phone)
    assert processes.wait_until(lambda: not phone.exists(f"{STATE}.deleted.17"), 5)


def test_a_module_without_its_python_says_so(phone: Rooted) -> None:
    phone.path(f"{MODULE}/python/bin/python3.13").unlink()
    (phone.root / "usr2").mkdir()
    hide = "mount -t tmpfs tmpfs /usr2 && cp /bin/busybox /usr2 && mount --bind /dev/null /usr/bin/python3"
    assert phone(hide).status == 0
    assert phone(SERVICE).status == 0
    log = phone.path(f"{STATE}/run/service.log")
    assert processes.wait_until(lambda: log.exists() and "its Python is missing" in log.read_text(), 5)
