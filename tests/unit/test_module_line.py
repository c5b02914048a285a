"""The module's description line and a manager that writes at the same time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nspawn.container import module

if TYPE_CHECKING:
    from pathlib import Path

OLD = "id=nspawn\nversion=1\ndescription=old\n"
NEW = "id=nspawn\nversion=2\ndescription=fresh\n"


def test_a_version_that_is_installed_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "module.prop"
    path.write_text(OLD)
    sync, came = os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        if not came:
            came.append(1)
            path.write_text(NEW + "author=a\n")

    monkeypatch.setattr("os.fsync", fsync)
    module._replace(str(path), "one runs")
    assert path.read_text() == NEW.replace("fresh", "one runs") + "author=a\n"
    assert os.listdir(tmp_path) == ["module.prop"]


def test_a_file_that_never_rests_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "module.prop"
    path.write_text(OLD)
    sync, rounds = os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        rounds.append(1)
        path.write_text(OLD + "x=1\n" * len(rounds))

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match="again and again"):
        module._replace(str(path), "one runs")
    assert path.read_text().startswith(OLD)
    assert os.listdir(tmp_path) == ["module.prop"]
