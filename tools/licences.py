"""The licences of what the bundle holds, and where its sources are: share/licenses/."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from tools import places
from tools.deb import Files
from tools.debian import Pin
from tools.process import BuildError
from tools.wheels import Wheel

FOLDER = "share/licenses"
#: Our own, in this repository.
OURS = ("LICENSE", "NOTICE")


def licences(
    debian: Files, pins: Mapping[str, Pin], wheels: Sequence[Wheel], packages: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Every text by its path in the module. packages: the wheels' content by their names.

    Raises BuildError for a package that brings none.
    """
    found = {f"nspawn/{name}": (places.HOME / name).read_bytes() for name in OURS}
    for name in pins:
        text = debian.read(f"usr/share/doc/{name}/copyright")
        found[f"{name}/copyright"] = text
        # Debian's texts name the well-known licences by their place in base-files.
        for common in re.findall(rb"/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text):
            path = f"common-licenses/{common.decode()}"
            found[path] = debian.read(f"usr/share/{path}")
    for name, content in packages.items():
        texts = wheel_licences(content)
        if not texts:
            raise BuildError(f"the wheel of {name} has no licence file")
        found |= {f"{name}/{file}": text for file, text in texts.items()}
    found["SOURCES"] = sources(pins, wheels).encode()
    return {f"{FOLDER}/{name}": text for name, text in without_repetitions(found).items()}


def without_repetitions(texts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The texts with LF endings; a long one that was there before becomes a line that says where."""
    found: dict[str, bytes] = {}
    first: dict[bytes, str] = {}
    for name, text in texts.items():
        text = text.replace(b"\r\n", b"\n")
        before = first.setdefault(text, name)
        found[name] = text if before == name or len(text) < 4096 else f"The same text as {before}\n".encode()
    return found


def wheel_licences(content: bytes) -> dict[str, bytes]:
    """Licences and notices of a wheel by their names: those of its metadata (PEP 639)."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        for info in wheel.infolist():
            path = PurePosixPath(info.filename)
            if path.parts[0].endswith(".dist-info") and path.name.startswith(("LICEN", "NOTICE", "COPYING")):
                found[path.name] = wheel.read(info)
    return found


def sources(pins: Mapping[str, Pin], wheels: Sequence[Wheel]) -> str:
    """A line for each package: what it is, and where its source is."""
    lines = ["What this module holds beside its own program, and where the sources are.", ""]
    for pin in pins.values():
        source = PurePosixPath(pin.place).parent.name
        lines.append(f"{pin.package} {pin.version}: Debian, https://sources.debian.org/src/{source}/")
    lines += [
        f"{wheel.name} {wheel.version}: PyPI, https://pypi.org/project/{wheel.name}/{wheel.version}/"
        for wheel in wheels
    ]
    return "".join(f"{line}\n" for line in lines)
