"""Lock files: newest versions with the hashes of all their files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tools import places
from tools.archive import Lists
from tools.bundle import PACKAGES as BUNDLED
from tools.debian import lock_file
from tools.environment import base_python
from tools.kernels import lock_kernels
from tools.node import VENDORED, setup_node
from tools.process import BuildError, execute
from tools.stamps import digest_of, only_one, write_whole
from tools.wheels import PLATFORM, pip_download, requirements_of

PIP_TOOLS = "pip-tools==7.6.2"
#: By Debian release: packages whose files are pinned, for every architecture. The order is debian.lock's.
DEBIAN = {
    "trixie": ("qemu-user", *BUNDLED),
    "bookworm": ("busybox-static",),
}


def lock() -> int:
    """Renew every lock file: newest versions, hashes of all their files. Needs the network."""
    tools = places.CACHE / "pip-tools"
    execute(base_python(), "-m", "venv", "--clear", tools)
    execute(tools / "bin/pip", "install", "--quiet", PIP_TOOLS)
    options = (
        "--quiet --upgrade --generate-hashes --strip-extras --no-header --no-emit-options --no-emit-index-url"
    )
    for name in ("run", "dev", "zip"):
        words = (*options.split(), "--no-emit-find-links", "-o", f"{name}.lock", f"{name}.in")
        execute(tools / "bin/pip-compile", *words, cwd=places.HOME / "requirements")
    lock_wheels(tools / "bin/python")
    execute("npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
    with only_one():
        setup_node()
    for name, source in VENDORED.items():
        data = (places.HOME / "node_modules" / source).read_bytes()
        write_whole(places.HOME / "webroot/vendor" / name, data)
    lock_debian()
    lock_kernels()
    return 0


def head_of(path: Path) -> list[str]:
    """The comment that a lock file of ours begins with."""
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def lock_wheels(python: Path) -> None:
    """Renew wheels.lock: of the files that run.lock allows, those that the bundle takes."""
    path = places.HOME / "requirements/wheels.lock"
    run_lock = (places.HOME / "requirements/run.lock").read_text()
    lines = []
    for name, version, hashes in requirements_of(run_lock):
        folder = places.CACHE / "lock" / "wheels" / name
        shutil.rmtree(folder, ignore_errors=True)
        wanted = [f"{name}=={version}", *(f"--hash=sha256:{value}" for value in hashes)]
        for system in ("any", PLATFORM):
            # A wheel without machine code serves both architectures.
            try:
                pip_download(python, [" ".join(wanted)], folder, system)
                break
            except BuildError:
                if system == PLATFORM:
                    raise
        (file,) = folder.iterdir()
        lines.append(f"{name} {version} {digest_of(file.read_bytes())} {file.name}")
    write_whole(path, "\n".join([*head_of(path), *lines, ""]).encode())


def lock_debian() -> None:
    """Renew debian.lock from the archive's signed lists, by an apt that knows nothing of this machine."""
    path = lock_file()
    found = {
        (suite, package, architecture): line
        for suite, packages in DEBIAN.items()
        for architecture in places.ARCHITECTURES.values()
        for package, line in newest(suite, architecture, packages).items()
    }
    lines = [
        found[suite, package, architecture]
        for suite, packages in DEBIAN.items()
        for package in packages
        for architecture in places.ARCHITECTURES.values()
    ]
    # A package for all architectures comes once.
    write_whole(path, "\n".join([*head_of(path), *dict.fromkeys(lines), ""]).encode())


def newest(suite: str, architecture: str, packages: Iterable[str]) -> dict[str, str]:
    """The lines of debian.lock for some packages of one release, its updates included."""
    lists = Lists(suite, architecture)
    return {package: lists.line(package) for package in packages}
