"""Style, types, import contract, scripts, page, spelling."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tools import places
from tools.node import vendored_differences
from tools.process import output_of, say


def repository_files() -> list[str]:
    """Every file that is or would be committed."""
    listed = output_of("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted(name for name in set(listed) if name and (places.HOME / name).is_file())


def shell_files(names: Sequence[str], home: Path = places.HOME) -> tuple[list[str], list[str]]:
    """The POSIX sh files and the bash files among them, told by their first line or ending."""
    posix, bash = [], []
    for name in names:
        with (home / name).open("rb") as file:
            first = file.readline(80).rstrip()
        words = first[2:].split() if first.startswith(b"#!") else []
        program = Path(os.fsdecode(words[-1])).name if words else ""
        if program == "bash" or "bash-completion/" in name:
            bash.append(name)
        elif program in ("sh", "ash") or name.endswith(".sh"):
            posix.append(name)
    return posix, bash


def lint_checks(names: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Every check by its name: the commands that must all succeed."""
    tool = str(places.VENV / "bin") + "/"
    node = "node_modules/.bin/"
    posix, bash = shell_files(names)
    shells = ("busybox ash", "dash", "mksh")
    # Named, because left alone it would follow the links of a cached rootfs to the ends of this machine.
    configuration = [name for name in names if name.endswith(".json") and "/" not in name]
    configuration.remove("package-lock.json")
    return [
        ("ruff", [[tool + "ruff", "check", "--quiet", "."]]),
        ("format", [[tool + "ruff", "format", "--check", "--quiet", "."]]),
        ("mypy", [[tool + "mypy", "--no-error-summary"]]),
        ("imports", [[tool + "lint-imports", "--no-cache"]]),
        ("shellcheck", [["shellcheck", *posix, *bash]]),
        *((shell, [[*shell.split(), "-n", name] for name in posix]) for shell in shells),
        ("bash", [["bash", "-n", name] for name in bash]),
        ("biome", [[node + "biome", "ci", "--error-on-warnings", "--colors=off", "webroot", *configuration]]),
        ("tsc", [[node + "tsc", "--project", "tsconfig.json"]]),
        ("codespell", [[tool + "codespell", *names]]),
    ]


def lint() -> int:
    """Run all checks, then name those that failed. Returns 0 or 1."""
    failed = []
    env = dict(os.environ, PYTHONPATH=str(places.HOME / "python"))
    for name, commands in lint_checks(repository_files()):
        started = time.monotonic()
        done = [
            subprocess.run(
                words, cwd=places.HOME, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for words in commands
        ]
        wrong = [result.stdout.strip() for result in done if result.returncode]
        say(f"lint: {name}: {'FAILED' if wrong else 'good'} ({time.monotonic() - started:.1f} s)")
        if wrong:
            print("\n".join(wrong), flush=True)
            failed.append(name)
    differences = vendored_differences()
    if differences:
        print("\n".join(differences), flush=True)
        failed.append("vendored files")
    say(f"lint: failed: {', '.join(failed)}" if failed else "lint: all good")
    return 1 if failed else 0
