"""The bundle's Python packages: wheels, pinned file by file in requirements/wheels.lock."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places
from tools.process import BuildError, execute, say
from tools.stamps import digest_of, write_whole

PYTHON = "3.13"
#: For packages that have no wheel for any machine: their machine code is left out of the bundle.
PLATFORM = "manylinux2014_x86_64"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One line of wheels.lock."""

    name: str
    version: str
    sha256: str
    file: str


def lock_file() -> Path:
    """Which wheels the bundle holds."""
    return places.HOME / "requirements/wheels.lock"


def requirements_of(text: str) -> list[tuple[str, str, list[str]]]:
    """Name, version and hashes of every package of a lock that pip-compile wrote."""
    found = []
    for entry in text.replace("\\\n", " ").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+) ", entry)
        if match:
            found.append((match[1], match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
    return found


def read_wheels(text: str) -> list[Wheel]:
    """The lines of wheels.lock. Raises BuildError when a line is wrong."""
    wheels = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 4 or len(words[2]) != 64 or not words[3].endswith(".whl"):
            raise BuildError(f"requirements/wheels.lock:{number} is not: package version sha256 file.whl")
        wheels.append(Wheel(name=words[0], version=words[1], sha256=words[2], file=words[3]))
    return wheels


def pip_download(python: Path, requirements: Sequence[str], folder: Path, system: str) -> None:
    """Let pip fetch wheels for the bundle's Python; it refuses files whose hash is not among them."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{line}\n" for line in requirements))
        file.flush()
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes")
        target = ("--only-binary=:all:", "--platform", system, "--python-version", PYTHON)
        execute(python, "-m", "pip", "download", *options, *target, "-d", folder, "-r", file.name, show=False)


def download_wheels(wheels: Sequence[Wheel]) -> dict[str, bytes]:
    """Every wheel's content by its package: from our cache, else by pip. Raises BuildError by name."""
    folder = places.CACHE / "wheels"
    found = {}
    for wheel in wheels:
        path = folder / wheel.file
        if path.exists() and digest_of(path.read_bytes()) == wheel.sha256:
            found[wheel.name] = path.read_bytes()
            continue
        if path.exists():
            say(f"{path.relative_to(places.CACHE.parent)} was altered: fetching it anew")
            path.unlink()
        say(f"fetching {wheel.file}")
        with tempfile.TemporaryDirectory(dir=places.CACHE) as fetched:
            line = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"
            try:
                pip_download(places.PYTHON, [line], Path(fetched), PLATFORM)
                data = (Path(fetched) / wheel.file).read_bytes()
            except (BuildError, OSError) as error:
                raise BuildError(
                    f"pip gives no {wheel.file} with the sha256 of requirements/wheels.lock",
                    "Is this machine online? If the file is gone, run `build.py lock` and commit the locks.",
                ) from error
        if digest_of(data) != wheel.sha256:
            raise BuildError(f"{wheel.file} has another sha256 than requirements/wheels.lock says")
        write_whole(path, data)
        found[wheel.name] = data
    return found
