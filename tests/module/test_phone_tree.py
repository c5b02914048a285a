"""The Android-looking root that the emulated phones run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import check
from tests.support.phone import debs, elf, tree

pytestmark = [pytest.mark.phone, pytest.mark.root, pytest.mark.usefixtures("needs_root")]


@pytest.fixture(scope="module", params=debs.ARCHITECTURES)
def root(request: pytest.FixtureRequest, needs_root: None) -> Path:
    return tree.build(request.param)


def test_programs_are_android_s(root: Path) -> None:
    for name in ("toybox", "sh", "ip", "iptables"):
        data = (root / "system/bin" / name).read_bytes()
        assert elf.interpreter(data) == "/system/bin/linker64", name


def test_libraries_are_all_there(root: Path) -> None:
    libraries = root / "system/lib64"
    files = [*(root / "system/bin").iterdir(), *libraries.glob("*.so*"), *libraries.glob("xtables/*")]
    for path in files:
        if path.is_file() and not path.is_symlink():
            for name in elf.needed(path.read_bytes()):
                assert (libraries / name).exists() or (libraries / name).is_symlink(), f"{path} needs {name}"


def test_nothing_of_a_linux_machine(root: Path) -> None:
    assert not {"usr", "lib", "lib64", "run", "tmp", "var", "home"} & {path.name for path in root.iterdir()}
    assert (root / "etc").readlink() == Path("/system/etc")


def test_commands_run() -> None:
    root = tree.build("amd64")

    def inside(*command: str) -> str:
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/system/bin")
        return check([*clean, "chroot", root, *command]).out.strip()

    links = [path for path in (root / "system/bin").iterdir() if path.is_symlink()]
    toybox = {path.name for path in links if path.readlink() == Path("toybox")}
    assert len(toybox) > 150
    assert toybox <= set(inside("/system/bin/toybox").split())
    assert inside("/system/bin/sh", "-c", "echo $(( 6 * 7 )) | tr 42 AB; expr 1 + 2") == "AB\n3"
    assert "iproute2" in inside("/system/bin/ip", "-V")
    assert "legacy" in inside("/system/bin/iptables", "-V")
