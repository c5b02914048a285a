"""The real zip on an emulated phone: flashed, rebooted, there; and what the installer refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.module.conftest import NewPhone
from tests.support.phone import release, stub
from tests.support.phone.server import MODULE, STATE, Server
from tests.support.processes import wait_until

pytestmark = [pytest.mark.phone, pytest.mark.root]

COMMANDS = ("nspawn", "nspawn-mini", "getroot")
PLACES = {"magisk": "/system/bin", "ksu": "/data/adb/ksu/bin", "apatch": "/data/adb/ap/bin"}


def test_fresh(new_phone: NewPhone, archive: Path, manager: str) -> None:
    phone = new_phone(manager)
    server = Server(phone)
    phone.boot()
    phone.wait_boot_completed()
    said = phone.flash(archive).out
    assert "Reboot. Then nspawn is at http://localhost:8080" in said
    assert not phone.path(STATE).exists(), "nothing is started before the reboot"

    phone.hold = True
    phone.reboot()
    _, status = server.wait_page(path="/")
    assert status == 200
    assert phone.getprop("sys.boot_completed") == "", "the page is there before Android is"
    phone.complete_boot()
    phone.hold = False
    assert phone.path(STATE).stat().st_mode & 0o777 == 0o700
    assert phone.sh("ls /data/adb/modules_update").out == ""
    for command in COMMANDS:
        assert phone.sh(f"command -v {command}").out.strip() == f"{PLACES[manager]}/{command}"

    server.create("box")
    assert server.state("box")["state"] == "stopped"
    server.restart()
    server.becomes("box", "running")
    assert server.nspawn("exec box cat /started").out == "up\n"


@pytest.mark.parametrize(
    ("manager", "shell"),
    [
        ("magisk", "adb su"),
        ("magisk", "magisk su"),
        ("magisk", "tsu"),
        ("ksu", "adb su"),
        ("ksu", "ksu su"),
        ("ksu", "tsu"),
        ("apatch", "apatch su"),
    ],
)
def test_every_kind_of_shell(new_phone: NewPhone, archive: Path, manager: str, shell: str) -> None:
    phone = new_phone(manager)
    server = Server(phone)
    server.install(archive)
    said = server.nspawn('create box --image builtin --command "sleep 100000" --start', shell=shell)
    assert "\x1b" not in said.out + said.err, "colours are for terminals"
    assert server.nspawn("exec box hostname", shell=shell).out == "box\n"
    assert "running" in server.nspawn("list", shell=shell).out
    # Without the spawner's help, from this shell's own mounts.
    rootfs = f"{STATE}/containers/box/rootfs"
    server.nspawn("stop box --time 0", shell=shell)
    alone = phone.sh(f"nspawn {rootfs} /bin/sh -c 'echo $((6 * 7)); exit 3'", shell, must=False)
    assert (alone.status, alone.out) == (3, "42\n"), str(alone)
    assert phone.sh(f"nspawn-mini {rootfs} /bin/echo mini", shell).out == "mini\n"
    assert server.nspawn("no-such-command", shell=shell, must=False).status in (1, 2)


# ---- refusals: each leaves nothing behind


def assert_nothing_left(server: Server) -> None:
    phone = server.phone
    assert phone.sh("ls -A /data/adb/modules /data/adb/modules_update | grep nspawn", must=False).out == ""
    assert not phone.path(STATE).exists()
    assert not phone.path("/dev/fake.install").exists()


@pytest.fixture
def bare(new_phone: NewPhone) -> Server:
    """A phone that is on, without the module."""
    phone = new_phone("ksu")
    phone.boot()
    phone.wait_boot_completed()
    return Server(phone)


def test_wrong_architecture(bare: Server) -> None:
    result = bare.phone.flash(release.build("arm64"), must=False)
    assert result.status == 1
    assert "This zip is for arm64, but this phone is x86_64." in result.out
    assert_nothing_left(bare)


@pytest.mark.parametrize("how", ["altered", "truncated", "lacking"])
def test_damaged(bare: Server, archive: Path, tmp_path: Path, how: str) -> None:
    data = bytearray(archive.read_bytes())
    path = tmp_path / "damaged.zip"
    if how == "altered":
        # Some file of a megabyte or so is in the middle.
        data[len(data) // 2] ^= 0x40
    elif how == "truncated":
        del data[len(data) * 9 // 10 :]
    path.write_bytes(data)
    if how == "lacking":
        release.changed(archive, path, {"python/nspawn/layout.pyc": b"", "python/entry/nspawn.py": b"no\n"})
        with open(path, "r+b") as file:
            whole = file.read()
            file.seek(whole.index(b"no\n"))
            file.write(b"on\n")
    result = bare.phone.flash(path, must=False)
    assert result.status == 1, str(result)
    assert "! " in result.out
    assert_nothing_left(bare)


def test_full_disk(new_phone: NewPhone, archive: Path) -> None:
    phone = new_phone("magisk", size=300 << 20)
    phone.boot()
    phone.wait_boot_completed()
    result = phone.flash(archive, must=False)
    assert result.status == 1
    assert "There is not enough free space" in result.out
    assert_nothing_left(Server(phone))


def test_foreign_command_stays(bare: Server, archive: Path) -> None:
    phone = bare.phone
    phone.sh(
        "echo '#!/system/bin/sh' >/data/adb/ksu/bin/nspawn; echo 'echo foreign' >>/data/adb/ksu/bin/nspawn"
    )
    phone.sh("chmod 755 /data/adb/ksu/bin/nspawn")
    said = phone.flash(archive).out
    assert "/data/adb/ksu/bin/nspawn is not nspawn's: it is left alone" in said
    bare.restart()
    assert phone.sh("nspawn list").out == "foreign\n"
    assert phone.sh(f"{MODULE}/bin/nspawn list", must=False).status == 0
    assert phone.sh("command -v getroot").out == "/data/adb/ksu/bin/getroot\n"
    phone.sh(f"touch {MODULE}/remove")
    phone.reboot()
    phone.wait_boot_completed()
    assert phone.sh("ls /data/adb/ksu/bin | grep -E 'nspawn|getroot'").out == "nspawn\n"


def test_foreign_command_of_another_module(new_phone: NewPhone, archive: Path, tmp_path: Path) -> None:
    phone = new_phone("magisk")
    phone.boot()
    phone.wait_boot_completed()
    foreign = {"system/bin/getroot": "#!/system/bin/sh\necho foreign\n"}
    customize = stub.CUSTOMIZE + 'chmod 755 "$MODPATH/system/bin/getroot"\n'
    phone.flash(stub.write(tmp_path / "other.zip", {**foreign, "customize.sh": customize}))
    phone.reboot()
    phone.wait_boot_completed()
    assert "This phone has a getroot of its own, /system/bin/getroot" in phone.flash(archive).out
    Server(phone).restart()
    assert phone.sh("getroot").out == "foreign\n"
    assert phone.sh("command -v nspawn").out == "/system/bin/nspawn\n"
    assert phone.sh(f"{MODULE}/bin/getroot --help").status == 0


# ---- other versions


@pytest.mark.parametrize(("version", "code"), [("9.0.0", 90000), ("0.0.1", 1), ("", 0)])
def test_another_version_keeps_everything(
    server: Server, archive: Path, tmp_path: Path, version: str, code: int
) -> None:
    """Update, downgrade, and the same once more, each over a running installation."""
    phone = server.phone
    server.create("box", "--autostart --env GREETING=hello --start")
    server.nspawn("exec box sh -c 'echo mine >/note'")
    token = server.nspawn("token").out
    server.file("config.toml").write_text("[page]\nport = 8080\n")
    before, pid = server.version, server.state("box")["pid"]
    other = release.with_version(archive, tmp_path / "other.zip", version, code) if version else archive
    assert "are kept" in phone.flash(other).out
    assert server.state("box")["pid"] == pid, "what runs goes on until the reboot"
    assert server.version == (version or before), "the manager already shows the new one"

    server.restart()
    assert server.version == (version or before)
    server.becomes("box", "running")
    assert server.nspawn("exec box sh -c 'cat /note; echo $GREETING'").out == "mine\nhello\n"
    assert server.nspawn("token").out == token
    assert server.file("config.toml").read_text() == "[page]\nport = 8080\n"
    assert wait_until(lambda: phone.path(f"{MODULE}/service.sh").exists(), 1)
