"""What the service's processes need of the environment on a phone, whoever starts them.

service.sh sets all of it.  A command sets the same, out of whatever shell it was called from: Termux has
folders, a PATH and certificates of its own, which belong to an app that may be removed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.android import properties
from nspawn.layout import PASSED_ON, on_android
from nspawn.sites import HOME, candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.layout import Layout

#: As Android's own shell has it, and after it the managers': their busybox answers to the names of its tools.
PATH = (
    "/product/bin:/apex/com.android.runtime/bin:/apex/com.android.art/bin:/system_ext/bin:/system/bin:"
    "/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin:/data/adb/magisk:/data/adb/ksu/bin:/data/adb/ap/bin"
)
#: Elsewhere, for a caller without one.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MODULES = "/data/adb/modules/"


def service(
    environ: Mapping[str, str],
    layout: Layout,
    *,
    home: str = HOME,
    version: tuple[int, int] = sys.version_info[:2],
    read: Callable[[], Mapping[str, str]] = properties.read,
) -> dict[str, str]:
    """The environment of the service.

    home: our own folder; version: of the interpreter in it; read: the phone's properties.
    """
    if not on_android(environ):
        kept = _given(environ)
        own = {key: kept[key] for key in kept if key not in ("HOME", "TMPDIR", "LANG")}
        return {"PATH": _PATH, "LANG": "C.UTF-8"} | own
    if environ.get("NSPAWN_MODULE"):
        # From service.sh, or the action of a manager: what they set is meant.
        chosen = _given(environ)
    else:
        kept = _given(environ)
        chosen = {key: kept[key] for key in kept if key.startswith(("ANDROID_", "NSPAWN_"))}
    found = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": layout.root, "TMPDIR": f"{layout.run}/tmp"}
    if home.startswith(_MODULES):
        found["NSPAWN_MODULE"] = home
    libraries = next(iter(candidates(home, version)), "")
    files = {"TZDIR": f"{home}/share/zoneinfo", "SSL_CERT_FILE": f"{libraries}/certifi/cacert.pem"}
    found |= {key: path for key, path in files.items() if key not in chosen and os.path.exists(path)}
    if "TZ" not in chosen:
        zone = environ.get("TZ") or read().get("persist.sys.timezone", "")
        if zone:
            found["TZ"] = zone
    return found | chosen


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """What the service passes on, of this environment."""
    return {key: environ[key] for key in ("PATH", "LANG", *PASSED_ON) if key in environ}
