"""The zips themselves, looked at with unzip, readelf and busybox; and two builds compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.zips import TARGETS, build_zip, unpack
from tools import bundle, places, wheels
from tools import zip as module
from tools.process import BuildError

LOADERS = {"arm64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
#: What the managers run, and what our scripts name.
PARTS = (
    "module.prop",
    "customize.sh",
    "service.sh",
    "action.sh",
    "uninstall.sh",
    "manifest.sha256",
    "META-INF/com/google/android/update-binary",
    "META-INF/com/google/android/updater-script",
    "system/bin/nspawn",
    "system/bin/nspawn-mini",
    "system/bin/getroot",
    "webroot/index.html",
    "python/bin/python3.13",
    "python/entry/nspawn.py",
    "python/entry/keeper.py",
    "python/entry/web.py",
    "python/nspawn/__init__.pyc",
    "python/lib/libc.so.6",
    "python/lib/python3.13/os.pyc",
    "python/lib/python3.13/site-packages/flask/__init__.pyc",
    "python/lib/python3.13/site-packages/certifi/cacert.pem",
    "share/zoneinfo/Europe/Berlin",
    "share/zoneinfo/Asia/Calcutta",
    "share/licenses/nspawn/LICENSE",
)


@pytest.fixture(scope="module", params=TARGETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(name: str) -> Path:
    return build_zip(TARGETS[name])


@pytest.fixture(scope="module")
def infos(path: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.infolist()


@pytest.fixture(scope="module")
def unpacked(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(path, tmp_path_factory.mktemp("zip") / "module")


def test_everything_is_there(name: str, infos: list[zipfile.ZipInfo]) -> None:
    names = {info.filename for info in infos}
    builtin = f"share/builtin/{TARGETS[name].machine}/busybox"
    assert {*PARTS, f"python/lib/{LOADERS[name]}", builtin} - names == set()


def test_nothing_else_is(name: str, infos: list[zipfile.ZipInfo]) -> None:
    for info in infos:
        assert not re.search(r"__pycache__|dist-info|\.pyi$|/tests?/|\.(a|o|h)$", info.filename), (
            info.filename
        )
        if info.filename.endswith(".py"):
            assert info.filename.startswith("python/entry/"), info.filename
    builtins = {info.filename.split("/")[2] for info in infos if info.filename.startswith("share/builtin/")}
    assert builtins == {TARGETS[name].machine}


def test_every_reader_of_zips_can_read_it(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """The managers use Java's, busybox's and Rust's."""
    assert {info.compress_type for info in infos} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    assert {info.extra for info in infos} == {b""}, "no zip64, no times beside the one"
    assert {info.flag_bits for info in infos} == {0}, "sizes come first, names are ASCII"
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    data = path.read_bytes()
    assert b"PK\x06\x06" not in data[-200:]
    names = [info.filename for info in infos]
    assert names == sorted(set(names))
    done = subprocess.run(["unzip", "-tqq", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_need_no_quotes(infos: list[zipfile.ZipInfo]) -> None:
    assert [info.filename for info in infos if not re.fullmatch(r"[A-Za-z0-9._+/-]+", info.filename)] == []
    assert [info.filename for info in infos if info.filename.startswith("/") or ".." in info.filename] == []


def test_modes_are_of_files_and_of_programs(infos: list[zipfile.ZipInfo]) -> None:
    """No links, no folders: busybox's unzip breaks off at a compressed link."""
    modes = {info.filename: info.external_attr >> 16 for info in infos}
    assert set(modes.values()) == {0o100644, 0o100755}
    programs = {name for name, mode in modes.items() if mode == 0o100755}
    expected = (
        r"(share/)?[a-z]+\.sh|system/bin/.*|python/bin/.*|python/lib/ld-linux.*|share/builtin/.*/busybox"
    )
    expected += r"|META-INF/com/google/android/update-binary"
    assert [name for name in programs if not re.fullmatch(expected, name)] == []
    assert {"service.sh", "system/bin/nspawn", "python/bin/python3.13"} <= programs


def test_lines_end_as_unix_does(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        texts = {info.filename: archive.read(info) for info in archive.infolist()}
    texts = {name: data for name, data in texts.items() if b"\0" not in data and not name.endswith(".pyc")}
    assert len(texts) > 100
    assert [name for name, data in texts.items() if b"\r" in data] == []


def test_the_manifest_tells_of_every_file(unpacked: Path, infos: list[zipfile.ZipInfo]) -> None:
    words = ["busybox", "sha256sum", "-c", "manifest.sha256"]
    done = subprocess.run(words, cwd=unpacked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (unpacked / "manifest.sha256").read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)
    told = [line[66:] for line in lines]
    names = [info.filename for info in infos if not info.filename.startswith("META-INF/")]
    assert told == [name for name in names if name != "manifest.sha256"]
    assert done.stdout.count(": OK\n") == len(told)


def test_the_manifest_finds_an_altered_file(unpacked: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(unpacked, tmp_path / "copy")
    (copy / "service.sh").write_text("#!/bin/sh\n")
    (copy / "python/lib/libz.so.1").unlink()
    words = ["busybox", "sha256sum", "-c", "manifest.sha256"]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True)
    assert done.returncode != 0
    assert "service.sh: FAILED" in done.stdout
    assert "libz.so.1" in done.stdout + done.stderr


# ---- programs and libraries


def elf_files(folder: Path) -> list[Path]:
    def is_elf(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"

    return sorted(path for path in folder.rglob("*") if path.is_file() and is_elf(path))


def readelf(*words: str | Path) -> str:
    done = subprocess.run(["readelf", "-W", *words], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_interpreter_names_its_loader_and_libraries(name: str, unpacked: Path) -> None:
    shown = readelf("-l", "-d", unpacked / "python/bin/python3.13")
    loader = f"/data/adb/modules/nspawn/python/lib/{LOADERS[name]}"
    assert f"[Requesting program interpreter: {loader}]" in shown
    assert "Library rpath: [$ORIGIN/../lib]" in shown
    assert "RUNPATH" not in shown, "it would not hold for what extension modules need"


def test_segments_begin_on_pages_of_newer_phones(name: str, unpacked: Path) -> None:
    """16 kB pages: what a kernel with them can load is aligned to them, or to 64 kB."""
    machines: set[str] = set()
    alignments: dict[int, Path] = {}
    for path in elf_files(unpacked):
        shown = readelf("-h", "-l", path)
        machines.update(re.findall(r"Machine: +(.+)", shown))
        for line in shown.splitlines():
            if line.split()[:1] == ["LOAD"]:
                _, offset, address, *_ = line.split()
                align = int(line.split()[-1], 16)
                assert (int(offset, 16) - int(address, 16)) % align == 0, f"{path}: {line}"
                alignments.setdefault(align, path)
    assert machines == {"AArch64" if name == "arm64" else "Advanced Micro Devices X86-64"}
    if name == "arm64":
        assert {align for align in alignments if align % 0x10000} == set(), alignments
    assert len(elf_files(unpacked)) > 30


def test_every_library_that_is_needed_is_there(unpacked: Path) -> None:
    """And none that nothing needs, but the one that glibc loads by its name."""
    there = {path.name for path in (unpacked / "python/lib").iterdir() if path.is_file()}
    needed: set[str] = set()
    for path in elf_files(unpacked / "python"):
        needed.update(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("-d", path)))
    loader = {file for file in there if file.startswith("ld-linux")}
    assert needed - there == set()
    assert there - needed - loader == set(bundle.BY_NAME) - needed


def test_markupsafe_is_the_slow_one(unpacked: Path) -> None:
    """One wheel serves both architectures; machine code is only in Debian's files."""
    assert list((unpacked / "python/lib/python3.13/site-packages").rglob("*.so*")) == []


# ---- licences


def test_every_package_has_its_licence(unpacked: Path) -> None:
    folder = unpacked / "share/licenses"
    listed = wheels.read_wheels(wheels.lock_file().read_text())
    for package in (*bundle.PACKAGES, *(wheel.name for wheel in listed), "nspawn"):
        texts = [path.read_text() for path in (folder / package).iterdir()]
        assert texts, package
        assert all(texts), package
    sources = (folder / "SOURCES").read_text()
    for wheel in listed:
        assert f"{wheel.name} {wheel.version}: " in sources
    for package in bundle.PACKAGES:
        assert f"\n{package} " in sources


def test_licences_that_are_named_are_there(unpacked: Path) -> None:
    folder = unpacked / "share/licenses"
    named: set[str] = set()
    for path in folder.glob("*/copyright"):
        named.update(re.findall(r"/usr/share/(common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9])", path.read_text()))
    assert {"common-licenses/GPL-2", "common-licenses/LGPL-2.1"} <= named
    assert [name for name in named if not (folder / name).exists()] == []


# ---- the build as a whole


def test_a_zip_is_at_most_sixteen_mebibytes(path: Path) -> None:
    assert path.stat().st_size <= 16 * 1024 * 1024


def test_a_larger_one_is_refused(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    with pytest.raises(BuildError, match=r"would have \d+ bytes, more than 1000000"):
        module.build_zips([name], output=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_version_may_be_chosen(name: str, path: Path, tmp_path: Path) -> None:
    module.build_zips([name], version="7.8.9", base_url="https://example.org/n/", output=tmp_path)
    made = tmp_path / f"nspawn-7.8.9-{name}.zip"
    with zipfile.ZipFile(made) as archive:
        properties = archive.read("module.prop").decode().splitlines()
        assert b"7.8.9" in archive.read("python/nspawn/__init__.pyc")
    assert {"version=7.8.9", "versionCode=70809"} <= set(properties)
    assert f"updateJson=https://example.org/n/update-{name}.json" in properties
    assert {path.name for path in tmp_path.iterdir()} == {made.name, f"update-{name}.json", "changelog.md"}


def test_a_zip_that_is_there_is_not_made_again(name: str, path: Path) -> None:
    before = path.stat()
    words = [sys.executable, str(places.HOME / "build.py"), "zip", "--arch", name]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    assert path.stat().st_mtime_ns == before.st_mtime_ns


STATES = {
    "nothing before": "",
    "names known": "known = [sys.intern(text) for text in ('f.<locals>.K', 'other', 'f', 'K', 'word')]",
    "more referred to": "known = [sys.intern(text) for text in ('other', 'K')] * 3; import json, email, http",
}
DUMP = """
import sys
sys.path.insert(0, {home!r})
{state}
from tools import pack
source = '''
def f():
    class K:
        other = ("word", "two words", 1.5, frozenset(("x", "word")))
    return K, "f.<locals>.K", "two words"
'''
data = pack.dump(compile(source, "name", "exec"))
import marshal
namespace = {{}}
exec(marshal.loads(data), namespace)
assert namespace["f"]()[1:] == ("f.<locals>.K", "two words")
sys.stdout.buffer.write(data)
"""


def test_byte_code_does_not_tell_what_was_loaded_before() -> None:
    """What marshal alone makes of these differs: see Canonical."""
    made = set()
    python = bundle.interpreter(bundle.build_bundle(bundle.own_target()))
    for state in STATES.values():
        words = [*python, "-I", "-S", "-c", DUMP.format(home=str(places.HOME), state=state)]
        done = subprocess.run(words, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        made.add(done.stdout)
    assert len(made) == 1


ELSEWHERE = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.umask(0o077)
from tools import places, zip
# pip and its environment belong to the checkout that is copied, and are not needed any more.
sys.exit(zip.build_zips([sys.argv[2]]))
"""


@pytest.mark.root
@pytest.mark.slow
def test_another_checkout_without_network_makes_the_same(
    needs_root: None, name: str, path: Path, tmp_path: Path
) -> None:
    """Anew from the cached downloads, in another folder, with another umask, clock, zone and hash seed."""
    copy = tmp_path / "other checkout"
    copy.mkdir()
    for part in (*module.SCRIPTS, "module.prop", "CHANGELOG.md", "LICENSE", "NOTICE", "pyproject.toml"):
        shutil.copyfile(places.HOME / part, copy / part)
    for part in (*module.FOLDERS, "tools", "requirements"):
        leave = shutil.ignore_patterns("__pycache__", "builtin")
        shutil.copytree(places.HOME / part, copy / part, ignore=leave)
    (copy / ".cache").mkdir()
    for part in (
        ".cache/debs",
        ".cache/wheels",
        *map(str, sorted((places.HOME / ".cache").glob("zip-tools-*"))),
    ):
        (copy / ".cache" / Path(part).name).symlink_to(places.HOME / part)
    environment = dict(os.environ, TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C", HOME="/nonexistent")
    words = ["unshare", "-n", sys.executable, "-I", "-S", "-c", ELSEWHERE, str(copy), name]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "assembling" in done.stdout
    assert (copy / "dist" / path.name).read_bytes() == path.read_bytes()
