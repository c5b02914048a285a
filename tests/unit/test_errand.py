from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from nspawn.container.errand import Errand
from nspawn.container.loop import Loop

if TYPE_CHECKING:
    import pytest

    from nspawn.container.spawner import Spawner


def test_an_event_does_not_wait_for_the_end_of_the_pause_after_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[Exception] = []
    ran: list[bool] = []
    loop = Loop(failures.append)
    monkeypatch.setattr(Errand, "run", lambda _self: ran.append(True))
    errand = Errand(cast("Spawner", SimpleNamespace(loop=loop)))
    errand._retry()
    errand.soon()
    errand.soon()
    loop.after(0.3, loop.stop)
    loop.run()
    assert (ran, failures) == ([True], [])
