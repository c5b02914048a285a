"""Decisions of `build.py zip`, and what stops it."""

from __future__ import annotations

import ast
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from tests.support.debs import pack_deb
from tools import bundle, deb, debian, licences, lock, pack, places, trim, wheels
from tools import zip as module
from tools.process import BuildError
from tools.stamps import digest_of

SHA = "a" * 64
ARM = bundle.TARGETS["arm64"]
PROP = "id=nspawn\nname=nspawn\nauthor=us\nversion=0.1.0\nversionCode=100\ndescription=Text\nupdateJson=old\n"


def pin_of(data: bytes, package: str = "libx") -> debian.Pin:
    place = f"pool/main/x/{package}_1_amd64.deb"
    return debian.Pin(package=package, version="1", architecture="amd64", sha256=digest_of(data), place=place)


# ---- versions and updates


@pytest.mark.parametrize(
    ("version", "code"), [("0.1.0", 100), ("0.1.1", 101), ("1.0.0", 10_000), ("12.34.56", 123_456)]
)
def test_the_code_grows_with_the_version(version: str, code: int) -> None:
    assert module.version_code(version) == code


@pytest.mark.parametrize("version", ["", "1", "1.2", "1.2.3.4", "1.100.0", "1.2.3-rc1", "v1.2.3", "1.2.x"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(BuildError, match="no version"):
        module.version_code(version)


def test_the_version_of_this_checkout() -> None:
    assert f"version={module.current_version()}\n" in (places.HOME / "module.prop").read_text()


def test_module_prop_is_stamped() -> None:
    text = module.properties(PROP, "1.2.3", ARM, "https://example.org/n")
    assert text == (
        "id=nspawn\nname=nspawn\nauthor=us\nversion=1.2.3\nversionCode=10203\ndescription=Text\n"
        "updateJson=https://example.org/n/update-arm64.json\n"
    )


def test_without_an_address_nothing_looks_for_updates() -> None:
    assert "updateJson" not in module.properties(PROP, "1.2.3", ARM, "")


def test_the_update_file_and_module_prop_agree() -> None:
    told = json.loads(module.update("1.2.3", ARM, "https://example.org/n"))
    assert told == {
        "version": "1.2.3",
        "versionCode": 10203,
        "zipUrl": "https://example.org/n/nspawn-1.2.3-arm64.zip",
        "changelog": "https://example.org/n/changelog.md",
    }
    stamped = module.properties(PROP, "1.2.3", ARM, "https://example.org/n").splitlines()
    assert {f"version={told['version']}", f"versionCode={told['versionCode']}"} <= set(stamped)


@pytest.mark.parametrize("url", ["http://example.org", "example.org", "https://", "https://a b"])
def test_an_address_that_managers_would_not_fetch_is_refused(url: str) -> None:
    with pytest.raises(BuildError, match="no address"):
        module.build_zips(["arm64"], base_url=url)


CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2026-01-02\n\n- old\n\n## [0.1.0]\n- oldest\n"
)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("0.2.0", "# nspawn 0.2.0 - 2026-01-02\n\n- old\n"),
        ("0.1.0", "# nspawn 0.1.0\n- oldest\n"),
        ("0.3.0", "# nspawn 0.3.0\n\n- new\n"),
    ],
)
def test_the_changes_of_a_version(version: str, text: str) -> None:
    assert module.changes(CHANGES, version) == text


def test_a_changelog_without_the_version_is_refused() -> None:
    with pytest.raises(BuildError, match=r"0\.9\.0"):
        module.changes("# Changelog\n\n## [0.1.0]\n", "0.9.0")


# ---- which files


@pytest.mark.parametrize(
    ("name", "is_litter"),
    [
        ("python/nspawn/__pycache__/a.pyc", True),
        ("python/nspawn/a.pyc", True),
        ("webroot/.DS_Store", True),
        ("webroot/js/main.js~", True),
        ("service.sh.orig", True),
        ("python/nspawn/a.py", False),
        ("webroot/js/main.js", False),
        ("META-INF/com/google/android/update-binary", False),
    ],
)
def test_litter(name: str, is_litter: bool) -> None:
    assert bool(module.LITTER.fullmatch(name)) == is_litter


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("web root/a.js", b"", "quote names"),
        ("webroot/\u00e9.js", b"", "quote names"),
        ("webroot/../../a.js", b"", "not a path below"),
        ("/a.js", b"", "not a path below"),
        ("service.sh", b"#!/bin/sh\r\n", "carriage return"),
    ],
)
def test_what_breaks_on_a_phone_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=message):
        module.check_file(name, path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(BuildError, match="symbolic link"):
        module.check_file("webroot/link", tmp_path / "link")


def test_a_picture_may_hold_any_byte(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    module.check_file("webroot/a.png", tmp_path / "a.png")


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "customize.sh").write_text("")
    with pytest.raises(BuildError, match=r"service\.sh is missing"):
        list(module.module_files(tmp_path))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("python/entry/nspawn.py", ""),
        ("python/nspawn/cli/run.py", "bare"),
        ("python/lib/python3.13/os.py", "bare"),
        ("python/lib/python3.13/site-packages/flask/app.py", "bare"),
        ("python/lib/python3.13/email/policy.py", "compile"),
        ("webroot/index.html", ""),
        ("service.sh", ""),
    ],
)
def test_what_is_compiled(name: str, what: str) -> None:
    assert bundle.treatment(name) == what


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("os.py", True),
        ("test/support/__init__.py", False),
        ("unittest/mock.py", True),
        ("sqlite3/__init__.py", False),
        ("encodings/utf_8.py", True),
        ("encodings/cp1252.py", True),
        ("encodings/big5.py", False),
        ("lib-dynload/_ssl.cpython-313-aarch64-linux-gnu.so", True),
        ("lib-dynload/_testcapi.cpython-313-aarch64-linux-gnu.so", False),
        ("lib-dynload/_codecs_jp.cpython-313-aarch64-linux-gnu.so", False),
        ("config-3.13-aarch64-linux-gnu/Makefile", False),
        ("http/server.py", True),
        ("xml/etree/ElementTree.py", False),
    ],
)
def test_what_the_library_keeps(name: str, kept: bool) -> None:
    assert trim.keeps_of_library(name) == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("flask/app.py", True),
        ("certifi/cacert.pem", True),
        ("flask-3.1.3.dist-info/METADATA", False),
        ("markupsafe/_speedups.cpython-313-x86_64-linux-gnu.so", False),
        ("markupsafe/_native.py", True),
        ("flask/py.typed", False),
        ("werkzeug/debug/shared/debugger.js", False),
        ("werkzeug/debug/__init__.py", True),
    ],
)
def test_what_a_wheel_keeps(name: str, kept: bool) -> None:
    assert trim.keeps_of_wheel(name) == kept


# ---- locks


def test_every_package_of_the_bundle_is_pinned() -> None:
    text = debian.lock_file().read_text()
    for package in (*bundle.PACKAGES, "qemu-user"):
        for architecture in places.ARCHITECTURES.values():
            assert debian.only_pin(text, architecture, package).package == package


def test_a_package_without_a_pin_is_named() -> None:
    with pytest.raises(BuildError, match="no libx for arm64") as caught:
        debian.only_pin(f"libx 1 amd64 {SHA} pool/x\n", "arm64", "libx")
    assert "lock" in caught.value.hint


def test_the_bundle_holds_the_wheels_that_run_lock_allows() -> None:
    text = (places.HOME / "requirements/run.lock").read_text()
    allowed = {name: (version, hashes) for name, version, hashes in wheels.requirements_of(text)}
    listed = wheels.read_wheels(wheels.lock_file().read_text())
    assert [wheel.name for wheel in listed] == list(allowed)
    for wheel in listed:
        version, hashes = allowed[wheel.name]
        assert wheel.version == version
        assert wheel.sha256 in hashes


@pytest.mark.parametrize(
    "line", ["a 1 a.whl", f"a 1 {SHA[1:]} a.whl", f"a 1 {SHA} a.tar.gz", f"a 1 {SHA} a.whl b"]
)
def test_a_wrong_line_of_wheels_is_refused_by_number(line: str) -> None:
    with pytest.raises(BuildError, match=r"wheels\.lock:2 "):
        wheels.read_wheels(f"# first\n{line}\n")


def test_security_updates_have_an_archive_of_their_own() -> None:
    pin = debian.Pin(
        package="o", version="1", architecture="all", sha256=SHA, place="pool/updates/main/o/o_1.deb"
    )
    assert pin.url == "http://deb.debian.org/debian-security/pool/updates/main/o/o_1.deb"


def test_the_lock_pins_what_is_used() -> None:
    assert set(bundle.PACKAGES) <= set(lock.DEBIAN["trixie"])


# ---- downloads


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(places, "CACHE", tmp_path / ".cache")
    return tmp_path / ".cache"


def test_an_altered_package_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(debian, "fetch", lambda _url: b"something else")
    with pytest.raises(BuildError, match=r"pool/main/x/libx_1_amd64\.deb has another sha256") as caught:
        debian.download_pinned(pin_of(b"the package"))
    assert digest_of(b"something else") in caught.value.hint
    assert not list(cache.rglob("*.deb"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(debian, "fetch", lambda _url: None)
    with pytest.raises(BuildError, match=r"no longer has pool/main/x/libx_1_amd64\.deb") as caught:
        debian.download_pinned(pin_of(b"the package"))
    assert "build.py lock" in caught.value.hint


def test_a_package_is_fetched_once(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    asked = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return b"the package"

    monkeypatch.setattr(debian, "fetch", fetch)
    pin = pin_of(b"the package")
    assert debian.download_pinned(pin) == debian.download_pinned(pin) == b"the package"
    assert asked == ["http://deb.debian.org/debian/pool/main/x/libx_1_amd64.deb"]


def test_a_package_altered_in_the_cache_is_told_and_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pin = pin_of(b"the package")
    (cache / "debs").mkdir(parents=True)
    (cache / "debs" / pin.file).write_bytes(b"the pockage")
    monkeypatch.setattr(debian, "fetch", lambda _url: b"the package")
    assert debian.download_pinned(pin) == b"the package"
    assert "debs/libx_1_amd64.deb was altered" in capsys.readouterr().out


def test_a_wheel_that_pip_refuses_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """pip refuses a file whose hash is not the one asked for."""
    cache.mkdir()

    def refuse(*_arguments: object) -> None:
        raise BuildError("status 1 from: pip")

    monkeypatch.setattr(wheels, "pip_download", refuse)
    wheel = wheels.Wheel(name="a", version="1", sha256=SHA, file="a-1-py3-none-any.whl")
    with pytest.raises(BuildError, match=r"a-1-py3-none-any\.whl"):
        wheels.download_wheels([wheel])


def test_a_wheel_with_another_hash_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    cache.mkdir()
    monkeypatch.setattr(
        wheels,
        "pip_download",
        lambda _python, _lines, folder, _system: (folder / "a.whl").write_bytes(b"odd"),
    )
    wheel = wheels.Wheel(name="a", version="1", sha256=SHA, file="a.whl")
    with pytest.raises(BuildError, match=r"a\.whl has another sha256"):
        wheels.download_wheels([wheel])
    assert not list((cache / "wheels").rglob("*.whl"))


# ---- packages and licences


def test_links_of_packages_are_followed() -> None:
    files = deb.Files()
    files.add(pack_deb({"usr/lib/libz.so.1.3": b"library"}, links={"usr/lib/libz.so.1": "libz.so.1.3"}))
    files.add(
        pack_deb(
            {"usr/share/doc/base/copyright": b"text"},
            links={"usr/share/doc/other": "base", "usr/lib/round": "round"},
        )
    )
    assert files.read("usr/lib/libz.so.1") == b"library"
    assert files.read("usr/share/doc/other/copyright") == b"text"
    assert files.below("usr/share/doc") == {"base/copyright": b"text"}
    for absent in ("usr/lib/none", "usr/lib/round"):
        with pytest.raises(BuildError, match=absent):
            files.read(absent)


def test_a_licence_that_was_there_before_becomes_a_line() -> None:
    long = b"x" * 5000
    texts = licences.without_repetitions({"a/copyright": long, "b/copyright": long, "c/LICENSE": b"MIT\r\n"})
    assert texts == {
        "a/copyright": long,
        "b/copyright": b"The same text as a/copyright\n",
        "c/LICENSE": b"MIT\n",
    }


def test_a_wheel_without_a_licence_is_refused() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as wheel:
        wheel.writestr("a/__init__.py", "")
        wheel.writestr("a-1.dist-info/METADATA", "")
    with pytest.raises(BuildError, match="wheel of a has no licence"):
        licences.licences(deb.Files(), {}, [], {"a": data.getvalue()})


def test_nothing_that_a_bundle_is_made_of_may_lack_a_library() -> None:
    """A library that no pinned package has stops the build by its name."""
    python = Path(os.path.realpath("/bin/sh")).read_bytes()
    with pytest.raises(BuildError, match=r"usr/lib/aarch64-linux-gnu/.*\.so"):
        bundle.shared_libraries(ARM, deb.Files(), {bundle.PYTHON: (python, 0o755)})


# ---- the zip's writer


SOURCE = '''"""Doc."""
from __future__ import annotations

def f():
    """Doc."""

def g():
    "doc"
    assert 1, "kept"
    return "kept"

@d
class C:
    """Kept: a dataclass makes one up otherwise."""

class D:
    """Doc."""
    x = "kept"
'''
BARE = '''from __future__ import annotations

def f():
    pass

def g():
    assert 1, 'kept'
    return 'kept'

@d
class C:
    """Kept: a dataclass makes one up otherwise."""

class D:
    x = 'kept'
'''


def test_docstrings_go_and_nothing_else_does() -> None:
    tree = ast.parse(SOURCE)
    pack.without_docstrings(tree)
    compile(tree, "name", "exec")
    assert ast.unparse(tree) + "\n" == BARE


def test_what_cannot_be_made_smaller_is_stored(tmp_path: Path) -> None:
    noise = os.urandom(1000)
    entries = [pack.entry_of("b/noise", 0o755, noise), pack.entry_of("a", 0o644, b"x" * 1000)]
    pack.write_zip(str(tmp_path / "a.zip"), entries)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        found = [(info.filename, info.compress_type, info.external_attr >> 16) for info in archive.infolist()]
        assert found == [("a", zipfile.ZIP_DEFLATED, 0o100644), ("b/noise", zipfile.ZIP_STORED, 0o100755)]
        assert archive.read("b/noise") == noise
