"""A tiny rootfs: busybox and the few files that every peer expects."""

from __future__ import annotations

import shutil
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
_APPLETS = ("sh", "cat", "env", "ls", "mount", "sleep", "umount", "wc")
_FOLDERS = ("bin", "dev", "etc", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr/bin", "var")


def make(target: Path, hostname: str) -> Path:
    """Make the rootfs in `target`, which does not exist yet.

    /bin/true is a file of its own, so that who opens it can be watched; the host name's files are as
    nspawn would write them, so that every start is a second one.
    """
    for name in _FOLDERS:
        (target / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, target / "bin/busybox")
    shutil.copy2(BUSYBOX, target / "bin/true")
    for name in _APPLETS:
        (target / "bin" / name).hardlink_to(target / "bin/busybox")
    (target / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (target / "etc/group").write_text("root:x:0:\ntty:x:5:\n")
    (target / "etc/hostname").write_text(hostname + "\n")
    (target / "etc/hosts").write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n")
    (target / "etc/os-release").write_text("ID=busybox\nNAME=busybox\n")
    (target / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return target
