"""The module as a root manager takes it: dist/nspawn-<version>-<arch>.zip, and what offers updates."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import places
from tools.bundle import TARGETS, Target, build_bundle, built_part, check_name, own_target, pack
from tools.process import BuildError, say
from tools.stamps import digest, digest_of, only_one, write_whole

#: What the managers run, and what they show. Each must be there.
SCRIPTS = ("customize.sh", "service.sh", "action.sh", "uninstall.sh")
FOLDERS = ("META-INF", "webroot", "share", "system/bin", "python/nspawn", "python/entry")
#: GitHub's and the managers' practical limit is far above; a phone's user pays for every byte.
LARGEST = 16 * 1024 * 1024
#: What compiling and editors leave in folders.
LITTER = re.compile(r".*(/|^)(__pycache__/.*|\.[^/]*|.*(\.pyc|\.orig|\.rej|\.swp|~))")
BINARY = (".png", ".jpg", ".ico", ".woff2", ".webp")


def current_version() -> str:
    """The version of this checkout."""
    text = (places.HOME / "python/nspawn/__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise BuildError("python/nspawn/__init__.py has no __version__")
    return found[1]


def configured_base_url() -> str:
    """Where zips and update files are published, as pyproject.toml says; "" for nowhere."""
    settings = tomllib.loads((places.HOME / "pyproject.toml").read_text())
    return str(settings["tool"]["nspawn"]["base-url"])


def version_code(version: str) -> int:
    """The integer that the managers compare. Raises BuildError for what is no version of ours."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,2})\.(\d{1,2})", version)
    if not found:
        raise BuildError(f"{version!r} is no version: three numbers are, like 1.2.3, the last two below 100")
    major, minor, patch = (int(part) for part in found.groups())
    return major * 10_000 + minor * 100 + patch


def properties(text: str, version: str, target: Target, base_url: str) -> str:
    """module.prop with the version, and where updates for this architecture are told of.

    base_url: "" for a module that looks for no updates.
    """
    lines = [
        line for line in text.splitlines() if not line.startswith(("version=", "versionCode=", "updateJson="))
    ]
    # KernelSU's reader takes the first line that looks right: id, name and author stay first.
    lines[3:3] = [f"version={version}", f"versionCode={version_code(version)}"]
    if base_url:
        lines.append(f"updateJson={base_url}/{update_file(target)}")
    return "".join(f"{line}\n" for line in lines)


def zip_file(version: str, target: Target) -> str:
    return f"nspawn-{version}-{target.name}.zip"


def update_file(target: Target) -> str:
    return f"update-{target.name}.json"


def update(version: str, target: Target, base_url: str) -> str:
    """What a manager reads at updateJson."""
    fields = {
        "version": version,
        "versionCode": version_code(version),
        "zipUrl": f"{base_url}/{zip_file(version, target)}",
        "changelog": f"{base_url}/changelog.md",
    }
    return json.dumps(fields, indent=2) + "\n"


def changes(text: str, version: str) -> str:
    """The part of CHANGELOG.md that tells of a version, else of what is not released yet."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for wanted in (f"[{version}]", "[Unreleased]"):
        for part in parts:
            if part.startswith(wanted):
                head, _, rest = part.partition("\n")
                return f"# nspawn {version}{head[len(wanted) :]}\n{rest.rstrip()}\n"
    raise BuildError(f"CHANGELOG.md tells neither of {version} nor of what is unreleased")


def module_files(home: Path) -> Iterator[tuple[str, Path, int]]:
    """Our own files: name in the zip, place, mode. Raises BuildError for what an installer could not take."""
    for script in SCRIPTS:
        if not (home / script).exists():
            raise BuildError(f"the module's {script} is missing")
        yield script, home / script, 0o755
    for folder in FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            name = str(path.relative_to(home))
            # The built-in rootfs of a checkout is this machine's; the bundle has the phone's.
            if path.is_dir() or LITTER.fullmatch(name) or name.startswith("share/builtin/"):
                continue
            yield name, path, 0o755 if path.stat().st_mode & 0o100 else 0o644


def check_file(name: str, path: Path) -> None:
    """Raise BuildError for a name or a content that breaks on a phone."""
    check_name(name)
    if path.is_symlink():
        raise BuildError(f"{name} is a symbolic link: busybox unzip breaks off at those")
    if not name.endswith(BINARY) and b"\r" in path.read_bytes():
        raise BuildError(f"{name} has a carriage return: the phone's shell takes it for a part of the line")


def build_zips(
    names: Sequence[str], *, version: str = "", base_url: str = "", output: Path | None = None
) -> int:
    """Build the zips of some architectures. Returns 0.

    version, base_url: "" for this checkout's. output: the folder, dist/ unless it is named.
    """
    output = output or places.HOME / "dist"
    version = version or current_version()
    version_code(version)
    base_url = (base_url or configured_base_url()).rstrip("/")
    if base_url and not re.fullmatch(r"https://[!-~]+", base_url):
        raise BuildError(
            f"{base_url!r} is no address of a server", "Managers fetch updates by https:// only."
        )
    with only_one():
        for name in names:
            started = time.monotonic()
            path, fresh = make_zip(TARGETS[name], version, base_url, output)
            size, took = path.stat().st_size / 2**20, time.monotonic() - started
            what = "" if fresh else "unchanged, "
            say(f"{os.path.relpath(path)}: {size:.2f} MiB ({what}{took:.1f} s)")
            publish_update(TARGETS[name], version, base_url, output)
        text = changes((places.HOME / "CHANGELOG.md").read_text(), version)
        write_whole(output / "changelog.md", text.encode())
    return 0


def make_zip(target: Target, version: str, base_url: str, folder: Path | None = None) -> tuple[Path, bool]:
    """One zip. Returns its place and whether it was made now. folder: dist/ unless it is named."""
    folder = folder or places.HOME / "dist"
    bundle = build_bundle(target)
    packer = build_bundle(own_target())
    work = places.CACHE / "zip" / target.name
    shutil.rmtree(work, ignore_errors=True)
    prop = properties((places.HOME / "module.prop").read_text(), version, target, base_url)
    write_whole(work / "module.prop", prop.encode())
    init = (places.HOME / "python/nspawn/__init__.py").read_text()
    init = re.sub(r'^__version__ = ".+"$', f'__version__ = "{version}"', init, flags=re.MULTILINE)
    write_whole(work / "__init__.py", init.encode())
    files = {name: (path, mode) for name, path, mode in module_files(places.HOME)}
    files["module.prop"] = (work / "module.prop", 0o644)
    files["python/nspawn/__init__.py"] = (work / "__init__.py", 0o644)
    for name, (path, _) in files.items():
        check_file(name, path)
    part = built_part(bundle, packer)
    inputs = [item for name, (path, mode) in sorted(files.items()) for item in (name, str(mode), path)]
    state = digest(places.HOME / "tools/pack.py", digest_of(part.read_bytes()), *inputs)
    output = folder / zip_file(version, target)
    made = places.CACHE / "zip" / f"{output.name}.made"
    fresh = not (
        output.exists()
        and made.exists()
        and made.read_text() == f"{state} {digest_of(output.read_bytes())}\n"
    )
    if fresh:
        folder.mkdir(parents=True, exist_ok=True)
        new = work / output.name
        pack(packer, new, [(name, path, mode) for name, (path, mode) in files.items()], [part])
        if new.stat().st_size > LARGEST:
            raise BuildError(
                f"{output.name} would have {new.stat().st_size} bytes, more than {LARGEST}",
                "See what grew: unzip -lv " + str(new),
            )
        shutil.move(new, output)
        write_whole(made, f"{state} {digest_of(output.read_bytes())}\n".encode())
    return output, fresh


def publish_update(target: Target, version: str, base_url: str, folder: Path) -> None:
    """Write the update file; none when no address is known, and an older one goes."""
    path = folder / update_file(target)
    if base_url:
        write_whole(path, update(version, target, base_url).encode())
    else:
        path.unlink(missing_ok=True)
        say(f"no {path.name}: neither --base-url nor pyproject.toml says where zips are published")
