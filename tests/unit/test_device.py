from __future__ import annotations

import pytest

from nspawn.android.device import Device, find_manager, getprop, look

PHONE = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
PROPERTIES = {
    "ro.product.manufacturer": "Maker",
    "ro.product.model": "Phone 1",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
}


def test_no_phone() -> None:
    assert look({}) == Device()


def test_a_phone() -> None:
    found = look(PHONE, lambda name: PROPERTIES.get(name, ""))
    assert (found.android, found.model, found.release, found.sdk, found.patch) == (
        True,
        "Maker Phone 1",
        "15",
        "35",
        "",
    )


def test_a_phone_that_tells_nothing() -> None:
    assert look({**PHONE, "PREFIX": "/data/data/com.termux/files/usr"}, lambda _name: "").termux
    assert getprop("ro.nothing") == ""


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
    assert find_manager(environ, files.__contains__) == name
