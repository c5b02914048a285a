"""The zips that `build.py zip` makes, for tests of the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.command import check
from tools import places
from tools.bundle import MODULE, TARGETS, Target
from tools.zip import current_version, zip_file

#: The module's place, below a root.
PLACE = MODULE.lstrip("/")


def build_zip(target: Target, version: str = "") -> Path:
    """The zip of this checkout as it is now, under this version; a moment when it was made before."""
    words = [sys.executable, str(places.HOME / "build.py"), "zip", "--arch", target.name]
    check([*words, *(["--version", version] if version else [])], timeout=600)
    return places.HOME / "dist" / zip_file(version or current_version(), target)


def unpack(zip_path: Path, folder: Path) -> Path:
    """Install as customize.sh does, as far as files go: busybox's unzip, then the modes that it may lose."""
    folder.mkdir(parents=True)
    words = ["busybox", "unzip", "-qo", str(zip_path), "-x", "META-INF/*", "-d", str(folder)]
    subprocess.run(words, check=True)
    for program in ("python/bin/*", "python/lib/ld-linux*", "system/bin/*", "share/builtin/*/busybox"):
        for path in folder.glob(program):
            path.chmod(0o755)
    return folder


__all__ = ["PLACE", "TARGETS", "build_zip", "unpack"]
