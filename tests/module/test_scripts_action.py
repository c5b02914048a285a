"""action.sh: it shows how things are, starts what is not running, and opens the page; it shows no code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.scripted import MODULE, SHELLS, STATE, Rooted, installed

pytestmark = pytest.mark.usefixtures("clean_module")

ACTION = "/data/adb/modules/nspawn/action.sh"


@pytest.fixture
def phone(tmp_path: Path, small_zip: Path) -> Iterator[Rooted]:
    with installed(tmp_path / "root", small_zip, "ksu") as found:
        yield found


def called(phone: Rooted) -> list[str]:
    return phone.path("data/am.called").read_text().splitlines()


def everything_written(phone: Rooted) -> bytes:
    """Every file below the state and the module, but what the fake `am` kept."""
    return b"".join(
        path.read_bytes()
        for top in (STATE, MODULE)
        for path in phone.path(top).rglob("*")
        if path.is_file() and not path.is_symlink()
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_it_starts_the_service_and_opens_the_page(phone: Rooted, shell: str) -> None:
    done = phone(f"cd /{MODULE} && exec {shell} ./action.sh", shell=shell)
    assert done.status == 0, str(done)
    assert done.lines[:2] == ["The service was not running. Starting it ...", "The service is running now."]
    assert done.lines[-1] == "http://localhost:8080 is opened in the browser."
    (keeper,) = phone.keepers()
    words = called(phone)
    assert words[:4] == ["start", "-a", "android.intent.action.VIEW", "-d"]
    page, _, code = words[4].partition("/login#")
    assert page == "http://localhost:8080"
    assert len(code) > 8
    assert code not in done.out + done.err
    assert code.encode() not in everything_written(phone)
    again = phone(ACTION, shell=shell)
    assert again.status == 0, str(again)
    assert again.lines[0] == "The service is running."
    assert phone.keepers() == [keeper]
    assert called(phone)[4] != words[4]
    assert called(phone)[4].partition("#")[2] not in again.out + again.err


def test_what_the_service_is_started_from_does_not_end_it(phone: Rooted) -> None:
    """Android ends the manager's processes with its app; ours is in a session of its own."""
    done = phone(f"busybox setsid sh -c 'sh {ACTION} >/dev/null 2>&1; kill -9 -$$'")
    assert done.status != 0
    (keeper,) = phone.keepers()
    assert processes.alive(keeper)
    assert phone("/data/adb/ksu/bin/nspawn list").status == 0


def test_without_a_browser_the_address_is_shown_without_its_code(phone: Rooted) -> None:
    phone.path("data/am.fails").touch()
    done = phone(ACTION)
    assert done.status == 1
    assert "Open http://localhost:8080 and log in" in done.lines[-1]
    assert called(phone)[4].partition("#")[2] not in done.out + done.err


def test_a_port_that_is_another_programs_gets_no_code(phone: Rooted) -> None:
    code = (
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen(); time.sleep(100)"
    )
    assert phone(f'python3 -c "{code}" </dev/null >/dev/null 2>&1 &').status == 0
    assert processes.wait_until(lambda: ":1F90 " in phone("cat /proc/net/tcp").out, 10)
    done = phone(ACTION)
    assert done.status == 1
    assert "port 8080 is taken by python3 (process " in done.out + done.err
    assert "reboot" in done.out + done.err
    assert not phone.exists("data/am.called")


@pytest.mark.parametrize("mark", ["disable", "remove"])
def test_a_disabled_module_is_not_started(phone: Rooted, mark: str) -> None:
    phone.path(f"{MODULE}/{mark}").touch()
    done = phone(ACTION)
    assert (done.status, done.lines) == (
        1,
        ["The module is disabled. Enable it in the manager and reboot."],
    )
    assert phone.keepers() == []


def test_why_the_service_did_not_start_is_shown(phone: Rooted) -> None:
    python = phone.path(f"{MODULE}/python/bin/python3.13")
    python.write_text("#!/bin/sh\necho 'FATAL: no memory' >&2\nexit 1\n")
    done = phone(ACTION)
    assert done.status == 1
    assert "FATAL: no memory" in done.out


def test_what_the_crash_guard_holds_back_is_told(phone: Rooted) -> None:
    assert phone(f"mkdir -p /{STATE}").status == 0
    code = f"import sys; sys.path.insert(0, '/{MODULE}/python')\n"
    code += "from nspawn.container.guard import Guard\nfrom nspawn.layout import Layout\n"
    code += f"Guard(Layout('/{STATE}'), {{'NSPAWN_GUARD': '1'}}).note('start', container='web')\n"
    phone.path("data/note.py").write_text(code)
    noted = phone("/usr/bin/python3 -I -S /data/note.py")
    assert noted.status == 0, str(noted)
    # FAKE: another boot of the kernel.
    phone.path("data/boot_id").write_text("11111111-2222-3333-4444-555555555555\n")
    assert phone("mount --bind /data/boot_id /proc/sys/kernel/random/boot_id").status == 0
    done = phone(ACTION)
    assert done.status == 0, str(done)
    assert "No container is started until you decide:" in done.lines
    assert "web" in done.out


def test_an_update_that_waits_for_the_reboot_is_told(phone: Rooted) -> None:
    phone.path(f"{MODULE}/update").touch()
    done = phone(ACTION)
    assert done.lines[0] == "Another version is installed: it counts from the next reboot on."
    assert os.path.exists(phone.path(f"{STATE}/run/control.sock"))
