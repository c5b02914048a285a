"""Completion, in a real bash: the words are set as readline sets them, and the answers read back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nspawn.cli.names import SUBCOMMANDS
from nspawn.model.guard import FEATURES
from nspawn.model.settings import KEYS

COMPLETION = Path(__file__).resolve().parents[2] / "system/share/bash-completion/nspawn"
SCRIPT = """
. "$1"; shift
program=$1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
read -ra known < <(complete -p "$program")
"${known[2]}" && [ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(words: list[str], root: Path, cwd: Path | None = None) -> set[str]:
    """The answers for these words, the last of which is being typed."""
    environment = {"PATH": os.environ["PATH"], "NSPAWN_ROOT": str(root)}
    done = subprocess.run(
        ["bash", "-c", SCRIPT, "bash", str(COMPLETION), *words],
        env=environment,
        cwd=cwd or root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return {line for line in done.stdout.splitlines() if line}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("alpha", "alto", "beta"):
        (tmp_path / "containers" / name).mkdir(parents=True)
    (tmp_path / "containers" / "no-container").touch()
    (tmp_path / "image.tar").touch()
    return tmp_path


def test_the_first_word_is_a_subcommand_or_a_folder(root: Path) -> None:
    assert complete(["nspawn", ""], root) == set(SUBCOMMANDS) | {"containers"}
    assert complete(["nspawn", "co"], root) == {"console", "containers"}
    assert complete(["nspawn-mini", "co"], root) == {"containers"}


def test_the_guards_actions_and_features(root: Path) -> None:
    assert complete(["nspawn", "guard", ""], root) == {"status", "try-again", "never", "allow"}
    assert complete(["nspawn", "guard", "never", "p"], root) == {"pid"}
    assert complete(["nspawn", "guard", "allow", ""], root) == set(FEATURES)
    assert complete(["nspawn", "guard", "try-again", ""], root) == set()


@pytest.mark.parametrize(
    "command", ["start", "stop", "kill", "info", "exec", "shell", "console", "logs", "set", "rm"]
)
def test_names_of_containers(root: Path, command: str) -> None:
    assert complete(["nspawn", command, "al"], root) == {"alpha", "alto"}
    assert complete(["nspawn", command, ""], root) == {"alpha", "alto", "beta"}


def test_no_state_no_names(tmp_path: Path) -> None:
    assert complete(["nspawn", "start", ""], tmp_path / "absent", tmp_path) == set()


def test_sources_of_a_container(root: Path) -> None:
    options = complete(["nspawn", "create", "new", "--"], root)
    assert options >= {"--image", "--rootfs", "--tar", "--ssh-keys", "--password", "--keep", "--help"}
    assert complete(["nspawn", "image", "ver"], root) == {"verify"}
    images = complete(["nspawn", "create", "new", "--image", ""], root)
    assert images >= {"builtin", "debian", "docker.io/library/", "image.tar"}
    assert complete(["nspawn", "create", "new", "--rootfs", ""], root) == {"containers"}
    assert complete(["nspawn", "create", "new", "--tar", "im"], root) == {"image.tar"}


def test_options_before_a_rootfs(root: Path) -> None:
    assert complete(["nspawn", "--b"], root) == {"--bind", "--boot"}
    assert complete(["nspawn", "--env", ""], root) == set()
    assert complete(["nspawn", "--env", "A", "=", "b", "cont"], root) == {"containers"}
    assert complete(["nspawn", "--env", "=", "A", "=", "b", "cont"], root) == {"containers"}
    assert complete(["nspawn", "--net", "cont"], root) == {"containers"}
    assert complete(["nspawn", "--net", "=", "nat", "cont"], root) == {"containers"}
    assert complete(["nspawn", "-p", "8080", ":", "80", "--ip", "10.11.0.7", "cont"], root) == {"containers"}
    assert complete(["nspawn", "--on-down", "f"], root) == {"fallback"}
    assert complete(["nspawn", "--route-via", "w"], root) == {"wifi"}
    assert complete(["nspawn", "--ip"], root) == {"--ip", "--ipv6"}


def test_a_command_after_a_container_or_a_rootfs(root: Path) -> None:
    assert "mkdir" in complete(["nspawn", "exec", "alpha", "mkd"], root)
    assert "mkdir" in complete(["nspawn", "containers", "mkd"], root)


def test_the_keys_of_set_are_those_of_the_settings(root: Path) -> None:
    keys = {f"{key}=" for key in KEYS if key not in ("env", "rootfs")} | {"env."}
    assert complete(["nspawn", "set", "alpha", ""], root) == keys


@pytest.mark.parametrize("shell", ["mksh", "dash", "busybox ash"])
def test_other_shells_pass_over_it(shell: str) -> None:
    words = shell.split()
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]}")
    done = subprocess.run([*words, "-c", f". {COMPLETION}; echo after"], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("after\n", "", 0)


def test_it_lists_every_subcommand_once_more() -> None:
    """The `case` that tells subcommands from a rootfs names them all."""
    case = re.search(r"boot \| clone.*?\)", COMPLETION.read_text(), re.DOTALL)
    assert case is not None
    assert set(re.findall(r"[a-z]+", case.group())) == set(SUBCOMMANDS)
