"""What `nspawn boot` does after the machine has started: the autostart containers, in their order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.errors import NspawnError
from nspawn.model import boot as order
from nspawn.service import files, remove
from nspawn.service.containers import Containers
from nspawn.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one container.  result: started, running, skipped or failed; error: why not."""

    name: str
    result: str
    error: NspawnError | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        error = None if self.error is None else self.error.as_dict()
        return {"name": self.name, "result": self.result, "error": error}


def boot(
    layout: Layout,
    tell: Callable[[Outcome], None],
    *,
    containers: Containers | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Start what is marked autostart; one that fails keeps none of the others from starting.

    Those that start after a failed one are skipped.  tell: hears of each as it is decided.
    """
    store = Store(layout)
    try:
        left = remove.sweep(store)
    except OSError as error:
        raise files.system_error("the containers cannot be read", error) from None
    outcomes: list[Outcome] = []

    def decide(name: str, result: str, error: NspawnError | None = None) -> None:
        outcome = Outcome(name=name, result=result, error=error)
        outcomes.append(outcome)
        tell(outcome)

    for folder in left:
        decide(folder, "failed", NspawnError("a leftover could not be removed", f"containers/{folder}"))
    use = Containers(layout) if containers is None else containers
    known = {each.name: each for each in use.list()}
    wishes = {name: each.settings.autostart for name, each in known.items()}
    for name, each in known.items():
        if each.damaged is not None and not each.usable:
            decide(name, "failed", each.damaged)
    plan = order.plan(wishes)
    for name, reason in plan.skipped:
        decide(name, "skipped", NspawnError(f"{name} was not started", reason, _hint(name)))
    failed: set[str] = set()
    for name, delay in plan.starts:
        behind = failed.intersection(wishes[name].after)
        if behind:
            failed.add(name)
            reason = f"it starts after {min(behind)}, which failed"
            decide(name, "skipped", NspawnError(f"{name} was not started", reason))
            continue
        if known[name].state.active:
            decide(name, "running")
            continue
        wait(delay)
        try:
            use.start(name)
        except NspawnError as error:
            failed.add(name)
            decide(name, "failed", error)
        else:
            decide(name, "started")
    return outcomes


def _hint(name: str) -> str:
    return f"Change it: nspawn set {name} autostart.after=..."
