"""Emulated phones for the tests of the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.phone.phone import MANAGERS, Phone

NewPhone = Callable[..., Phone]


@pytest.fixture
def new_phone(needs_root: None, clean_module: None, tmp_path: Path) -> Iterator[NewPhone]:
    """Makes phones that are off; arguments as of Phone, without the folder."""
    with ExitStack() as phones:

        def make(*arguments: Any, **named: Any) -> Phone:
            folder = tmp_path / f"phone{len(list(tmp_path.glob('phone*')))}"
            return phones.enter_context(Phone(folder, *arguments, **named))

        yield make


@pytest.fixture(params=MANAGERS)
def manager(request: pytest.FixtureRequest) -> str:
    """Each root manager in turn."""
    name: str = request.param
    return name
