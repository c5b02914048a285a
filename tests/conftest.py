"""For every test: a machine that is clean at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import machine

pytest_plugins = ["tests.support.fixtures"]


@pytest.fixture(scope="session", autouse=True)
def clean_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The whole suite leaves no mount, process, cgroup, interface or network namespace."""
    base = tmp_path_factory.getbasetemp()
    before = machine.look(base)
    yield
    found = machine.leaks(before, base)
    machine.tidy(before, base)
    assert not found, "left after all tests:\n" + "\n".join(found)
