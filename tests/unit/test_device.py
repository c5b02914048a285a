from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nspawn.android import manager, programs, properties
from nspawn.android.device import Device, look, model, soc

PHONE = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
#: As getprop prints them, one value over two lines.
GETPROP = """\
[ro.build.version.release]: [15]
[ro.build.version.sdk]: [35]
[ro.product.manufacturer]: [Maker]
[ro.product.model]: [Phone [1]]
[ro.soc.manufacturer]: [QTI]
[ro.soc.model]: [SM8550]
[ro.two]: [first
second]
[ro.empty]: []
"""


def no_versions(_busybox: str) -> dict[str, str]:
    return {}


def test_no_phone() -> None:
    assert look({}) == Device()


def test_a_phone() -> None:
    found = look(PHONE, lambda: properties.parse(GETPROP), lambda busybox: {"busybox": busybox})
    assert (found.android, found.model, found.soc, found.release, found.sdk, found.patch) == (
        True,
        "Maker Phone [1]",
        "QTI SM8550",
        "15",
        "35",
        "",
    )
    status = Path("/proc/self/status").read_text()
    assert f"Seccomp:\t{['none', 'strict', 'filter'].index(found.seccomp)}\n" in status
    assert "\0" not in found.context


def test_a_phone_that_tells_nothing() -> None:
    assert look({**PHONE, "PREFIX": "/data/data/com.termux/files/usr"}, dict, no_versions).termux
    assert properties.read() == {}, "there is no getprop on this machine"


def test_properties() -> None:
    found = properties.parse(GETPROP)
    assert found["ro.two"] == "first\nsecond"
    assert found["ro.empty"] == ""
    assert len(found) == 8
    assert properties.parse("garbage\n[half") == {}


@pytest.mark.parametrize(
    ("props", "text"),
    [
        ({}, ""),
        ({"ro.product.manufacturer": "Google", "ro.product.model": "Pixel 8"}, "Google Pixel 8"),
        ({"ro.product.manufacturer": "motorola", "ro.product.model": "Motorola One"}, "Motorola One"),
        ({"ro.product.model": "X"}, "X"),
    ],
)
def test_models(props: dict[str, str], text: str) -> None:
    assert model(props) == text


@pytest.mark.parametrize(
    ("props", "text"),
    [
        ({"ro.soc.model": "Tensor G3", "ro.board.platform": "zuma"}, "Tensor G3"),
        ({"ro.board.platform": "sdm845", "ro.hardware": "qcom"}, "sdm845"),
        ({"ro.hardware": "qcom"}, "qcom"),
        ({}, ""),
    ],
)
def test_chips(props: dict[str, str], text: str) -> None:
    assert soc(props) == text


@pytest.mark.parametrize(
    ("environ", "files", "name"),
    [
        ({}, (), ""),
        ({}, ("/data/adb/magisk/busybox",), "Magisk"),
        ({}, ("/data/adb/ksu/bin/busybox", "/data/adb/magisk/busybox"), "KernelSU"),
        ({"KSU": "true", "MAGISK_VER_CODE": "25200"}, (), "KernelSU"),
        ({"APATCH": "true", "KSU": "true", "MAGISK_VER_CODE": "30000"}, (), "APatch"),
        ({"MAGISK_VER_CODE": "30700"}, (), "Magisk"),
    ],
)
def test_managers(environ: dict[str, str], files: tuple[str, ...], name: str) -> None:
    assert manager.find(environ, files.__contains__) == name


@pytest.mark.parametrize(
    ("name", "environ", "files", "answers", "version"),
    [
        ("", {}, {}, {}, ""),
        ("Magisk", {"MAGISK_VER": "30.7", "MAGISK_VER_CODE": "30700"}, {}, {}, "30.7"),
        (
            "Magisk",
            {},
            {"/data/adb/magisk/util_functions.sh": "#!x\nMAGISK_VER='28.1'\nMAGISK_VER_CODE=28100\n"},
            {},
            "28.1",
        ),
        ("KernelSU", {"KSU_VER": "v3.2.5", "MAGISK_VER": "25.2"}, {}, {}, "v3.2.5"),
        ("KernelSU", {"MAGISK_VER": "25.2"}, {}, {"/data/adb/ksud": "ksud 3.2.5"}, "3.2.5"),
        ("APatch", {}, {"/data/adb/ap/version": "11142\n"}, {}, "11142"),
        ("APatch", {}, {}, {"/data/adb/apd": "apd 11142"}, "11142"),
    ],
)
def test_managers_versions(
    name: str, environ: dict[str, str], files: dict[str, str], answers: dict[str, str], version: str
) -> None:
    found = manager.version(
        name,
        environ,
        read=lambda path: files.get(path, ""),
        ask=lambda path, *_arguments: answers.get(path, ""),
    )
    assert found == version


def test_a_tool_that_hangs_costs_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho early\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(programs, "_SECONDS", 0.2)
    assert programs.first_line(str(slow)) == ""
    assert subprocess.run(["pgrep", "-f", f"{slow}"], capture_output=True).stdout == b""


def test_tools_tell_their_versions(tmp_path: Path) -> None:
    tool = tmp_path / "busybox"
    tool.write_text("#!/bin/sh\nyes 'BusyBox v1.36.1 (2026) multi-call binary' | head -n 9000\nexit 1\n")
    tool.chmod(0o755)
    found = programs.versions(str(tool))
    assert found["busybox"] == "BusyBox v1.36.1 (2026) multi-call binary"
    assert (found["toybox"], programs.first_line(str(tmp_path / "none"))) == ("", "")
