"""Section "refuses": every refusal is one clear error, with the right status and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Result
from tests.support.program import REPOSITORY, Program


def is_clear(result: Result, status: int, *words: str) -> None:
    """One error of the program's own, that names what it is about."""
    assert result.status == status, str(result)
    assert result.err.startswith("nspawn"), str(result)
    assert "Traceback" not in result.err, str(result)
    assert result.out == "", str(result)
    assert len(result.err.splitlines()) <= 4, str(result)
    for word in words:
        assert word in result.err, str(result)


def test_a_missing_rootfs_is_named(nspawn: Program, tmp_path: Path) -> None:
    is_clear(nspawn(tmp_path / "nowhere", "true"), 1, str(tmp_path / "nowhere"))


def test_a_rootfs_that_is_a_file_is_named(nspawn: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    is_clear(nspawn(tmp_path / "file", "true"), 1, str(tmp_path / "file"))


def test_the_hosts_own_root_is_refused(nspawn: Program) -> None:
    is_clear(nspawn("/", "true"), 1)


def test_a_caller_who_is_not_root_is_told_so(nspawn: Program, busybox: Path) -> None:
    # dac_override: the checkout and its interpreter may lie where only root can read.
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    nobody += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    is_clear(nspawn(busybox, "true", prefix=nobody), 1, "root")


def test_a_kernel_below_4_19_is_refused(nspawn: Program, busybox: Path) -> None:
    is_clear(nspawn(busybox, "true", prefix=["setarch", "--uname-2.6"]), 1, "4.19")


def test_no_arguments_at_all_is_a_usage_error(nspawn: Program) -> None:
    result = nspawn()
    assert result.status == 2, str(result)
    assert "nspawn" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--env"],
        ["--env", "NOVALUE"],
        ["--env", "=x"],
        ["--env", "1A=x"],
        ["--bind", "/tmp"],
        ["--bind", "relative:/mnt"],
        ["--bind", "/tmp:relative"],
        ["--bind", "/tmp:/a/../../b"],
        ["--bind", "/tmp:/"],
        ["--bind", "/tmp:/mnt:rx"],
        ["--hostname", "under_score"],
        ["--hostname", ""],
        ["--hostname", "x" * 65],
        ["--hostname", "two words"],
        ["--workdir", "relative"],
        ["--workdir"],
        ["--workdir", ""],
        ["--user", ""],
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_a_usage_error(nspawn: Program, busybox: Path, options: list[str]) -> None:
    arguments = (
        [*options, str(busybox), "true"] if len(options) != 1 or options == ["--nonsense"] else options
    )
    is_clear(nspawn(*arguments), 2)


def test_a_user_the_container_does_not_know_is_named(nspawn: Program, busybox: Path) -> None:
    is_clear(nspawn("--user", "stranger", busybox, "true"), 1, "stranger")


def test_a_bind_of_nothing_is_named(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    is_clear(nspawn("--bind", f"{missing}:/mnt", busybox, "true"), 1, str(missing))


def test_a_workdir_that_is_missing_is_named(nspawn: Program, busybox: Path) -> None:
    is_clear(nspawn("--workdir", "/not/there", busybox, "true"), 1, "/not/there")


def test_a_rootfs_without_any_shell_or_command_says_so(nspawn: Program, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = nspawn(tmp_path / "empty")
    assert result.status in (1, 127), str(result)
    assert result.err.startswith("nspawn"), str(result)
    assert "Traceback" not in result.err


def test_boot_without_an_init_says_so(nspawn: Program, busybox: Path) -> None:
    (busybox / "bin" / "init").unlink()
    result = nspawn("--boot", busybox)
    assert result.status in (1, 127), str(result)
    assert "init" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_option(nspawn: Program, option: str) -> None:
    result = nspawn(option)
    assert result.status == 0
    assert result.err == ""
    for name in (
        *("--net", "--env", "--bind", "--workdir", "--user", "--read-only"),
        *("--hostname", "--boot", "--ephemeral", "-h", "-V"),
    ):
        assert name in result.out, name


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_the_packages(nspawn: Program, option: str) -> None:
    source = (REPOSITORY / "python" / "nspawn" / "__init__.py").read_text()
    version = source.split('__version__ = "')[1].split('"')[0]
    result = nspawn(option)
    assert result.status == 0
    assert version in result.out


def test_help_and_version_need_no_root(nspawn: Program) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    nobody += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    assert nspawn("-h", prefix=nobody).status == 0
    assert nspawn("-V", prefix=nobody).status == 0


@pytest.mark.parametrize(
    "command",
    [
        *("boot", "console", "create", "doctor", "exec", "info", "kill", "list", "login", "logs"),
        *("rename", "restart", "rm", "serve", "set", "shell", "shutdown", "start", "stop", "token"),
    ],
)
def test_every_command_has_its_help(nspawn: Program, command: str) -> None:
    result = nspawn(command, "--help")
    assert result.status == 0, str(result)
    assert f"nspawn {command}" in result.out, str(result)
    assert result.err == ""
    assert not nspawn.root.exists()


@pytest.mark.parametrize("words", [["start"], ["start", "--nonsense"], ["list", "extra"], ["rm", "a", "b"]])
def test_a_wrong_command_line_of_a_command_is_a_usage_error(nspawn: Program, words: list[str]) -> None:
    is_clear(nspawn(*words), 2)
