"""What holds for the repository as a whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nspawn
from tools import node, places, process

HOME = places.HOME
WRAPPERS = ("nspawn", "nspawn-mini", "getroot")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    if not shutil.which("git") or not (HOME / ".git").exists():
        pytest.skip("not a git checkout")
    listed = process.output_of("git", "ls-files", "-z").split("\0")
    return [name for name in listed if name and (HOME / name).is_file()]


def module_properties() -> dict[str, str]:
    lines = (HOME / "module.prop").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_one_version() -> None:
    properties = module_properties()
    assert properties["version"] == nspawn.__version__
    major, minor, patch = (int(part) for part in nspawn.__version__.split("."))
    assert properties["versionCode"] == str(major * 10_000 + minor * 100 + patch)


def test_the_module_names_itself_first() -> None:
    """KernelSU's reader takes the first line that looks right, wherever in a line it does."""
    assert list(module_properties())[:3] == ["id", "name", "author"]
    assert module_properties()["id"] == "nspawn"


def test_nothing_generated_is_tracked(tracked: list[str]) -> None:
    ignored = process.output_of("git", "ls-files", "--cached", "--ignored", "--exclude-standard")
    assert ignored == ""
    ends = (".pyc", ".so", ".deb", ".whl", ".zip", ".part", "~", ".orig")
    assert [name for name in tracked if name.endswith(ends)] == []


def test_lines_end_as_unix_does(tracked: list[str]) -> None:
    """CR ends no line in ash: a script with one breaks on the phone."""
    texts = {name: (HOME / name).read_bytes() for name in tracked}
    texts = {name: data for name, data in texts.items() if b"\0" not in data}
    assert [name for name, data in texts.items() if b"\r\n" in data] == []
    ours = {name: data for name, data in texts.items() if not name.startswith("webroot/vendor/")}
    assert [name for name, data in ours.items() if data and not data.endswith(b"\n")] == []


def test_scripts_are_executable_and_the_rest_is_not(tracked: list[str]) -> None:
    for name in tracked:
        with (HOME / name).open("rb") as file:
            starts_like_a_program = file.read(2) == b"#!"
        assert os.access(HOME / name, os.X_OK) == starts_like_a_program or os.path.islink(HOME / name), name


def test_names_have_no_blanks(tracked: list[str]) -> None:
    """The managers' installers do not quote names."""
    assert [name for name in tracked if not name.isascii() or " " in name] == []


def test_packages_point_one_way() -> None:
    """The import contract of pyproject.toml; each broken edge is printed."""
    environment = dict(os.environ, PYTHONPATH=str(HOME / "python"))
    words = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(words, cwd=HOME, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_names_every_package() -> None:
    text = (HOME / "pyproject.toml").read_text()
    packages = [path.name for path in (HOME / "python/nspawn").iterdir() if (path / "__init__.py").exists()]
    contract = text[text.index("[tool.importlinter]") : text.index("[tool.codespell]")]
    assert [name for name in packages if name not in contract] == []


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock"])
def test_every_python_package_is_pinned_by_hash(lock: str) -> None:
    text = (HOME / "requirements" / lock).read_text()
    entries = [
        entry
        for entry in text.replace("\\\n", " ").splitlines()
        if entry.strip() and not entry.lstrip().startswith("#")
    ]
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_committed_files_of_packages_are_the_packages_own() -> None:
    if not (HOME / "node_modules").is_dir():
        pytest.skip("no node_modules: build.py test makes it")
    assert node.vendored_differences() == []


# ---- the wrappers, with a stand-in for Python that shows how it was started

STAND_IN = """#!/bin/sh
printf '%s\\n' "$0" "$@" "LD_PRELOAD=${LD_PRELOAD-unset}" "LD_LIBRARY_PATH=${LD_LIBRARY_PATH-unset}"
"""


def checkout(folder: Path, python: str) -> Path:
    """A copy of the wrappers beside a stand-in at `python`."""
    shutil.copytree(HOME / "system/bin", folder / "system/bin")
    shutil.copytree(HOME / "python/entry", folder / "python/entry")
    place = folder / python
    place.parent.mkdir(parents=True)
    place.write_text(STAND_IN)
    place.chmod(0o755)
    return place


def shells() -> list[str]:
    return [shell for shell in ("dash", "busybox ash", "mksh") if shutil.which(shell.split()[0])]


@pytest.mark.parametrize("shell", shells())
@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("python", [".venv/bin/python", "python/bin/python3.13"])
def test_a_wrapper_becomes_its_python(tmp_path: Path, shell: str, name: str, python: str) -> None:
    stand_in = checkout(tmp_path / "a b", python)
    entry = tmp_path / "a b/python/entry" / f"{name.replace('-', '_')}.py"
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/absent"}
    words = [*shell.split(), str(tmp_path / "a b/system/bin" / name), "two words", ""]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    options = ["-I", "-S"] if ".venv" in python else ["-I", "-S", "-B"]
    expected = [str(stand_in), *options, str(entry), "two words", ""]
    assert done.stdout.splitlines() == [*expected, "LD_PRELOAD=unset", "LD_LIBRARY_PATH=unset"]


@pytest.mark.parametrize(
    "how", ["link", "relative link", "link to a link", "PATH", "here", "from its folder"]
)
def test_a_wrapper_finds_its_folder(tmp_path: Path, how: str) -> None:
    checkout(tmp_path / "top", ".venv/bin/python")
    bin_folder = tmp_path / "top/system/bin"
    links = tmp_path / "links"
    links.mkdir()
    (links / "absolute").symlink_to(bin_folder / "nspawn")
    (links / "relative").symlink_to("../top/system/bin/nspawn")
    (links / "twice").symlink_to("relative")
    program, cwd = {
        "link": (str(links / "absolute"), "/"),
        "relative link": ("./relative", str(links)),
        "link to a link": (str(links / "twice"), "/"),
        "PATH": ("nspawn", "/"),
        "here": ("system/bin/nspawn", str(tmp_path / "top")),
        "from its folder": ("./nspawn", str(bin_folder)),
    }[how]
    environment = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", f"exec {program} word"], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert os.path.samefile(os.path.join(cwd, shown[3]), tmp_path / "top/python/entry/nspawn.py")
    assert shown[4] == "word"


def test_a_wrapper_starts_no_other_program() -> None:
    """The whole path is: sh, then Python."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    words = ["strace", "-f", "-e", "trace=process", str(HOME / "system/bin/nspawn"), "--version"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stderr.count("execve(") == 2
    assert "clone" not in done.stderr
    assert "fork" not in done.stderr


def test_the_libraries_are_found_by_an_interpreter_without_site() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from nspawn import sites; print(sites.add_site_packages()); import flask"
    )
    done = subprocess.run(
        [places.PYTHON, "-I", "-S", "-c", code, HOME / "python"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_dir()
