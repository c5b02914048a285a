"""The tests and the benchmark."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tools import places
from tools.lint import lint
from tools.process import BuildError, command_line, say


def test(*, fast: bool, arguments: Sequence[str]) -> int:
    """Lint, then all tests; pytest's closing line comes last. Returns 0 only when both are good."""
    if os.geteuid() != 0:
        say("not root: the tests that start containers will be skipped")
    bad = lint()
    select = ["-m", "not slow"] if fast else []
    words = [str(places.PYTHON), "-m", "pytest", *select, *arguments]
    print(f"+ {command_line(words)}", flush=True)
    status = subprocess.run(words, cwd=places.HOME).returncode
    return status or bad


def bench(arguments: Sequence[str]) -> int:
    """Compare with the peers; without --only, docs/benchmark.md and docs/benchmark.json are written."""
    if os.geteuid() != 0:
        raise BuildError("the benchmark starts containers: it needs root", "Run: sudo python3 build.py bench")
    words = [str(places.PYTHON), "tests/bench/run.py", *arguments]
    print(f"+ {command_line(words)}", flush=True)
    return subprocess.run(words, cwd=places.HOME).returncode
