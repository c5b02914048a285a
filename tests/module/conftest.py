"""Emulated phones for the tests of the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import scripted
from tests.support.phone import release
from tests.support.phone.phone import MANAGERS, Phone
from tests.support.phone.server import Server

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


@pytest.fixture(scope="session")
def archive() -> Path:
    """The real zip for this machine."""
    return release.build("amd64")


@pytest.fixture(scope="session")
def small_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own files with stand-ins for the bundle: for what the scripts do."""
    return scripted.release(tmp_path_factory.mktemp("zip") / "nspawn.zip")


@pytest.fixture
def server(new_phone: NewPhone, archive: Path) -> Server:
    """A phone with Magisk and the module, on and booted."""
    found = Server(new_phone("magisk"))
    found.install(archive)
    return found


@pytest.fixture
def in_order(request: pytest.FixtureRequest) -> None:
    """For tests of a module that tell one story: when one failed, those after it are left out."""
    before = vars(request.module).setdefault("failures_before", request.session.testsfailed)
    if request.session.testsfailed > before:
        pytest.skip("a test before it failed")
