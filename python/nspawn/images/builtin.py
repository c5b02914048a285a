"""The root file system that comes along: Debian's static busybox and a handful of files.

So that the first container needs no network.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, Unsupported
from nspawn.sites import HOME

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDERS = (
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/share", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
)
#: All programs are in bin; these names lead there.
_LINKS = (("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin"), ("var/run", "../run"))
_FILES = (
    (
        "etc/passwd",
        """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/:/bin/false
""",
    ),
    # Android's kernels of up to 4.14 let only these two groups open sockets (facts: quirks).
    (
        "etc/group",
        "root:x:0:\ndaemon:x:1:\ntty:x:5:\ninet:x:3003:root\nnet_raw:x:3004:root\nnogroup:x:65534:\n",
    ),
    ("etc/shells", "/bin/sh\n/bin/ash\n"),
    ("etc/profile", "export PS1='\\u@\\h:\\w\\$ '\numask 022\n"),
    (
        "etc/os-release",
        'NAME="nspawn built-in"\nID=nspawn-builtin\nPRETTY_NAME="nspawn built-in (busybox)"\n',
    ),
    # For `boot`: one shell on the console, an orderly end.
    (
        "etc/inittab",
        """\
::sysinit:/bin/true
::respawn:-/bin/sh
::shutdown:/bin/kill -TERM -1
::ctrlaltdel:/bin/poweroff
""",
    ),
)


def find_busybox(machine: str, home: str = HOME) -> str:
    """The path of a static busybox for this machine (as uname(2) names it).

    home: the checkout or the module.  Raises Unsupported when there is none.
    """
    places = (f"{home}/share/builtin/{machine}/busybox", "/bin/busybox", "/usr/bin/busybox")
    for path in places:
        if is_static(path):
            return path
    raise Unsupported(
        "there is no built-in root file system here",
        f"no static busybox for {machine}",
        "In a checkout, run: python3 build.py setup",
    )


def is_static(path: str) -> bool:
    """Whether this is an ELF program that needs no loader (elf(5): no PT_INTERP)."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if head[:4] != b"\x7fELF" or head[5:6] != b"\1":
                return False
            if head[4:5] == b"\2":
                offset, size, count = (
                    *struct.unpack_from("<Q", head, 32),
                    *struct.unpack_from("<HH", head, 54),
                )
            else:
                offset, size, count = (
                    *struct.unpack_from("<I", head, 28),
                    *struct.unpack_from("<HH", head, 42),
                )
            file.seek(offset)
            table = file.read(size * count)
    except (OSError, struct.error):
        return False
    kinds = [struct.unpack_from("<I", table, at)[0] for at in range(0, len(table) - 3, size or 1)]
    return bool(kinds) and 3 not in kinds


def make(target: str, busybox: str) -> None:
    """Fill the empty folder `target`.  busybox: the path of a static one that runs on this machine."""
    for name, mode in _FOLDERS:
        os.mkdir(f"{target}/{name}")
        os.chmod(f"{target}/{name}", mode)
    for name, to in _LINKS:
        os.symlink(to, f"{target}/{name}")
    for name, text in _FILES:
        _write(f"{target}/{name}", text)
    program = f"{target}/bin/busybox"
    shutil.copyfile(busybox, program)
    os.chmod(program, 0o755)  # noqa: S103  (for every user of the container)
    for applet in applets(program):
        if applet != "busybox":
            os.symlink("busybox", f"{target}/bin/{applet}")


def applets(program: str) -> Iterable[str]:
    """The names that this busybox answers to."""
    try:
        result = subprocess.run([program, "--list"], capture_output=True, check=True, timeout=20, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NspawnError("the built-in root file system cannot be made", str(error)) from None
    names = [name for name in result.stdout.split() if name.strip(".") and "/" not in name]
    if "sh" not in names:
        raise NspawnError("the built-in root file system cannot be made", f"{program} has no shell")
    return names


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, 0o644)
