from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.web import Web


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)
