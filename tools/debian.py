"""Files of Debian's archive, pinned by version and sha256 in requirements/."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places
from tools.process import BuildError, say
from tools.stamps import digest_of, write_whole

ARCHIVE = "http://deb.debian.org/debian"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One line of debian.lock: a package file of Debian's archive."""

    package: str
    version: str
    architecture: str
    sha256: str
    place: str


def read_pins(text: str, architecture: str) -> list[Pin]:
    """The lines of debian.lock for one architecture. Raises BuildError when a line is wrong."""
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 5 or len(words[3]) != 64:
            raise BuildError(
                f"requirements/debian.lock:{number} is not: package version architecture sha256 place"
            )
        pin = Pin(package=words[0], version=words[1], architecture=words[2], sha256=words[3], place=words[4])
        if pin.architecture == architecture:
            pins.append(pin)
    return pins


def member_of_deb(deb: bytes, name: str) -> bytes:
    """A file of a .deb (an ar archive that holds data.tar.xz; man 5 deb). Raises BuildError without it."""
    if deb[:8] != b"!<arch>\n":
        raise BuildError("this is no Debian package")
    position = 8
    while position + 60 <= len(deb):
        header = deb[position : position + 60]
        size = int(header[48:58])
        content = deb[position + 60 : position + 60 + size]
        if header[:16].rstrip(b" /") == b"data.tar.xz":
            with tarfile.open(fileobj=io.BytesIO(lzma.decompress(content))) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name.removeprefix("./") == name else None
                    if file:
                        return file.read()
        position += 60 + size + size % 2
    raise BuildError(f"this Debian package has no {name}")


def fetch(url: str) -> bytes | None:
    """What is at a URL, or None when it is not there. Raises BuildError when the network does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (ARCHIVE is http)
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise BuildError(f"{url}: {error}") from error
    except OSError as error:
        raise BuildError(f"{url}: {error}", "Is this machine online?") from error


def apt_download(package: str) -> bytes | None:
    """The package file that this machine's apt has and has verified, or None."""
    if not shutil.which("apt-get"):
        return None
    folder = places.CACHE / "apt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ("-qq", "-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ("-qq",)
    words = ["apt-get", *options, "download", package]
    done = subprocess.run(words, cwd=folder, capture_output=True)
    files = list(folder.glob("*.deb")) if done.returncode == 0 else []
    return files[0].read_bytes() if files else None


def download_deb(pins: Sequence[Pin]) -> tuple[bytes, str]:
    """A pinned package file and its version: from our cache, from this machine's apt, or from the archive."""
    for pin in pins:
        cached = places.CACHE / "debs" / Path(pin.place).name
        if cached.exists() and digest_of(cached.read_bytes()) == pin.sha256:
            return cached.read_bytes(), pin.version
    for pin in pins:
        data = apt_download(f"{pin.package}={pin.version}") or fetch(f"{ARCHIVE}/{pin.place}")
        if data is not None:
            if digest_of(data) != pin.sha256:
                raise BuildError(f"{pin.place} has another sha256 than requirements/debian.lock says")
            write_whole(places.CACHE / "debs" / Path(pin.place).name, data)
            return data, pin.version
        say(f"Debian no longer has {pin.package} {pin.version}")
    data = apt_download(pins[0].package)
    if data is None:
        raise BuildError(
            f"no pinned {pins[0].package} is to be had", "Run `build.py lock`, then commit the locks."
        )
    say(f"using this machine's own {pins[0].package}, which apt has verified: run `build.py lock` to pin it")
    return data, "unpinned"
