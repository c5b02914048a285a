"""Running a program with a time limit, and what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished program.

    status: as a shell gives it, 128 + n for a signal.
    """

    arguments: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode("utf-8", "surrogateescape")

    @property
    def err(self) -> str:
        return self.stderr.decode("utf-8", "surrogateescape")

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def __str__(self) -> str:
        return f"{' '.join(self.arguments)}\nstatus {self.status}\nstdout: {self.out}\nstderr: {self.err}"


class TooSlow(AssertionError):
    """The program did not end in its time; its process group was killed."""


def shell_status(returncode: int) -> int:
    """What a shell would report for a return code of subprocess."""
    return 128 - returncode if returncode < 0 else returncode


def run(
    arguments: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float = 20.0,
    descriptors: Sequence[int] = (),
) -> Result:
    """Run it in its own session, and wait at most `timeout` seconds.

    descriptors: open ones that the program inherits too.
    Raises TooSlow.
    """
    words = tuple(str(word) for word in arguments)
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if environment is None else dict(environment),
        cwd=directory,
        start_new_session=True,
        pass_fds=tuple(descriptors),
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            end_group(process.pid)
            try:
                stdout, stderr = process.communicate(timeout=5)
            except subprocess.TimeoutExpired as error:
                stdout, stderr = error.stdout or b"", error.stderr or b""
            raise TooSlow(
                f"{' '.join(words)} did not end in {timeout} s\nstdout: {stdout!r}\nstderr: {stderr!r}"
            ) from None
    return Result(arguments=words, status=shell_status(process.returncode), stdout=stdout, stderr=stderr)


def end_group(leader: int) -> None:
    """Kill a process group that this test started; gone is fine."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def check(arguments: Sequence[str | Path], *, stdin: bytes = b"", timeout: float = 20.0) -> Result:
    """Run it and demand status 0."""
    result = run(arguments, stdin=stdin, timeout=timeout)
    assert result.status == 0, str(result)
    return result
