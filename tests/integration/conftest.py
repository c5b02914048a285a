"""Every module here starts containers: as root, and leaving nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import veths
from tests.support.daemon import Daemon
from tests.support.fakephone import FakePhone, daemon_on
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network
from tests.support.program import Program
from tests.support.xtablesbox import Firewall


@pytest.fixture(scope="module", autouse=True)
def leak_check(clean_module: None) -> None:
    """Applies clean_module to each module of this folder."""


@pytest.fixture
def phone(tmp_path: Path) -> FakePhone:
    return FakePhone(tmp_path / "phone")


@pytest.fixture
def on_phone(phone: FakePhone, nspawn: Program) -> Iterator[Daemon]:
    """A daemon on the fake phone."""
    with daemon_on(phone, nspawn) as found:
        yield found


@pytest.fixture
def host(needs_root: None, tmp_path: Path) -> Iterator[PlainLab]:
    """A plain Linux host in a network namespace of its own, with WiFi."""
    lab = PlainLab(tmp_path / "lab")
    try:
        lab.connect("wifi")
        yield lab
    finally:
        lab.close()


@pytest.fixture
def on_host(host: PlainLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    """The program on it."""
    found = Network(host, tmp_path, busybox_base)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(params=["legacy", "nft"])
def fire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firewall]:
    """Each variant of iptables, in a network namespace of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with veths.namespaces("fw-alone"), veths.inside("fw-alone"):
        yield Firewall(request.param, folder)
