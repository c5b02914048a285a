"""Files of Debian's archive, pinned by version and sha256 in requirements/debian.lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places
from tools.process import BuildError, say
from tools.stamps import digest_of, write_whole

#: Where places in the archive are, by how they begin: security updates have a server folder of their own.
ARCHIVES = {
    "pool/updates/": "http://deb.debian.org/debian-security",
    "": "http://deb.debian.org/debian",
}


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One line of debian.lock: a package file of Debian's archive."""

    package: str
    version: str
    architecture: str
    sha256: str
    place: str

    @property
    def file(self) -> str:
        """The name of the package file."""
        return Path(self.place).name

    @property
    def url(self) -> str:
        base = next(url for start, url in ARCHIVES.items() if self.place.startswith(start))
        return f"{base}/{self.place}"


def lock_file() -> Path:
    """The one lock of everything that comes from Debian's archive."""
    return places.HOME / "requirements/debian.lock"


def read_pins(text: str, architecture: str, package: str = "") -> list[Pin]:
    """The lines of debian.lock for one architecture, and for one package when it is named.

    Raises BuildError when a line is wrong.
    """
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
        if pin.architecture in (architecture, "all") and package in ("", pin.package):
            pins.append(pin)
    return pins


def only_pin(text: str, architecture: str, package: str) -> Pin:
    """The pin that a reproducible build must use: the first. Raises BuildError when there is none."""
    pins = read_pins(text, architecture, package)
    if not pins:
        raise BuildError(
            f"requirements/debian.lock has no {package} for {architecture}",
            "Run `build.py lock`, then commit the locks.",
        )
    return pins[0]


def fetch(url: str) -> bytes | None:
    """What is at a URL, or None when it is not there. Raises BuildError when the network does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (ARCHIVES are http)
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


def cached_deb(pin: Pin) -> bytes | None:
    """The package file from our cache, when it is the pinned one."""
    cached = places.CACHE / "debs" / pin.file
    if not cached.exists():
        return None
    data = cached.read_bytes()
    if digest_of(data) == pin.sha256:
        return data
    say(f"{cached.relative_to(places.CACHE.parent)} was altered: fetching it anew")
    return None


def keep_deb(pin: Pin, data: bytes) -> bytes:
    """Cache what was fetched for a pin. Raises BuildError when it is something else."""
    if digest_of(data) != pin.sha256:
        raise BuildError(
            f"{pin.place} has another sha256 than requirements/debian.lock says",
            f"Expected {pin.sha256}, got {digest_of(data)} ({len(data)} bytes).",
        )
    write_whole(places.CACHE / "debs" / pin.file, data)
    return data


def download_pinned(pin: Pin) -> bytes:
    """Exactly this package file, or BuildError: what is built from it must be the same everywhere."""
    data = cached_deb(pin)
    if data is not None:
        return data
    say(f"fetching Debian's {pin.file}")
    data = fetch(pin.url)
    if data is None:
        raise BuildError(
            f"Debian no longer has {pin.place}",
            "Run `build.py lock` to pin what it has now; commit the lock.",
        )
    return keep_deb(pin, data)


def download_deb(pins: Sequence[Pin]) -> tuple[bytes, str]:
    """A pinned package file and its version: from our cache, from this machine's apt, or from the archive.

    For a checkout, which shall work when Debian has moved on: any of the pins will do, then apt's own.
    """
    for pin in pins:
        data = cached_deb(pin)
        if data is not None:
            return data, pin.version
    for pin in pins:
        data = apt_download(f"{pin.package}={pin.version}") or fetch(pin.url)
        if data is not None:
            return keep_deb(pin, data), pin.version
        say(f"Debian no longer has {pin.package} {pin.version}")
    data = apt_download(pins[0].package)
    if data is None:
        raise BuildError(
            f"no pinned {pins[0].package} is to be had", "Run `build.py lock`, then commit the locks."
        )
    say(f"using this machine's own {pins[0].package}, which apt has verified: run `build.py lock` to pin it")
    return data, "unpinned"
