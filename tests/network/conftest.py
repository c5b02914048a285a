"""The network layer from outside: a machine and its networks, in namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import Network


@pytest.fixture(scope="module", autouse=True)
def leak_check(clean_module: None) -> None:
    """Applies clean_module to each module of this folder."""


@pytest.fixture
def phone(needs_root: None, tmp_path: Path) -> Iterator[PhoneLab]:
    """An Android 13 without any uplink yet."""
    lab = PhoneLab(tmp_path / "lab")
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def host(needs_root: None, tmp_path: Path) -> Iterator[PlainLab]:
    """A plain Linux host without any uplink yet."""
    lab = PlainLab(tmp_path / "lab")
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def network(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    """The program on the phone."""
    found = Network(phone, tmp_path, busybox_base)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def on_host(host: PlainLab, tmp_path: Path, busybox_base: Path) -> Iterator[Network]:
    """The program on the plain host."""
    found = Network(host, tmp_path, busybox_base)
    try:
        yield found
    finally:
        found.close()
