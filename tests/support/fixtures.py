"""The fixtures of tests that start containers; tests/conftest.py makes them known everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import machine, rootfs
from tests.support.daemon import Daemon
from tests.support.program import REPOSITORY, Program


@pytest.fixture(scope="session")
def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("containers need root")


@pytest.fixture(scope="module")
def clean_module(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The module's tests leave nothing on the machine.  Modules outside integration/ ask for it."""
    base = tmp_path_factory.getbasetemp()
    before = machine.look(base)
    yield
    found = machine.leaks(before, base)
    machine.tidy(before, base)
    assert not found, "left after this module:\n" + "\n".join(found)


@pytest.fixture(scope="session")
def debian_base(needs_root: None) -> Path:
    """A Debian of the cache: read it, do not start it."""
    return rootfs.debian(rootfs.cache_folder(REPOSITORY), rootfs.PLAIN)


@pytest.fixture(scope="session")
def systemd_base(needs_root: None) -> Path:
    """A Debian with systemd, of the cache: read it, do not start it."""
    return rootfs.debian(rootfs.cache_folder(REPOSITORY), rootfs.WITH_SYSTEMD)


@pytest.fixture(scope="session")
def busybox_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rootfs.write_busybox(tmp_path_factory.mktemp("busybox") / "base")


@pytest.fixture
def debian(debian_base: Path, tmp_path: Path) -> Iterator[Path]:
    """A private Debian in a folder named my_debian."""
    with rootfs.layered(debian_base, tmp_path / "my_debian") as place:
        yield place


@pytest.fixture
def busybox(busybox_base: Path, tmp_path: Path) -> Path:
    """A private busybox in a folder named my_box."""
    return rootfs.copy(busybox_base, tmp_path / "my_box")


@pytest.fixture
def nspawn(tmp_path: Path) -> Program:
    return Program(tmp_path / "state")


@pytest.fixture
def mini(tmp_path: Path) -> Program:
    return Program(tmp_path / "state", "nspawn-mini")


@pytest.fixture
def daemon(nspawn: Program) -> Iterator[Daemon]:
    """Named containers without a page."""
    found = Daemon(nspawn)
    yield found
    found.end()
