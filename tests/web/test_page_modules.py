"""The page's own modules, run by Node: those that need no document."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_modules_of_the_page() -> None:
    tests = Path(__file__).parent / "js/page.test.mjs"
    done = subprocess.run(
        ["node", "--test", str(tests)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
