"""For which machine an image is: the names of the OCI, and which of an index's images fits."""

from __future__ import annotations

from dataclasses import dataclass

from nspawn.errors import UsageError

#: By what uname(2), Debian, Go and people call a machine: (architecture, variant) as Go names them.
_NAMES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "arm64": ("arm64", "v8"),
    "armv8l": ("arm", "v7"),  # a 64-bit processor with a 32-bit program
    "armv7l": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "arm": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv6": ("arm", "v6"),
    "armel": ("arm", "v5"),
    "armv5l": ("arm", "v5"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86": ("386", ""),
    "386": ("386", ""),
    "riscv64": ("riscv64", ""),
    "ppc64le": ("ppc64le", ""),
    "ppc64el": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "loongarch64": ("loong64", ""),
    "loong64": ("loong64", ""),
    "mips64": ("mips64le", ""),  # uname(2) does not tell the byte order; Linux images are little-endian
    "mips64el": ("mips64le", ""),
    "mips64le": ("mips64le", ""),
}
#: Which variants of an architecture run on a machine of the first, the best first.  An image that tells
#: none has "": it is for the usual machine of its architecture.
_RUNS: dict[tuple[str, str], tuple[str, ...]] = {
    ("amd64", ""): ("", "v1"),
    ("arm64", "v8"): ("v8", "", "v8.0"),
    ("arm", "v7"): ("v7", "", "v6", "v5"),
    ("arm", "v6"): ("v6", "v5", ""),
    ("arm", "v5"): ("v5", ""),
}
#: What people and image servers call those whose name by Go is another.
_COMMON = {("arm", "v7"): "armhf", ("arm", "v6"): "armel", ("arm", "v5"): "armel", ("386", ""): "i386"}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """os, architecture and variant as an image tells them; "" for what it does not."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part) or "unknown"


def parse(name: str) -> Platform:
    """The platform of a machine, from `aarch64`, `arm64`, `armhf`, `linux/arm/v7`; or UsageError."""
    words = name.strip().lower().removeprefix("linux/").split("/")
    known = _NAMES.get(words[0])
    if known is None or len(words) > 2:
        raise UsageError(
            f"{name[:40]!r} is not an architecture", hint="As in: amd64, arm64, armhf, i386, riscv64."
        )
    variant = words[1] if len(words) == 2 else known[1]
    return Platform(os="linux", architecture=known[0], variant=variant)


def fit(machine: Platform, image: Platform) -> int | None:
    """How well an image's platform fits the machine: 0 best; None when it does not run there."""
    if image.os != machine.os or image.architecture != machine.architecture:
        return None
    variants = _RUNS.get((machine.architecture, machine.variant), (machine.variant, ""))
    try:
        return variants.index(image.variant)
    except ValueError:
        return None


def name(machine: Platform) -> str:
    """`arm64`, `armhf`, `i386`: as the image server and its users call the machine."""
    return _COMMON.get((machine.architecture, machine.variant), machine.architecture)
