"""Commands that are run, progress that is shown, and the error that a person can act on."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import places


class BuildError(Exception):
    """Something that a person must do first. what: one line; hint: what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def say(text: str) -> None:
    """One line of progress."""
    print(f"build.py: {text}", flush=True)


def command_line(words: Sequence[str | Path]) -> str:
    """The line that a person can paste."""
    return shlex.join(str(word) for word in words)


def execute(
    *words: str | Path,
    cwd: Path = places.HOME,
    env: Mapping[str, str] | None = None,
    show: bool = True,
    output: int | None = None,
) -> None:
    """Run a command; raises BuildError with the line to repeat when it fails.

    show: print the line. output: where its output goes (subprocess.DEVNULL), errors aside.
    """
    if show:
        print(f"+ {command_line(words)}", flush=True)
    try:
        status = subprocess.run([str(word) for word in words], cwd=cwd, env=env, stdout=output).returncode
    except OSError as error:
        raise BuildError(f"cannot start {words[0]}: {error.strerror}") from error
    if status:
        raise BuildError(f"status {status} from: {command_line(words)}")


def output_of(*words: str | Path, cwd: Path = places.HOME) -> str:
    """What a command prints; raises BuildError when it fails."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"cannot start {words[0]}: {error.strerror}") from error
    if done.returncode:
        raise BuildError(f"status {done.returncode} from: {command_line(words)}", done.stderr.strip())
    return done.stdout
