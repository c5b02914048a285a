"""The phone's own tools and their versions.

Always by absolute paths: the managers' shells put a busybox before Android's own tools, and a clean PATH may
have neither.
"""

from __future__ import annotations

import functools
import subprocess

_SECONDS = 2.0
_LONGEST = 80
#: (name, path, argument that makes it tell its version).
_ASKED = (
    ("toybox", "/system/bin/toybox", "--version"),
    ("ip", "/system/bin/ip", "-V"),
    ("iptables", "/system/bin/iptables", "-V"),
)


# The tools change with the system, and we start anew with it: each is asked once per process.
@functools.cache
def first_line(*command: str) -> str:
    """The first line that the command prints, cut; "" when there is none, or none within two seconds."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = result.stdout[:4096].decode("utf-8", "replace").strip().splitlines()
    return lines[0].strip()[:_LONGEST] if lines else ""


def versions(busybox: str) -> dict[str, str]:
    """What each tool says of itself, "" for one that is missing.  busybox: the manager's, or ""."""
    found = {name: first_line(path, argument) for name, path, argument in _ASKED}
    # busybox without a command prints its version, and then everything it can do.
    found["busybox"] = first_line(busybox) if busybox else ""
    return found
