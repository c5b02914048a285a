"""nspawn-mini: the same core without network options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import processes
from tests.support.program import PATH, Program


def test_it_runs_a_command_with_its_status(mini: Program, busybox: Path) -> None:
    result = mini(busybox, "/bin/sh", "-c", "hostname; exit 3")
    assert (result.status, result.out, result.err) == (3, "my-box\n", "")


def test_the_default_command_is_a_login_shell(mini: Program, busybox: Path) -> None:
    result = mini(busybox, stdin=b"tr '\\0' ' ' </proc/$$/cmdline; exit 4\n")
    assert result.status == 4, str(result)
    assert "/bin/sh -il" in result.out


@pytest.mark.parametrize("kind", ["mnt", "pid", "ipc", "uts", "cgroup"])
def test_it_has_its_own_namespaces(mini: Program, busybox: Path, kind: str) -> None:
    result = mini(busybox, "readlink", f"/proc/self/ns/{kind}")
    assert result.status == 0
    assert result.out.strip() != processes.namespace("self", kind)


def test_it_uses_the_hosts_network(mini: Program, busybox: Path) -> None:
    assert mini(busybox, "readlink", "/proc/self/ns/net").out.strip() == processes.namespace("self", "net")


def test_it_has_no_network_option(mini: Program, busybox: Path) -> None:
    result = mini("--net", busybox, "true")
    assert result.status == 2, str(result)
    assert "--net" in result.err


def test_it_knows_no_subcommand(mini: Program, busybox: Path, tmp_path: Path) -> None:
    busybox.rename(tmp_path / "list")
    assert mini("list", "echo", "ran", directory=tmp_path).out == "ran\n"


def test_the_environment_is_the_same(mini: Program, busybox: Path) -> None:
    result = mini(busybox, "env")
    assert set(result.lines) == {f"PATH={PATH}", "HOME=/root", "TERM=xterm", "container=nspawn"}


def test_help_and_version_and_errors_bear_its_name(mini: Program, tmp_path: Path) -> None:
    help_text = mini("-h")
    assert help_text.status == 0
    assert "nspawn-mini" in help_text.out
    assert "--net" not in help_text.out
    assert mini("-V").status == 0
    missing = mini(tmp_path / "nowhere", "true")
    assert missing.status == 1
    assert missing.err.startswith("nspawn-mini: ")
