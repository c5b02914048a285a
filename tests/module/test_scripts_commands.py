"""The commands in PATH of an installed module, and what a recovery runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scripted import BIN, MODULE, SHELLS, UPDATE, Rooted, installed, rooted

pytestmark = pytest.mark.usefixtures("clean_module")

COMMANDS = ("nspawn", "nspawn-mini", "getroot")
HIDE_PYTHON = f"rm /{MODULE}/python/bin/python3.13 && mount --bind /dev/null /usr/bin/python3"


@pytest.fixture(scope="module", params=["magisk", "ksu"])
def manager(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def phone(tmp_path: Path, small_zip: Path, manager: str) -> Iterator[Rooted]:
    with installed(tmp_path / "root", small_zip, manager) as found:
        yield found


def places(manager: str) -> list[str]:
    own = "system/bin" if manager == "magisk" else "bin"
    return [f"/{MODULE}/{own}", "/system/bin" if manager == "magisk" else f"/{BIN[manager]}"]


def test_no_other_program_is_started(phone: Rooted, manager: str) -> None:
    """A link that is ours needs no readlink."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    for place in places(manager):
        done = phone(f"strace -f -e trace=process,execve {place}/nspawn --version")
        assert done.out.startswith("nspawn ")
        programs = [line.split('"')[1] for line in done.err.splitlines() if line.startswith("execve(")]
        assert programs[:2] == [f"{place}/nspawn", f"/{MODULE}/python/bin/python3.13"]
        assert "clone" not in done.err
        assert "fork" not in done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_python_missing_is_told(phone: Rooted, manager: str, name: str) -> None:
    assert phone(HIDE_PYTHON).status == 0
    for place in places(manager):
        done = phone(f"{place}/{name} list")
        assert (done.status, done.out) == (1, "")
        assert done.err.splitlines() == [
            f"{name}: its Python is missing: /{MODULE}/python/bin/python3.13",
            "  Install the module's zip again, in the app of the root manager.",
        ]


def test_only_root_reaches_the_module(phone: Rooted, manager: str) -> None:
    """Magisk shows the command to every app and to adb's shell, but not what is behind it."""
    if manager != "magisk":
        pytest.skip("the folders of the others are root's")
    assert phone("cp -L /system/bin/nspawn /system/nspawn && rm /system/bin/nspawn").status == 0
    assert phone("mv /system/nspawn /system/bin/nspawn").status == 0
    assert phone("mount --bind /dev/null /usr/bin/python3").status == 0
    done = phone("/usr/bin/setpriv --reuid 2000 --regid 2000 --clear-groups /system/bin/nspawn list")
    assert done.status == 1
    assert done.err == "nspawn: only root can use it on a phone: su -c nspawn\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_recovery_without_magisk_says_what_to_do(tmp_path: Path, small_zip: Path, shell: str) -> None:
    with rooted(tmp_path / "root") as phone:
        phone.path("data/nspawn.zip").write_bytes(small_zip.read_bytes())
        assert phone("cd /data && unzip -qo nspawn.zip 'META-INF/*'").status == 0
        program = "/data/META-INF/com/google/android/update-binary"
        done = phone(f"{shell} {program} 3 1 /data/nspawn.zip")
        assert done.status == 1
        told = "! Install nspawn from the app of your root manager, with Android running."
        assert done.lines == [f"ui_print {told}", "ui_print"]
        assert not phone.exists(UPDATE)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("code", "goes_on"), [("19400", False), ("20400", True), ("27000", True)])
def test_a_recovery_with_magisk_hands_over(
    tmp_path: Path, small_zip: Path, shell: str, code: str, goes_on: bool
) -> None:
    with rooted(tmp_path / "root") as phone:
        phone.path("data/nspawn.zip").write_bytes(small_zip.read_bytes())
        assert phone("cd /data && unzip -qo nspawn.zip 'META-INF/*' && mkdir /data/adb/magisk").status == 0
        # FAKE: Magisk's functions.
        phone.path("data/adb/magisk/util_functions.sh").write_text(
            f'MAGISK_VER_CODE={code}\ninstall_module() {{ echo "installs $ZIPFILE"; }}\n'
        )
        done = phone(f"{shell} /data/META-INF/com/google/android/update-binary 3 1 /data/nspawn.zip")
        assert done.status == (0 if goes_on else 1)
        told = ["installs /data/nspawn.zip"]
        assert done.lines == (
            told if goes_on else ["ui_print ! nspawn needs Magisk 20.4 or newer.", "ui_print"]
        )


def test_the_updater_script_says_magisk(small_zip: Path, tmp_path: Path) -> None:
    with rooted(tmp_path / "root") as phone:
        phone.path("data/nspawn.zip").write_bytes(small_zip.read_bytes())
        shown = phone("unzip -p /data/nspawn.zip META-INF/com/google/android/updater-script")
        assert shown.out == "#MAGISK\n"
