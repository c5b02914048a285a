"""The documents of an image server, in the shape that the public one has.

Made by hand from what is publicly known of it, as of the autumn of 2026: no recording.  Hashes, sizes and
times are invented.  The names, architectures and variants are what people see in its lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SERIALS = ("20261121_05:24", "20261122_05:24", "20261123_05:24")
_BOTH = ("amd64", "arm64")
_MORE = ("amd64", "arm64", "armhf", "riscv64")
_USUAL = ("default", "cloud")


@dataclass(frozen=True)
class Release:
    """words: what its aliases call it besides its name."""

    name: str
    words: tuple[str, ...] = ()
    title: str = ""
    arches: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    serials: tuple[str, ...] = SERIALS


@dataclass(frozen=True)
class Distribution:
    os: str
    releases: tuple[Release, ...]
    arches: tuple[str, ...] = _BOTH
    variants: tuple[str, ...] = _USUAL
    bare: tuple[str, ...] = field(default=())  # variants that an alias names without the release


def _plain(*names: str) -> tuple[Release, ...]:
    return tuple(Release(name) for name in names)


PUBLIC: Mapping[str, Distribution] = {
    "almalinux": Distribution("Almalinux", _plain("8", "9", "10")),
    "alpine": Distribution(
        "Alpine",
        _plain("3.20", "3.21", "3.22", "3.23", "edge"),
        _MORE,
        ("default", "cloud", "tinycloud"),
    ),
    "alt": Distribution("Alt", (Release("Sisyphus"), Release("p10"), Release("p11"))),
    "amazonlinux": Distribution("Amazonlinux", _plain("2", "2023"), variants=("default",)),
    "archlinux": Distribution("Archlinux", _plain("current"), bare=("default",)),
    "busybox": Distribution("Busybox", _plain("1.36.1"), variants=("default",)),
    "centos": Distribution("Centos", _plain("9-Stream", "10-Stream")),
    "debian": Distribution(
        "Debian",
        (
            Release("bullseye", ("11",), arches=("amd64", "arm64", "armhf")),
            Release("bookworm", ("12",), arches=("amd64", "arm64", "armhf")),
            Release("trixie", ("13",)),
            Release("forky", ("14",)),
        ),
        _MORE,
    ),
    "devuan": Distribution("Devuan", _plain("chimaera", "daedalus", "excalibur")),
    "fedora": Distribution("Fedora", _plain("42", "43", "44")),
    "gentoo": Distribution(
        "Gentoo", _plain("current"), variants=("cloud", "openrc", "systemd"), bare=("openrc", "systemd")
    ),
    "kali": Distribution("Kali", _plain("current")),
    "nixos": Distribution("Nixos", _plain("25.11", "26.05", "unstable"), variants=("default",)),
    "openeuler": Distribution("Openeuler", _plain("20.03", "22.03", "24.03", "25.09")),
    "opensuse": Distribution("Opensuse", _plain("15.6", "16.0", "tumbleweed")),
    "openwrt": Distribution("Openwrt", _plain("23.05", "24.10", "snapshot"), variants=("default",)),
    "oracle": Distribution("Oracle", _plain("8", "9", "10")),
    "rockylinux": Distribution("Rockylinux", _plain("8", "9", "10")),
    "ubuntu": Distribution(
        "Ubuntu",
        (
            Release("jammy", ("22.04",), arches=_BOTH),
            Release("noble", ("24.04",)),
            Release("questing", ("25.10",)),
            Release("resolute", ("26.04",)),
        ),
        _MORE,
    ),
    "voidlinux": Distribution("Voidlinux", _plain("current"), variants=("default", "musl"), bare=("musl",)),
}


def index(paths: Sequence[str] = ("streams/v1/images.json",), keys: Sequence[str] = ()) -> dict[str, Any]:
    """streams/v1/index.json."""
    return {
        "format": "index:1.0",
        "index": {
            "images" if number == 0 else f"images-{number}": {
                "datatype": "image-downloads",
                "format": "products:1.0",
                "path": path,
                "products": list(keys),
            }
            for number, path in enumerate(paths)
        },
    }


def products(entries: Mapping[str, Any]) -> dict[str, Any]:
    """streams/v1/images.json of these products."""
    return {
        "content_id": "images",
        "datatype": "image-downloads",
        "format": "products:1.0",
        "products": dict(entries),
    }


def product(
    key: str, *, serials: Mapping[str, Any], os: str = "", title: str = "", aliases: Sequence[str] = ()
) -> dict[str, Any]:
    """One product.  serials: the items of every version."""
    distribution, release, arch, variant = key.split(":")
    return {
        "aliases": ",".join(aliases),
        "arch": arch,
        "lxc_requirements": {},
        "os": os or distribution.capitalize(),
        "release": release,
        "release_title": title or release,
        "requirements": {},
        "variant": variant,
        "versions": {serial: {"items": items} for serial, items in serials.items()},
    }


def items(folder: str, size: int, sha256: str) -> dict[str, Any]:
    """What a version holds.  size, sha256: of the archive."""
    other = hashlib.sha256(folder.encode()).hexdigest()
    return {
        "incus.tar.xz": {
            "combined_sha256": other,
            "combined_squashfs_sha256": other,
            "ftype": "incus.tar.xz",
            "path": f"{folder}/incus.tar.xz",
            "sha256": other,
            "size": 812,
        },
        "root.squashfs": {
            "ftype": "squashfs",
            "path": f"{folder}/rootfs.squashfs",
            "sha256": other,
            "size": size + 4096,
        },
        "root.tar.xz": {
            "ftype": "root.tar.xz",
            "path": f"{folder}/rootfs.tar.xz",
            "sha256": sha256,
            "size": size,
        },
    }


def public() -> dict[str, Any]:
    """The document of all that the public server has."""
    entries = {}
    for name, each in PUBLIC.items():
        for release in each.releases:
            for arch in release.arches or each.arches:
                for variant in release.variants or each.variants:
                    key = f"{name}:{release.name}:{arch}:{variant}"
                    entries[key] = product(
                        key,
                        os=each.os,
                        title=release.title,
                        aliases=list(_aliases(name, each, release, variant)),
                        serials={
                            serial: items(f"images/{key.replace(':', '/')}/{serial}", *_invented(key, serial))
                            for serial in release.serials
                        },
                    )
    return products(entries)


def public_bytes() -> bytes:
    return json.dumps(public()).encode()


def _aliases(name: str, each: Distribution, release: Release, variant: str) -> Iterator[str]:
    for word in (release.name, *release.words):
        yield f"{name}/{word}/{variant}"
        if variant == "default":
            yield f"{name}/{word}"
    if variant in each.bare:
        yield f"{name}/{variant}"
        if variant == each.bare[0]:
            yield name


def _invented(key: str, serial: str) -> tuple[int, str]:
    digest = hashlib.sha256(f"{key} {serial}".encode()).hexdigest()
    return 1_000_000 + int(digest[:6], 16) * 12, digest
