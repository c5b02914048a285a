"""Pinned package files of Debian, for what runs inside the emulated phone.

    python -m tests.support.phone.debs      renews requirements/phone.lock (needs the network)

They are never installed on this machine: single files are taken out of them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.command import check
from tools.debian import Pin, read_pins

REPOSITORY = Path(__file__).resolve().parents[3]
LOCK = REPOSITORY / "requirements" / "phone.lock"
ARCHIVE = "http://deb.debian.org/debian"
SUITE = "trixie"
ARCHITECTURES = ("amd64", "arm64")

#: What the phone runs, and the libraries of that.  No dependency is followed: tree.py says what is missing.
PACKAGES = (
    *("busybox-static", "ca-certificates", "iproute2", "iptables", "libc-bin", "libc6", "mksh", "toybox"),
    *("libbpf1", "libcap2", "libcom-err2", "libcrypt1", "libdb5.3t64", "libelf1t64", "libgssapi-krb5-2"),
    *("libip4tc2", "libip6tc2", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libmnl0"),
    *("libnetfilter-conntrack3", "libnfnetlink0", "libnftnl11", "libpcre2-8-0", "libselinux1"),
    *("libssl3t64", "libtirpc3t64", "libxtables12", "libzstd1", "zlib1g"),
)
#: What runs on this machine to carry arm64 programs.
CARRIERS = ("qemu-user",)


class Unobtainable(RuntimeError):
    """A package file is not to be had as the lock has it."""


def pins(architecture: str, names: Sequence[str], lock: Path = LOCK) -> list[Pin]:
    """The locked files of these packages.  Raises Unobtainable when one is not in the lock."""
    found = {pin.package: pin for pin in read_pins(lock.read_text(), architecture)}
    missing = [name for name in names if name not in found]
    if missing:
        raise Unobtainable(f"{lock.name} has no {architecture} package {', '.join(missing)}")
    return [found[name] for name in names]


def fetch(pin: Pin, cache: Path) -> bytes:
    """The package file, from the cache or from Debian's archive.  Raises Unobtainable."""
    kept = cache / Path(pin.place).name
    if kept.exists():
        data = kept.read_bytes()
        if hashlib.sha256(data).hexdigest() == pin.sha256:
            return data
    url = f"{ARCHIVE}/{pin.place}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            fetched: bytes = answer.read()
    except OSError as error:
        raise Unobtainable(
            f"{url}: {error} (a point release may have replaced it: "
            "`python -m tests.support.phone.debs` renews the lock)"
        ) from error
    if hashlib.sha256(fetched).hexdigest() != pin.sha256:
        raise Unobtainable(f"{url} has another sha256 than requirements/phone.lock says")
    cache.mkdir(parents=True, exist_ok=True)
    half = kept.with_name(f"{kept.name}.{os.getpid()}")
    half.write_bytes(fetched)
    half.replace(kept)
    return fetched


def extract(architecture: str, names: Sequence[str], cache: Path, target: Path) -> None:
    """Put the files of these packages below a folder."""
    target.mkdir(parents=True)
    for pin in pins(architecture, names):
        parts = dict(_parts(fetch(pin, cache)))
        check(["tar", "-xJ", "-C", target], stdin=parts["data.tar.xz"], timeout=60)


def _parts(deb: bytes) -> Iterator[tuple[str, bytes]]:
    """A package is an ar archive, with its files in data.tar.xz (deb(5))."""
    position = 8
    while deb[:8] == b"!<arch>\n" and position + 60 <= len(deb):
        header = deb[position : position + 60]
        size = int(header[48:58])
        yield header[:16].decode().rstrip(" /"), deb[position + 60 : position + 60 + size]
        position += 60 + size + size % 2


def renew(work: Path, lock: Path = LOCK) -> None:
    """Write the lock anew from Debian's signed lists, by an apt that knows nothing of this machine."""
    lines = [
        "# What runs in the emulated phone of the tests: PACKAGE VERSION ARCHITECTURE SHA256 PLACE",
        "# `python -m tests.support.phone.debs` renews this file.",
    ]
    for architecture in ARCHITECTURES:
        folder = work / SUITE / architecture
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        signed = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
        (folder / "sources.list").write_text(f"deb [{signed}] {ARCHIVE} {SUITE} main\n")
        settings = {
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        check(["apt-get", *options, "update", "-qq"], timeout=120)
        wanted = [*PACKAGES, *(CARRIERS if architecture == "amd64" else ())]
        shown = check(["apt-cache", *options, "show", "--no-all-versions", *wanted]).out
        for paragraph in shown.strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
            lines.append(
                f"{fields['Package']} {fields['Version']} {architecture} {fields['SHA256']} "
                f"{fields['Filename']}"
            )
    lock.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    renew(REPOSITORY / ".cache" / "phone" / "lock")
    sys.stdout.write(f"renewed {LOCK}\n")
