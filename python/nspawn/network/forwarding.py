"""Forwarding between interfaces, as Android's netd gives it to those who asked: `ndc ipfwd enable NAME`.

Written into /proc/sys by ourselves, it would be off again when a hotspot ends.
"""

from __future__ import annotations

import os
import select
import signal
import time

from nspawn.layout import on_android, phone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NDC = "/system/bin/ndc"
_REQUESTER = "nspawn"
_SECONDS = 3.0


def command(environ: Mapping[str, str], *, enable: bool) -> list[str]:
    """The command; empty where there is no netd to ask."""
    program = phone(environ, _NDC)
    if not on_android(environ) or not os.access(program, os.X_OK):
        return []
    return [program, "ipfwd", "enable" if enable else "disable", _REQUESTER]


def run(words: list[str]) -> str:
    """Run it for three seconds at most; what went wrong, "" when nothing did."""
    ours, theirs = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_DUP2, theirs, 2)]
        try:
            pid = os.posix_spawn(words[0], words, os.environ, file_actions=actions, setsigdef=[13])
        except OSError as error:
            return error.strerror or str(error)
        finally:
            os.close(theirs)
        output, over = _read(ours)
        if not over:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(ours)
    if not over:
        return f"no answer in {_SECONDS:g} seconds"
    # ndc prints netd's answer, `200 0 ipfwd operation succeeded`, and gives 0 for refusals of older ones too.
    if status or not output.lstrip().startswith(b"2"):
        return output.decode("utf-8", "replace").strip()[:200] or f"exit status {status}"
    return ""


def _read(end: int) -> tuple[bytes, bool]:
    """What is written until it is closed, and whether that came in time."""
    deadline, found = time.monotonic() + _SECONDS, b""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            data = os.read(end, 4096)
            if not data:
                return found, True
            found = (found + data)[-4096:]
    return found, False
