from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from nspawn.container import properties

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("script", "value"), [("echo true", "true"), ("exit 1", ""), ("exec sleep 100", ""), (None, "")]
)
def test_a_getprop_that_hangs_fails_or_is_missing_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, value: str
) -> None:
    monkeypatch.setattr(properties, "_PATIENCE", 500)
    program = tmp_path / "getprop"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    began = time.monotonic()
    assert properties.getprop(str(program), "sys.boot_completed") == value
    assert time.monotonic() - began < 5
