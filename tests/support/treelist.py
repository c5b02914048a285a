"""What a file tree is, told by tools that are not ours: find, stat, sha256sum, getcap."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_FIND = r"%p|%y|%m|%U|%G|%n|%T@|%s|%l\n"
_SCRIPT = f"""
find . ! -type s -printf '{_FIND}' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
find . -type b -o -type c | LC_ALL=C sort | xargs -r stat -c '%n %t %T'
getcap -r . | LC_ALL=C sort
"""


def describe(tree: Path) -> list[str]:
    """A line for everything that a copy must have as well; sockets and times of access are left out."""
    told = subprocess.run(
        ["sh", "-c", _SCRIPT], cwd=tree, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    ).stdout.decode("utf-8", "surrogateescape")
    return [*told.splitlines(), *_attributes(tree)]


def _attributes(tree: Path) -> list[str]:
    found = []
    for folder, folders, files in os.walk(tree):
        for name in (".", *folders, *files):
            path = os.path.join(folder, name)
            for key in os.listxattr(path, follow_symlinks=False):
                value = os.getxattr(path, key, follow_symlinks=False)
                found.append(f"{os.path.relpath(path, tree)} {key} {value!r}")
    return sorted(set(found))


def blocks(path: Path) -> int:
    """What the file takes on the disk, in bytes."""
    return int(subprocess.run(["stat", "-c", "%b", path], capture_output=True, check=True).stdout) * 512


def enrich(tree: Path) -> None:
    """Put something of everything below `tree`/d."""
    place = tree / "d"
    place.mkdir()
    hole = place / "hole"
    with hole.open("wb") as file:
        file.truncate(50 << 20)
        for offset in (0, 1 << 20, 30 << 20):
            os.pwrite(file.fileno(), os.urandom(12288), offset)
    with (place / "void").open("wb") as file:
        file.truncate(20 << 20)
    (place / "large").write_bytes(os.urandom(1_000_001))
    os.link(hole, place / "hard")
    (place / "cap").write_text("#!")
    os.chown(place / "cap", 123, 456)
    subprocess.run(["setcap", "cap_net_raw+ep", place / "cap"], check=True)
    (place / "setuid").write_text("x")
    os.chown(place / "setuid", 1 << 22, (1 << 32) - 2)
    (place / "setuid").chmod(0o6755)
    os.setxattr(place, "user.folder", b"\xff\x00\xfe\n=")
    os.mknod(place / "null", 0o020640, os.makedev(1, 3))
    os.mknod(place / "disk", 0o060600, os.makedev(253, 70000))
    os.mkfifo(place / "fifo", 0o620)
    os.symlink("x" * 300, place / "link")
    os.lchown(place / "link", 7, 8)
    os.setxattr(place / "link", "trusted.t", b"\0\1", follow_symlinks=False)
    os.link(place / "link", place / "link2", follow_symlinks=False)
    (place / ("n" * 200) / ("m" * 200)).mkdir(parents=True)
    (place / ("n" * 200) / ("m" * 200) / "f").write_text("deep")
    (place / "new\nline").write_text("")
    with open(os.fsencode(place) + b"/\xff\xfe", "wb"):
        pass
    os.utime(place / "fifo", ns=(1, -(10**9) * 12345 + 5))
    os.utime(place, ns=(5, 981_173_106_123_456_789))
