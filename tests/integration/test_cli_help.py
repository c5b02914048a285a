"""What a newcomer asks first."""

from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.cli.names import SUBCOMMANDS
from tests.support.program import Program


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_explains_itself_to_a_pipe(nspawn: Program, command: str) -> None:
    result = nspawn(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"usage: nspawn {command}")
    assert SUBCOMMANDS[command].split(",")[0][:20] in result.out


def test_the_help_tells_what_each_command_does(nspawn: Program) -> None:
    result = nspawn("--help")
    assert result.status == 0
    for command, text in SUBCOMMANDS.items():
        assert f"  {command:<9} {text}\n" in result.out


def test_a_mistyped_command_is_guessed(nspawn: Program) -> None:
    result = nspawn("strt", "box")
    assert result.status == 2
    assert "no command 'strt'" in result.err
    assert "Did you mean `nspawn start`?" in result.err


def test_a_folder_without_a_slash_is_a_rootfs(nspawn: Program, busybox: Path) -> None:
    result = nspawn(busybox.name, "/bin/true", prefix=["env", "-C", str(busybox.parent)])
    assert (result.status, result.err) == (0, "")


def test_set_without_changes_shows_every_key(nspawn: Program) -> None:
    nspawn.ok("create", "box", "--image", "builtin")
    shown = nspawn.ok("set", "box").out.splitlines()
    assert "autostart.enabled=false" in shown
    assert "stop_time=10.0" in shown
    assert (
        nspawn.ok("set", "box", *(line for line in shown if not line.startswith(("rootfs", "image")))).status
        == 0
    )


@pytest.mark.parametrize(
    ("option", "kind", "advice"), [("--rootfs", "file", "--tar"), ("--tar", "folder", "--rootfs")]
)
def test_a_source_of_the_other_kind_is_explained(
    nspawn: Program, tmp_path: Path, option: str, kind: str, advice: str
) -> None:
    source = tmp_path / "source"
    source.mkdir() if kind == "folder" else source.touch()
    result = nspawn("create", "box", option, str(source))
    assert result.status == 2
    assert f"is a {kind}" in result.err
    assert advice in result.err


def test_the_console_of_nobody(nspawn: Program) -> None:
    result = nspawn("console", "nobody")
    assert result.status == 1
    assert "there is no container" in result.err
