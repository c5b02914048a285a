"""Debian's archive by its signed lists, read with an apt that knows nothing of this machine."""

from __future__ import annotations

import re
import subprocess

from tools import places
from tools.debian import ARCHIVES
from tools.process import execute, output_of


class Lists:
    """The packages of one release for one architecture. updates: those since its last point release too.

    Making one fetches the lists.
    """

    def __init__(self, suite: str, architecture: str, *, updates: bool = True) -> None:
        folder = places.CACHE / "lock" / suite / architecture
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        signed = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
        security, main = ARCHIVES["pool/updates/"], ARCHIVES[""]
        sources = [(main, suite)]
        if updates:
            sources += [(main, f"{suite}-updates"), (security, f"{suite}-security")]
        text = "".join(f"deb [{signed}] {archive} {name} main\n" for archive, name in sources)
        (folder / "sources.list").write_text(text)
        settings = {
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",
            # An apt that goes on with old lists would pin what is gone.
            "APT::Update::Error-Mode": "any",
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        execute("apt-get", *self._options, "update", "-qq", output=subprocess.DEVNULL)

    def names(self, start: str) -> list[str]:
        """The packages whose names begin so."""
        return output_of("apt-cache", *self._options, "pkgnames", start).split()

    def line(self, package: str) -> str:
        """The line of a lock file for the newest version of a package."""
        shown = output_of("apt-cache", *self._options, "show", "--no-all-versions", package)
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", shown, re.MULTILINE))
        return " ".join(fields[key] for key in ("Package", "Version", "Architecture", "SHA256", "Filename"))
