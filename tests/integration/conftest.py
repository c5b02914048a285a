"""Every module here starts containers: as root, and leaving nothing."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def leak_check(clean_module: None) -> None:
    """Applies clean_module to each module of this folder."""
