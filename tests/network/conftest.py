"""The network layer from outside: a machine and its networks, in namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab


@pytest.fixture(scope="module", autouse=True)
def leak_check(clean_module: None) -> None:
    """Applies clean_module to each module of this folder."""


@pytest.fixture
def phone(needs_root: None, tmp_path: Path) -> Iterator[PhoneLab]:
    """An Android 13 without any uplink yet."""
    lab = PhoneLab(tmp_path)
    try:
        yield lab
    finally:
        lab.close()
