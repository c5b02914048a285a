"""build.py's decisions, and the parts that read what others packed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.debs import pack_deb
from tools import commands, deb, debian, lint, packages, places, process, serve, stamps

SHA = "a" * 64


def test_a_file_of_a_deb() -> None:
    package = pack_deb({"bin/other": b"no", "bin/busybox": b"yes"})
    assert deb.member_of_deb(package, "bin/busybox") == b"yes"


@pytest.mark.parametrize("package", [b"", b"<html>", pack_deb({"bin/other": b""}), b"!<arch>\n"])
def test_a_deb_without_the_file(package: bytes) -> None:
    with pytest.raises(process.BuildError):
        deb.member_of_deb(package, "bin/busybox")


def test_pins_of_one_architecture_in_order() -> None:
    text = (
        f"# a comment\nb 1:2-3 amd64 {SHA} pool/b2\n\nb 1:2-3 arm64 {SHA} pool/b3\nb 1 amd64 {SHA} pool/b1\n"
    )
    pins = debian.read_pins(text, "amd64")
    assert [(pin.package, pin.version, pin.place) for pin in pins] == [
        ("b", "1:2-3", "pool/b2"),
        ("b", "1", "pool/b1"),
    ]
    assert debian.read_pins(text, "riscv64") == []


@pytest.mark.parametrize("line", ["b 1 amd64", f"b 1 amd64 {SHA[1:]} pool/b", f"b 1 amd64 {SHA} pool/b more"])
def test_a_wrong_pin_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(process.BuildError, match=r"debian\.lock:2 "):
        debian.read_pins(f"# first\n{line}\n", "amd64")


def test_every_machine_has_a_busybox() -> None:
    lock = (places.HOME / "requirements/debian.lock").read_text()
    for architecture in places.ARCHITECTURES.values():
        assert debian.read_pins(lock, architecture)


def test_a_download_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(debian, "apt_download", lambda _package: None)
    monkeypatch.setattr(debian, "fetch", lambda _url: b"something else")
    pin = debian.Pin(package="b", version="1", architecture="amd64", sha256=SHA, place="pool/b.deb")
    with pytest.raises(process.BuildError, match="another sha256"):
        debian.download_deb([pin])
    assert not (tmp_path / "debs").exists()


def test_a_version_that_vanished_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = {f"{debian.ARCHIVES['']}/pool/old.deb": b"old"}
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(debian, "apt_download", lambda _package: None)
    monkeypatch.setattr(debian, "fetch", archive.get)
    pins = [
        debian.Pin(package="b", version="2", architecture="amd64", sha256=SHA, place="pool/new.deb"),
        debian.Pin(
            package="b",
            version="1",
            architecture="amd64",
            sha256=stamps.digest_of(b"old"),
            place="pool/old.deb",
        ),
    ]
    assert debian.download_deb(pins) == (b"old", "1")
    assert "no longer has b 2" in capsys.readouterr().out
    archive.clear()
    assert debian.download_deb(pins) == (b"old", "1"), "the second time it comes from the cache"


def test_nothing_to_be_had_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(debian, "apt_download", lambda _package: None)
    monkeypatch.setattr(debian, "fetch", lambda _url: None)
    pin = debian.Pin(package="b", version="1", architecture="amd64", sha256=SHA, place="pool/b.deb")
    with pytest.raises(process.BuildError) as caught:
        debian.download_deb([pin])
    assert "lock" in caught.value.hint


def test_running_installs_no_test_tools() -> None:
    wanted = {
        command: [package.name for package in packages.missing_packages(command, which=lambda _program: None)]
        for command in ("setup", "run")
    }
    assert wanted == {"setup": [], "run": ["iptables"]}
    tests = {package.name for package in packages.missing_packages("test", which=lambda _program: None)}
    assert {"chromium", "mmdebstrap", "npm", "shellcheck"} <= tests
    assert "lxc" in {
        package.name for package in packages.missing_packages("bench", which=lambda _program: None)
    }


def test_a_program_from_elsewhere_counts() -> None:
    missing = packages.missing_packages(
        "lint", which=lambda program: "/opt/node" if program == "node" else None
    )
    assert "nodejs" not in {package.name for package in missing}


def test_missing_packages_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.packages.os.geteuid", lambda: 1000)
    monkeypatch.setattr("tools.packages.shutil.which", lambda program: f"/usr/bin/{program}")
    with pytest.raises(process.BuildError, match="root is needed to install: dash") as caught:
        packages.install_packages({"dash": "checks scripts"})
    assert caught.value.hint == "As root, run: apt-get install --no-install-recommends dash"


def test_missing_packages_without_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.packages.shutil.which", lambda _program: None)
    with pytest.raises(process.BuildError, match=r"no apt-get, and misses: dash \(checks scripts\)"):
        packages.install_packages({"dash": "checks scripts"})


def test_a_stamp_holds_for_its_inputs_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "STAMPS", tmp_path / "stamps")
    assert not stamps.is_stamped("part", "one")
    stamps.stamp("part", "one")
    assert stamps.is_stamped("part", "one")
    assert not stamps.is_stamped("part", "two")


def test_the_digest_tells_parts_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab")
    assert stamps.digest("ab") == stamps.digest(b"ab") == stamps.digest(tmp_path / "file")
    assert stamps.digest("a", "b") != stamps.digest("ab")


@pytest.mark.parametrize(
    ("name", "first", "kind"),
    [
        ("system/bin/nspawn", "#!/bin/sh", "posix"),
        ("service.sh", "# sourced", "posix"),
        ("customize", "#!/system/bin/sh", "posix"),
        (".ci/run", "#!/bin/bash", "bash"),
        (".ci/run", "#!/usr/bin/env bash", "bash"),
        ("system/share/bash-completion/nspawn", "# Completion", "bash"),
        ("build.py", "#!/usr/bin/env python3", ""),
        ("empty", "", ""),
    ],
)
def test_shells_of_files(tmp_path: Path, name: str, first: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\n")
    posix, bash = lint.shell_files([name], tmp_path)
    assert (posix, bash) == ([name] if kind == "posix" else [], [name] if kind == "bash" else [])


def test_words_for_pytest_pass_through() -> None:
    options, rest = commands.parse(["test", "--fast", "-k", "some name", "--", "tests/unit"])
    assert (options.command, options.fast, rest) == ("test", True, ["-k", "some name", "tests/unit"])


@pytest.mark.parametrize("words", [["run", "--prot", "80"], ["setup", "more"], ["fly"], []])
def test_unknown_words_are_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.parse(words)
    assert caught.value.code == 2
    assert "usage: build.py" in capsys.readouterr().err


def test_answers_only_where_somebody_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    assert not serve.answers(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        assert serve.answers(path)
    assert not serve.answers(path)


SERVICE = """#!{python}
import os, signal, socket, sys
path = os.environ["NSPAWN_ROOT"] + "/run/control.sock"
if sys.argv[1] == "login":
    print("http://localhost:8081/login#code", flush=True)
    # What a person does next: ends the service, here through build.py.
    os.kill(os.getppid(), signal.SIGTERM)
elif sys.argv[1:] == ["serve", "--port", "8081"]:
    os.makedirs(os.path.dirname(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    listener.bind(path)
    listener.listen()
    while True:
        signal.pause()
else:
    sys.exit("bad words")
"""
STARTER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import pathlib
from tools import places, serve
places.NSPAWN = pathlib.Path(sys.argv[2])
os.geteuid = lambda: 0
sys.exit(serve.run(8081))
"""


def test_run_prints_an_address_and_ends_with_the_service(tmp_path: Path) -> None:
    """With a stand-in for nspawn."""
    service = tmp_path / "nspawn"
    service.write_text(SERVICE.format(python=sys.executable))
    service.chmod(0o755)
    environment = dict(os.environ, NSPAWN_ROOT=str(tmp_path / "state"))
    words = [sys.executable, "-c", STARTER, str(places.HOME), str(service)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 7, done.stderr
    assert "http://localhost:8081/login#code\n" in done.stdout
    assert done.stdout.index("serve --port 8081") < done.stdout.index("#code")


def test_run_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.serve.os.geteuid", lambda: 1000)
    with pytest.raises(process.BuildError, match="root") as caught:
        serve.run(None)
    assert "sudo" in caught.value.hint


def test_a_command_that_fails_is_shown_so_that_it_can_be_repeated() -> None:
    with pytest.raises(process.BuildError, match=r"status 3 from: sh -c 'exit 3'"):
        process.execute("sh", "-c", "exit 3")
    with pytest.raises(process.BuildError, match="cannot start /absent/program: No such file"):
        process.execute("/absent/program")


def test_it_needs_nothing_but_the_standard_library() -> None:
    """A fresh machine's Python (no site-packages) can start it."""
    words = [sys.executable, "-I", "-S", str(places.HOME / "build.py"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bench" in done.stdout
