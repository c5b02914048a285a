"""Root file systems for tests: Debian by mmdebstrap, built once a machine; a small busybox one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import check, run

SUITE = "trixie"
PLAIN = ("busybox-static",)
WITH_SYSTEMD = ("systemd", "systemd-sysv", "dbus", "iproute2", "procps")
WITH_RESOLVER = (*WITH_SYSTEMD, "systemd-resolved", "libnss-resolve", "libnss-myhostname")

#: Raised when the way of building changes, so that an old cache is not used.
_RECIPE = "1"
_FOLDERS = (
    *("bin", "dev", "etc", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var"),
    *("usr/bin", "usr/sbin"),
)
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def cache_folder(repository: Path) -> Path:
    """NSPAWN_TEST_CACHE, else .cache/rootfs of the checkout (ignored by git)."""
    chosen = os.environ.get("NSPAWN_TEST_CACHE")
    return Path(chosen) if chosen else repository / ".cache" / "rootfs"


def mirror() -> str:
    """The Debian archive that this machine's own apt uses."""
    found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for line in found.lines:
        if line.rstrip("/").endswith("/debian"):
            return line.rstrip("/")
    return "http://deb.debian.org/debian"


def debian(cache: Path, packages: Sequence[str]) -> Path:
    """The folder of a finished Debian (minbase and these packages); built when it is not there.

    Treat it as read-only.  It appears under its name only when it is complete; of two builders at
    the same time one waits.
    """
    words = ",".join(sorted(packages))
    key = hashlib.sha256(f"{_RECIPE} {platform.machine()} {words}".encode()).hexdigest()[:12]
    place = cache / f"{SUITE}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{place.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return place
        half = cache / f"{place.name}.half"
        shutil.rmtree(half, ignore_errors=True)
        check(
            [
                "mmdebstrap",
                "--mode=root",
                "--variant=minbase",
                f"--include={words}",
                *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
                '--aptopt=APT::Sandbox::User "root"',
                "--quiet",
                SUITE,
                str(half),
                f"deb {mirror()} {SUITE} main",
            ],
            timeout=300,
        )
        half.rename(place)
    return place


def write_busybox(place: Path) -> Path:
    """A rootfs of one static program and its links."""
    for folder in _FOLDERS:
        (place / folder).mkdir(parents=True)
    (place / "tmp").chmod(0o1777)
    (place / "root").chmod(0o700)
    shutil.copy2("/bin/busybox", place / "bin" / "busybox")
    for name in check(["/bin/busybox", "--list"]).lines:
        if name != "busybox":
            (place / "bin" / name).symlink_to("busybox")
    (place / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    )
    (place / "etc" / "group").write_text("root:x:0:\nguest:x:1000:\ngames:x:60:guest\nnogroup:x:65534:\n")
    (place / "etc" / "hosts").write_text("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
    return place


def copy(source: Path, place: Path) -> Path:
    """A full private copy, sharing blocks where the file system can."""
    check(["cp", "-a", "--reflink=auto", source, place], timeout=120)
    return place


@contextmanager
def layered(source: Path, place: Path) -> Iterator[Path]:
    """A private copy that costs nothing: an overlay on the source; a full copy without overlayfs."""
    parts = [place.with_name(f"{place.name}.{part}") for part in ("upper", "work")]
    for folder in (place, *parts):
        folder.mkdir()
    options = f"lowerdir={source},upperdir={parts[0]},workdir={parts[1]}"
    if run(["mount", "-t", "overlay", "-o", options, "overlay", place]).status:
        place.rmdir()
        yield copy(source, place)
        return
    try:
        yield place
    finally:
        if run(["umount", place]).status:
            check(["umount", "-l", place])
