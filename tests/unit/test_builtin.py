from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import NspawnError, Unsupported
from nspawn.images import builtin

if TYPE_CHECKING:
    from pathlib import Path

BUSYBOX = shutil.which("busybox") or ""


def test_static_programs_are_told_from_others(tmp_path: Path) -> None:
    assert not builtin.is_static("/bin/ls")
    assert not builtin.is_static(str(tmp_path / "missing"))
    for content in (
        b"",
        b"#!/bin/sh\n",
        b"\x7fELF",
        b"\x7fELF\2\1" + bytes(58),
        b"\x7fELF\1\1" + b"\xff" * 58,
    ):
        (tmp_path / "x").write_bytes(content)
        assert not builtin.is_static(str(tmp_path / "x"))


@pytest.mark.skipif(not builtin.is_static(BUSYBOX), reason="needs a static busybox")
def test_the_rootfs_has_a_shell_and_its_folders(tmp_path: Path) -> None:
    builtin.make(str(tmp_path), BUSYBOX)
    assert os.readlink(tmp_path / "bin/sh") == "busybox"
    assert (tmp_path / "usr/bin/env").resolve() == tmp_path / "bin/busybox"
    assert stat.S_IMODE((tmp_path / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
    assert (tmp_path / "etc/passwd").read_text().startswith("root:x:0:0:")
    result = subprocess.run(
        [str(tmp_path / "bin/sh"), "-c", "echo ok"], capture_output=True, text=True, check=True
    )
    assert result.stdout == "ok\n"


def test_the_bundled_busybox_is_preferred(tmp_path: Path) -> None:
    own = tmp_path / "share/builtin" / platform.machine() / "busybox"
    own.parent.mkdir(parents=True)
    if builtin.is_static(BUSYBOX):
        shutil.copy(BUSYBOX, own)
        assert builtin.find_busybox(platform.machine(), str(tmp_path)) == str(own)


def test_no_busybox_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "is_static", lambda _path: False)
    with pytest.raises(Unsupported, match="no static busybox for mips"):
        builtin.find_busybox("mips", str(tmp_path))


def test_a_program_that_is_no_busybox_is_said() -> None:
    with pytest.raises(NspawnError, match="has no shell"):
        builtin.applets("/bin/true")
    with pytest.raises(NspawnError):
        builtin.applets("/bin/false")
