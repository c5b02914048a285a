"""Forwarding between interfaces, as Android's netd gives it to those who asked: `ndc ipfwd enable NAME`.

Written into /proc/sys by ourselves, it would be off again when a hotspot ends.
"""

from __future__ import annotations

import os

from nspawn.kernel import command
from nspawn.layout import on_android, phone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NDC = "/system/bin/ndc"
_REQUESTER = "nspawn"
_SECONDS = 3.0


def words(environ: Mapping[str, str], *, enable: bool) -> list[str]:
    """The command; empty where there is no netd to ask."""
    program = phone(environ, _NDC)
    if not on_android(environ) or not os.access(program, os.X_OK):
        return []
    return [program, "ipfwd", "enable" if enable else "disable", _REQUESTER]


def run(words: list[str]) -> str:
    """Run it for three seconds at most; what went wrong, "" when nothing did."""
    try:
        status, said = command.run(words, os.environ, seconds=_SECONDS)
    except OSError as error:
        return error.strerror or str(error)
    # ndc prints netd's answer, `200 0 ipfwd operation succeeded`, and gives 0 for refusals of older ones too.
    if status or not said.lstrip().startswith("2"):
        return said.strip()[:200] or f"exit status {status}"
    return ""
