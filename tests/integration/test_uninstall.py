"""Marked as the managers mark it, and asked before anything is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command import Result
from tests.support.program import Program


class Installed:
    """A module's folder and a state with one container.  The files are what uninstall.sh looks at."""

    def __init__(self, nspawn: Program, module: Path) -> None:
        self.nspawn = nspawn
        self.module = module
        module.mkdir()
        (module / "module.prop").write_text("id=nspawn\n")
        nspawn.ok("create", "box", "--image", "builtin")
        self.mark = module / "remove"
        self.purge = nspawn.root / "purge-confirmed"

    def __call__(self, *words: str, stdin: bytes = b"") -> Result:
        environment: Mapping[str, str | None] = {"NSPAWN_MODULE": str(self.module)}
        return self.nspawn("uninstall", *words, environment=environment, stdin=stdin)

    @property
    def marks(self) -> tuple[bool, bool]:
        return self.mark.exists(), self.purge.exists()


@pytest.fixture
def installed(nspawn: Program, tmp_path: Path) -> Installed:
    return Installed(nspawn, tmp_path / "module")


def test_what_stays_is_told(installed: Installed) -> None:
    result = installed()
    assert (result.status, result.err, installed.marks) == (0, "", (True, False)), str(result)
    assert str(installed.nspawn.root) in result.out
    assert "--purge" in result.out
    assert "--keep" in result.out
    assert installed().status == 0, "twice is no error"


def test_a_purge_names_what_goes(installed: Installed) -> None:
    result = installed("--purge", "--yes")
    assert (result.status, installed.marks) == (0, (True, True)), str(result)
    assert "1 container (box)" in result.err
    assert installed.purge.stat().st_mode & 0o777 == 0o600
    assert (installed.nspawn.root / "containers/box").is_dir(), "nothing is deleted before the reboot"


def test_a_purge_without_a_terminal_needs_yes(installed: Installed) -> None:
    result = installed("--purge", stdin=b"delete everything\n")
    assert (result.status, installed.marks) == (2, (False, False)), str(result)
    assert "--yes" in result.err


@pytest.mark.parametrize(
    ("typed", "marks"), [("delete everything", (True, True)), ("y", (False, False)), ("", (False, False))]
)
def test_the_question(installed: Installed, typed: str, marks: tuple[bool, bool]) -> None:
    done = subprocess.run(
        ["script", "-qec", f"{installed.nspawn.path} uninstall --purge", "/dev/null"],
        input=f"{typed}\n".encode(),
        env=installed.nspawn.environment | {"NSPAWN_MODULE": str(installed.module)},
        capture_output=True,
        timeout=20,
    )
    assert b"Type `delete everything`" in done.stdout, done
    assert installed.marks == marks
    assert done.returncode == (0 if marks[0] else 130)


def test_it_can_be_taken_back(installed: Installed) -> None:
    installed("--purge", "--yes")
    assert installed("--keep").out.startswith("nspawn stays. ")
    assert installed.marks == (False, False)
    assert installed("--keep").out == "nspawn was not marked for removal\n"


def test_not_while_something_is_mounted_below(installed: Installed) -> None:
    place = installed.nspawn.root / "containers/box"
    words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs x "$0" && exec "$@"', str(place)]
    result = installed.nspawn(
        "uninstall", "--purge", "--yes", prefix=words, environment={"NSPAWN_MODULE": str(installed.module)}
    )
    assert (result.status, installed.marks) == (1, (False, False)), str(result)
    assert f"mounted at {os.path.realpath(place)}" in result.err


def test_a_checkout_is_not_uninstalled(nspawn: Program) -> None:
    result = nspawn("uninstall")
    assert result.status == 1
    assert "there is no module to uninstall" in result.err
