"""customize.sh as the managers' installers run it: what it refuses, and what it makes of the zip."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import REPOSITORY
from tests.support.scripted import BIN, MANAGERS, MODULE, SHELLS, STATE, UPDATE, Rooted, release, rooted

pytestmark = pytest.mark.usefixtures("clean_module")

COMMANDS = ("nspawn", "nspawn-mini", "getroot")


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Rooted]:
    with rooted(tmp_path / "root") as found:
        yield found


def tree(top: Path) -> dict[str, tuple[str, int, bytes]]:
    """Each entry's kind, mode and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = os.readlink(path).encode() if path.is_symlink() else b""
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
        found[str(path.relative_to(top))] = (stat.filemode(status.st_mode), status.st_uid, content)
    return found


def assert_nothing_left(phone: Rooted, manager: str) -> None:
    assert not phone.exists(UPDATE)
    assert not phone.exists(STATE)
    assert not phone.exists("data/tmp")
    assert not [name for name in COMMANDS if phone.exists(f"{BIN[manager]}/{name}")]


# ---- refusals


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"BOOTMODE": "false"}, "nspawn cannot be installed from a recovery."),
        ({"ARCH": "arm64"}, "This zip is for x86_64, but this phone is arm64."),
        ({"ARCH": "arm"}, "This phone (arm) is not supported."),
        ({"ARCH": "riscv64"}, "This phone (riscv64) is not supported."),
    ],
)
def test_what_the_installer_says_is_refused(
    phone: Rooted, small_zip: Path, manager: str, variables: dict[str, str], sentence: str
) -> None:
    done = phone.install(small_zip, manager, **variables)
    assert done.status == 1, str(done)
    assert f"! {sentence}" in done.lines
    assert_nothing_left(phone, manager)


def test_the_other_architecture_is_named(phone: Rooted, tmp_path: Path) -> None:
    other = release(tmp_path / "arm64.zip", arch="aarch64")
    done = phone.install(other, "magisk")
    assert done.lines[-2:] == [
        "! This zip is for arm64, but this phone is x86_64.",
        "  Install the zip whose name ends in x86_64.zip.",
    ]
    assert_nothing_left(phone, "magisk")


def test_an_unknown_manager_is_refused(phone: Rooted, small_zip: Path) -> None:
    phone.path("data/nspawn.zip").write_bytes(small_zip.read_bytes())
    done = phone.install(small_zip, "magisk", FAKE="other")
    assert done.status == 1
    assert "! nspawn does not know this root manager." in done.lines


@pytest.mark.parametrize(
    ("kernel", "refused"),
    [
        ("3.18.140-perf", True),
        ("4.14.190-g1", True),
        ("4.4.302", True),
        ("4.19.113-perf-g5", False),
        ("4.20-rc1", False),
        ("5.4.0", False),
        ("6.1.68-android14-11-g5d", False),
        ("10.2", False),
    ],
)
def test_an_old_kernel_is_refused(phone: Rooted, small_zip: Path, kernel: str, refused: bool) -> None:
    phone.path("data/osrelease").write_text(f"{kernel}\n")
    assert phone("mount --bind /data/osrelease /proc/sys/kernel/osrelease").status == 0
    done = phone.install(small_zip, "ksu")
    assert (f"! The kernel of this phone is too old: {kernel}." in done.lines) == refused, str(done)
    assert done.status == refused
    if refused:
        assert_nothing_left(phone, "ksu")


def test_a_kernel_without_mount_namespaces_is_refused(phone: Rooted, small_zip: Path) -> None:
    hide = "mount -t tmpfs tmpfs /proc && mkdir /proc/self && ln -s /bin/busybox /proc/self/exe"
    hide += " && mkdir -p /proc/sys/kernel && echo 6.1.0 >/proc/sys/kernel/osrelease"
    assert phone(hide).status == 0
    done = phone.install(small_zip, "magisk")
    assert done.status == 1
    assert "! The kernel of this phone has no mount namespaces." in done.lines
    assert_nothing_left(phone, "magisk")


def test_little_space_is_refused(tmp_path: Path, small_zip: Path) -> None:
    with rooted(tmp_path / "root", space="200m") as phone:
        done = phone.install(small_zip, "apatch")
        assert done.status == 1
        assert "! There is not enough free space: 1" in done.out
        assert_nothing_left(phone, "apatch")


@pytest.mark.slow
def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    big = release(tmp_path / "big.zip", change={"python/lib/big": bytes(330 << 20)})
    with rooted(tmp_path / "root", space="320m") as phone:
        done = phone.install(big, "magisk")
        assert done.status == 1
        assert "! The zip could not be unpacked" in done.out, str(done)
        assert_nothing_left(phone, "magisk")


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"python/nspawn/errors.py": b"altered"}, "python/nspawn/errors.py: FAILED"),
        ({"python/nspawn/errors.py": None}, "damaged"),
        ({"manifest.sha256": None}, "it has no manifest"),
        ({"manifest.sha256": b""}, "it has no manifest"),
        (
            {"service.sh": (REPOSITORY / "service.sh").read_bytes().replace(b"\n", b"\r\n")},
            "service.sh: FAILED",
        ),
    ],
    ids=["altered", "missing", "no manifest", "empty manifest", "CRLF"],
)
def test_a_zip_that_is_not_as_it_was_made_is_refused(
    phone: Rooted, tmp_path: Path, manager: str, change: dict[str, bytes | None], names: str
) -> None:
    done = phone.install(release(tmp_path / "bad.zip", change=change), manager)
    assert done.status == 1
    assert "! This zip is damaged" in done.out, str(done)
    assert names in done.out
    assert_nothing_left(phone, manager)


def test_a_zip_with_a_flipped_bit_is_refused(phone: Rooted, tmp_path: Path, small_zip: Path) -> None:
    data = bytearray(small_zip.read_bytes())
    data[len(data) // 2] ^= 0x10
    bad = tmp_path / "bad.zip"
    bad.write_bytes(data)
    done = phone.install(bad, "magisk")
    assert done.status == 1
    assert "Download it again" in done.out
    assert_nothing_left(phone, "magisk")


def test_a_refused_update_leaves_the_old_version_alone(
    phone: Rooted, tmp_path: Path, small_zip: Path
) -> None:
    phone.install(small_zip, "ksu")
    phone.reboot("ksu")
    before = tree(phone.path(MODULE))
    links = tree(phone.path(BIN["ksu"]))
    done = phone.install(release(tmp_path / "bad.zip", change={"manifest.sha256": None}), "ksu")
    assert done.status == 1
    assert tree(phone.path(MODULE)) == before
    assert tree(phone.path(BIN["ksu"])) == links
    assert not phone.exists(UPDATE)


# ---- what is installed


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_fresh_installation(phone: Rooted, small_zip: Path, manager: str, shell: str) -> None:
    done = phone.install(small_zip, manager, shell=shell)
    assert done.status == 0, str(done)
    assert "http://localhost:8080" in done.out
    name = {"magisk": "Magisk 27.0", "ksu": "KernelSU v3.0.0", "apatch": "APatch 0.10"}[manager]
    assert f"- {name}, Android 13 (API 33), Linux {os.uname().release}, x86_64" in done.lines
    assert not phone.exists(STATE)
    top = phone.path(UPDATE)
    modes = {str(path.relative_to(top)): stat.S_IMODE(path.lstat().st_mode) for path in top.rglob("*")}
    folder = "system/bin" if manager == "magisk" else "bin"
    programs = {f"{folder}/{each}" for each in COMMANDS}
    programs |= {"service.sh", "action.sh", "uninstall.sh", "share/builtin/x86_64/busybox"}
    programs |= {"python/bin/python3.13", "python/lib/ld-linux-x86-64.so.2"}
    assert {
        name for name, mode in modes.items() if mode != (0o755 if (top / name).is_dir() else 0o644)
    } == programs
    assert {modes[each] for each in programs} == {0o755}
    assert (top / "skip_mount").exists() == (manager != "magisk")
    assert (top / "system").exists() == (manager == "magisk")
    assert not (top / "META-INF").exists()
    groups = {path.lstat().st_gid for path in (top / folder).iterdir()}
    assert groups == ({2000} if manager == "magisk" else {0})
    if manager != "magisk":
        links = {each: os.readlink(phone.path(f"{BIN[manager]}/{each}")) for each in COMMANDS}
        assert links == {each: f"/data/adb/modules/nspawn/bin/{each}" for each in COMMANDS}


@pytest.mark.parametrize(
    ("manager", "variables", "name"),
    [
        ("ksu", {"KSU_SUKISU": "true"}, "SukiSU v3.0.0"),
        ("apatch", {"KSU": "true"}, "APatch 0.10"),  # should it call itself a KernelSU, for old modules
    ],
)
def test_relatives_are_named(
    phone: Rooted, small_zip: Path, manager: str, variables: dict[str, str], name: str
) -> None:
    done = phone.install(small_zip, manager, **variables)
    assert done.status == 0
    assert f"- {name}, Android 13" in done.out


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_the_commands_work_after_the_reboot(phone: Rooted, small_zip: Path, manager: str, shell: str) -> None:
    phone.install(small_zip, manager, shell=shell)
    phone.reboot(manager)
    folder = "/system/bin" if manager == "magisk" else f"/{BIN[manager]}"
    for name in COMMANDS:
        done = phone(f"{folder}/{name} --version", shell=shell)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith(f"{name} ")


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_update_keeps_what_the_user_has(phone: Rooted, small_zip: Path, manager: str) -> None:
    phone.install(small_zip, manager)
    phone.reboot(manager)
    state = phone.path(STATE)
    (state / "containers/web/rootfs").mkdir(parents=True)
    (state / "containers/web/container.toml").write_text("version = 99\n")
    (state / "token").write_text("secret\n")
    before = tree(state)
    done = phone.install(small_zip, manager)
    assert done.status == 0, str(done)
    assert "What runs goes on until the reboot." in done.out
    assert "- The containers and settings in /data/adb/nspawn are kept." in done.lines
    assert "secret" not in done.out
    assert tree(state) == before
    phone.reboot(manager)
    assert tree(state) == before


def test_the_system_has_a_command_of_that_name(phone: Rooted, small_zip: Path) -> None:
    own = phone.path("system/bin/getroot")
    own.write_text("#!/system/bin/sh\necho of the phone\n")
    done = phone.install(small_zip, "magisk")
    assert done.status == 0, str(done)
    assert "This phone has a getroot of its own, /system/bin/getroot: it is left as it is." in done.lines
    phone.reboot("magisk")
    assert own.read_text().endswith("of the phone\n")
    assert phone("/data/adb/modules/nspawn/bin/getroot --version").out.startswith("getroot ")
    assert sorted(path.name for path in phone.path(f"{MODULE}/system/bin").iterdir()) == [
        "nspawn",
        "nspawn-mini",
    ]


def test_our_own_command_of_before_is_not_foreign(phone: Rooted, small_zip: Path) -> None:
    phone.install(small_zip, "magisk")
    phone.reboot("magisk")
    done = phone.install(small_zip, "magisk")
    assert "of its own" not in done.out
    assert phone.exists(f"{UPDATE}/system/bin/getroot")


@pytest.mark.parametrize("manager", ["ksu", "apatch"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_foreign_file_in_the_managers_folder_stays(
    phone: Rooted, small_zip: Path, manager: str, kind: str
) -> None:
    foreign = phone.path(f"{BIN[manager]}/getroot")
    foreign.parent.mkdir(parents=True)
    if kind == "file":
        foreign.write_text("somebody's\n")
    else:
        foreign.symlink_to("/data/adb/modules/other/bin/getroot")
    before = tree(foreign.parent)["getroot"]
    done = phone.install(small_zip, manager)
    assert done.status == 0
    assert f"/{BIN[manager]}/getroot is not nspawn's: it is left alone." in done.out
    assert tree(foreign.parent)["getroot"] == before
    assert os.readlink(foreign.with_name("nspawn")) == "/data/adb/modules/nspawn/bin/nspawn"
    phone.reboot(manager)
    assert phone("/data/adb/modules/nspawn/uninstall.sh").status == 0
    assert tree(foreign.parent) == {"getroot": before}


def test_it_is_said_when_the_bundled_python_does_not_start(phone: Rooted, tmp_path: Path) -> None:
    loader = b"#!/bin/sh\necho 'FATAL: kernel too old' >&2\nexit 127\n"
    name = "python/lib/ld-linux-x86-64.so.2"
    broken = release(tmp_path / "broken.zip")
    with zipfile.ZipFile(broken) as opened:
        manifest = opened.read("manifest.sha256").decode()
        old = hashlib.sha256(opened.read(name)).hexdigest()
    manifest = manifest.replace(old, hashlib.sha256(loader).hexdigest())
    release(broken, change={name: loader, "manifest.sha256": manifest.encode()})
    done = phone.install(broken, "ksu")
    assert done.status == 0, str(done)
    assert "! The Python in this zip does not start on this phone" in done.out
    assert "FATAL: kernel too old" in done.out


def test_it_is_told_what_the_phone_has(phone: Rooted, small_zip: Path) -> None:
    done = phone.install(small_zip, "ksu")
    told = done.lines[done.lines.index("- What this phone has for containers:") + 1 :]
    assert told[0].startswith("  ")
    assert "Traceback" not in done.out
    assert not phone.exists(STATE)
