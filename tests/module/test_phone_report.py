"""What the module says of an emulated phone, from each kind of root shell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.phone.server import MODULE, STATE, Server
from tests.support.phone.shells import SHELLS

pytestmark = [pytest.mark.phone, pytest.mark.root]


def test_the_report_is_the_same_from_every_shell(server: Server) -> None:
    seen = {}
    for shell, kind in SHELLS.items():
        report: dict[str, Any] = json.loads(server.nspawn("doctor --json", shell=shell).out)
        device = report["device"]
        assert device["android"]
        assert device["seccomp"] == ("filter" if kind.filtered else "none"), shell
        assert device["termux"] == (shell == "tsu"), shell
        assert report["spawner"]["running"], shell
        seen[shell] = [
            device[key] for key in ("model", "soc", "release", "sdk", "patch", "manager", "programs")
        ]
    assert len({json.dumps(each) for each in seen.values()}) == 1, seen
    model, soc, release, sdk, patch, manager, programs = seen["adb su"]
    assert (model, soc, release, sdk, patch) == (
        "phonebox PhoneBench",
        "Debian Fake-1",
        "13",
        "33",
        "2023-05-05",
    )
    assert manager == "Magisk"
    assert set(programs) == {"toybox", "busybox", "ip", "iptables"}
    assert programs["ip"].startswith("ip utility, iproute2"), programs
    assert programs["iptables"].startswith("iptables v"), programs


@pytest.mark.parametrize("shell", ["adb su", "magisk su", "tsu"])
def test_the_brief_report_needs_nothing(server: Server, shell: str) -> None:
    told = server.nspawn("doctor --brief", shell=shell).out
    assert told.startswith("Kernel ")
    assert "Containers can run." in told
    assert max(map(len, told.splitlines())) <= 45


def test_a_service_that_a_command_starts_has_a_phones_environment(server: Server) -> None:
    """From Termux, whose folders are an app's."""
    server.settle()
    server.nspawn("shutdown")
    server.phone.setprop("persist.sys.timezone", "Asia/Tokyo")
    server.nspawn("create box --image builtin --start", shell="tsu")
    pid = json.loads(server.nspawn("doctor --json").out)["spawner"]["pid"]
    text = server.phone.sh(f"cat /proc/{pid}/environ").out
    found = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
    assert found["HOME"] == STATE
    assert found["TMPDIR"] == f"{STATE}/run/tmp"
    assert found["TZ"] == "Asia/Tokyo"
    assert found["NSPAWN_MODULE"] == MODULE
    assert "termux" not in text
    here, inits = server.phone.sh(f"readlink /proc/{pid}/ns/mnt; readlink /proc/1/ns/mnt").out.split()
    assert here == inits
    server.nspawn("kill box")
