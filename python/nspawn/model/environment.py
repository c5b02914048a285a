"""What the service's processes (keeper, spawner, page, boot program) know of the environment.  No imports."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Passed on from each process of the service to the next; everything else stays behind.
PASSED_ON = (
    "PATH",
    "LANG",
    "HOME",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "SSL_CERT_FILE",
    "ANDROID_ROOT",
    "ANDROID_DATA",
    "ANDROID_STORAGE",
    "ANDROID_ART_ROOT",
    "ANDROID_I18N_ROOT",
    "ANDROID_TZDATA_ROOT",
    "NSPAWN_MODULE",
    "NSPAWN_GUARD",
    "NSPAWN_WEB_IDLE",
)


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of it that goes on."""
    return {key: environ[key] for key in PASSED_ON if key in environ}
