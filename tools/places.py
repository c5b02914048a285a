"""Where things are in the repository, and what the build knows of machines."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CACHE = HOME / ".cache"
STAMPS = CACHE / "setup"
VENV = HOME / ".venv"
PYTHON = VENV / "bin" / "python"
NSPAWN = HOME / "system" / "bin" / "nspawn"

OLDEST_PYTHON = (3, 11)
#: Debian's names by those of `uname -m`.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
