"""The environment of the command: four variables, and what --env adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import PATH, Program


def seen(nspawn: Program, rootfs: Path, *options: str, term: str | None = "xterm") -> dict[str, str]:
    result = nspawn(
        *options,
        rootfs,
        "env",
        "-0",
        environment={"TERM": term, "SECRET": "of the host", "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/y"},
    )
    assert result.status == 0, str(result)
    return dict(entry.split("=", 1) for entry in result.out.split("\0") if entry)


def test_the_environment_is_exactly_these_four(nspawn: Program, busybox: Path) -> None:
    assert seen(nspawn, busybox) == {
        "PATH": PATH,
        "HOME": "/root",
        "TERM": "xterm",
        "container": "nspawn",
    }


@pytest.mark.parametrize("term", [None, ""])
def test_without_a_terminal_type_it_is_xterm_256color(
    nspawn: Program, busybox: Path, term: str | None
) -> None:
    assert seen(nspawn, busybox, term=term)["TERM"] == "xterm-256color"


@pytest.mark.parametrize("value", ["", "plain", "a=b=c", "two words", "ü€", "line\nbreak", "'\"$HOME\\"])
def test_env_adds_a_variable_unchanged(nspawn: Program, busybox: Path, value: str) -> None:
    assert seen(nspawn, busybox, "--env", f"ADDED={value}")["ADDED"] == value


def test_env_may_be_written_with_an_equals_sign_or_many_times(nspawn: Program, busybox: Path) -> None:
    found = seen(nspawn, busybox, "--env", "A=1", "--env", "B=2", "--env=C=3", "--env", "A=4")
    assert (found["A"], found["B"], found["C"]) == ("4", "2", "3")


def test_env_can_replace_the_usual_ones(nspawn: Program, busybox: Path) -> None:
    found = seen(nspawn, busybox, "--env", "TERM=dumb", "--env", "HOME=/home", "--env", "container=other")
    assert (found["TERM"], found["HOME"], found["container"]) == ("dumb", "/home", "other")


def test_a_long_value_passes(nspawn: Program, busybox: Path) -> None:
    value = "x" * 100_000
    assert seen(nspawn, busybox, "--env", f"LONG={value}")["LONG"] == value


def test_the_first_process_has_the_same_environment(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox) as box:
        found = set(box.sh("tr '\\0' '\\n' < /proc/1/environ").splitlines())
    assert "container=nspawn" in found
    assert not any(line.startswith(("NSPAWN", "SECRET", "LANG")) for line in found)
