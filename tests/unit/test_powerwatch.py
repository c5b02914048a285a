from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from nspawn.container.loop import Loop
from nspawn.container.powerwatch import PowerWatch
from nspawn.errors import Unsupported
from nspawn.kernel import battery
from nspawn.model.power import Reading, Rules

if TYPE_CHECKING:
    import pytest

    from nspawn.container.spawner import Spawner


def test_a_kernel_that_cannot_freeze_fills_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def freeze(why: str, _cause: str) -> None:
        tried.append(why)
        raise Unsupported("one cannot be frozen")

    extras = SimpleNamespace(
        rules=Rules(freeze_above=40), frozen="", cause="", spared="", freeze=freeze, thaw=None
    )
    failures: list[Exception] = []
    lines: list[str] = []
    spawner = SimpleNamespace(
        loop=Loop(failures.append),
        log=lines.append,
        instances={"one": SimpleNamespace(name="one", state="running", extras=extras)},
    )
    monkeypatch.setattr(battery, "read", lambda _folder: Reading(celsius=50.0))
    watch = PowerWatch(cast("Spawner", spawner))
    for _event in range(3):
        watch.look()
    watch.close()
    assert (len(tried), failures) == (3, [])
    assert len(lines) == 1
    assert "one cannot be frozen" in lines[0]
