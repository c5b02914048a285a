"""What the service gets of the environment that it is started from."""

from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.android.environment import PATH, service
from nspawn.layout import Layout

LAYOUT = Layout("/data/adb/nspawn")
PHONE = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
TERMUX = {
    **PHONE,
    "PATH": "/data/data/com.termux/files/usr/bin",
    "HOME": "/data/data/com.termux/files/home",
    "TMPDIR": "/data/data/com.termux/files/usr/tmp",
    "SSL_CERT_FILE": "/data/data/com.termux/files/usr/etc/tls/cert.pem",
    "LD_PRELOAD": "/data/data/com.termux/files/usr/lib/libtermux-exec.so",
    "PREFIX": "/data/data/com.termux/files/usr",
}


def zone() -> dict[str, str]:
    return {"persist.sys.timezone": "Europe/Berlin"}


def unasked() -> dict[str, str]:
    raise AssertionError("getprop was run for nothing")


def test_elsewhere_little_changes() -> None:
    found = service({"PATH": "/bin", "HOME": "/home/me", "TMPDIR": "/x", "SECRET": "s", "TZ": "UTC"}, LAYOUT)
    assert found == {"PATH": "/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
    assert service({}, LAYOUT)["PATH"]


def test_a_phones_is_ours_not_termuxs(tmp_path: Path) -> None:
    found = service(TERMUX, LAYOUT, home=str(tmp_path), read=zone)
    assert found == {
        **PHONE,
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": "/data/adb/nspawn",
        "TMPDIR": "/data/adb/nspawn/run/tmp",
        "TZ": "Europe/Berlin",
    }


def test_what_service_sh_set_stays() -> None:
    given = {
        **PHONE,
        "NSPAWN_MODULE": "/data/adb/modules/nspawn",
        "PATH": "/system/bin",
        "HOME": "/h",
        "TMPDIR": "/t",
        "TZ": "Asia/Tokyo",
        "TZDIR": "/z",
        "SSL_CERT_FILE": "/c",
        "LANG": "C.UTF-8",
    }
    assert service({**given, "KSU": "true", "BOOTMODE": "true"}, LAYOUT, read=unasked) == given


def test_the_modules_own_files_are_used(tmp_path: Path) -> None:
    authorities = "python/lib/python3.13/site-packages/certifi/cacert.pem"
    for name in ("share/zoneinfo/UTC", authorities):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    found = service(PHONE, LAYOUT, home=str(tmp_path), version=(3, 13), read=dict)
    assert found["TZDIR"] == f"{tmp_path}/share/zoneinfo"
    assert found["SSL_CERT_FILE"] == f"{tmp_path}/{authorities}"
    assert "TZ" not in found


@pytest.mark.parametrize("home", ["/data/adb/modules/nspawn", "/data/local/tmp/checkout"])
def test_the_module_is_named(home: str) -> None:
    found = service(PHONE, LAYOUT, home=home, read=dict)
    assert found.get("NSPAWN_MODULE", "") == (home if "modules" in home else "")
