"""The module's button on an emulated phone: pressed in each manager's app, and by Android's own shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.module.conftest import NewPhone
from tests.support.phone.phone import MANAGERS, Phone
from tests.support.phone.server import MODULE, STATE, Server

pytestmark = [pytest.mark.phone, pytest.mark.root]

#: As the managers' apps run it: their busybox, in the app's view of the mounts.
BUSYBOX = {
    "magisk": "/data/adb/magisk/busybox",
    "ksu": "/data/adb/ksu/bin/busybox",
    "apatch": "/data/adb/ap/bin/busybox",
}
APP = {"magisk": "magisk su", "ksu": "ksu su", "apatch": "apatch su"}


def opened(phone: Phone) -> str:
    """The code in the address that Android was last asked to show."""
    calls = [line for line in phone.path("/dev/fake.log").read_text().splitlines() if line.startswith("am ")]
    head, _, code = calls[-1].partition("/login#")
    assert head == "am start -a android.intent.action.VIEW -d http://localhost:8080"
    return code


def log_in(phone: Phone, code: str) -> int:
    """What the page answers to the code."""
    answer = phone.curl(
        *(
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "X-Nspawn: 1",
            "-H",
            "Content-Type: application/json",
        ),
        *("-d", json.dumps({"code": code}), "http://127.0.0.1:8080/api/v1/login"),
    )
    return int(answer.out)


@pytest.mark.parametrize("manager", MANAGERS)
def test_the_button(new_phone: NewPhone, archive: Path, manager: str) -> None:
    phone = new_phone(manager)
    server = Server(phone)
    server.install(archive)
    server.create("box", "--start")
    press = f"cd {MODULE}; ASH_STANDALONE=1 {BUSYBOX[manager]} sh ./action.sh </dev/null"
    done = phone.sh(press, APP[manager])
    assert done.lines[0] == "The service is running."
    assert "box" in done.out
    assert done.lines[-1] == "http://localhost:8080 is opened in the browser."
    code = opened(phone)
    assert code not in done.out + done.err
    assert log_in(phone, code) == 200
    assert log_in(phone, code) == 401, "once"
    assert phone.sh(f"grep -rl {code} /data/adb", must=False).out == ""

    # Android's own sh and tools, in the groups of an app, which Android ends with the app.
    server.nspawn("shutdown")
    enter = "for g in /sys/fs/cgroup/app /dev/memcg/app; do mkdir -p $g && echo $$ >$g/cgroup.procs; done"
    done = phone.sh(f"{enter}; sh {MODULE}/action.sh; cat /proc/self/cgroup")
    assert done.lines[:2] == ["The service was not running. Starting it ...", "The service is running now."]
    assert {line.rpartition(":")[2] for line in done.lines[-10:]} >= {"/app"}, str(done)
    groups = phone.sh("for p in $(pgrep -f keeper.py); do cat /proc/$p/cgroup; done").out
    assert groups
    assert "/app" not in groups
    assert phone.path(f"{STATE}/run/control.sock").exists()
    assert log_in(phone, opened(phone)) == 200
