"""The crash guard for a person: what happened, and what shall be done about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.container.client import Client
from nspawn.container.guard import Guard
from nspawn.errors import Conflict, NotRunning, UsageError
from nspawn.kernel import namespaces, pstore
from nspawn.model import guard as model
from nspawn.service import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.container.guard import Trip
    from nspawn.layout import Layout


@dataclass(frozen=True, kw_only=True)
class GuardStatus:
    """active: whether this machine has a guard (phones do).  blocked: no container is started.

    trip: the step in which the machine went down; text: the same in a sentence, or why it is the safe mode.
    features: what may be forbidden here; never: what is.  problem: what was wrong with the guard's own file.
    pstore: (name, text) of the kernel's last words, when something happened.
    """

    active: bool
    blocked: bool = False
    safe_mode: bool = False
    failed_boots: int = 0
    trip: Trip | None = None
    never: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    problem: str = ""
    pstore: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        trip = self.trip
        return {
            "active": self.active,
            "blocked": self.blocked,
            "safe_mode": self.safe_mode,
            "failed_boots": self.failed_boots,
            "trip": None
            if trip is None
            else {
                "step": trip.step,
                "container": trip.container,
                "feature": trip.feature,
                "kernel": trip.kernel,
                "when": trip.when,
                "text": trip.text,
            },
            "never": list(self.never),
            "features": list(self.features),
            "problem": self.problem,
            "pstore": [{"name": name, "text": text} for name, text in self.pstore],
        }


def status(layout: Layout, environ: Mapping[str, str] = os.environ) -> GuardStatus:
    """How the guard is now; nothing is changed and nothing raises."""
    guard = Guard(layout, environ)
    if not guard.active:
        return GuardStatus(active=False)
    here = namespaces.names(namespaces.available())
    return GuardStatus(
        active=True,
        blocked=guard.blocked,
        safe_mode=guard.safe_mode,
        failed_boots=guard.failed_boots,
        trip=guard.trip,
        never=tuple(sorted(guard.never)),
        features=tuple(name for name in here if name in model.FEATURES),
        problem=guard.problem,
        pstore=tuple(pstore.read()) if guard.blocked or guard.failed_boots else (),
    )


def try_again(layout: Layout, environ: Mapping[str, str] = os.environ) -> GuardStatus:
    """Start containers again as if nothing had happened; the autostart ones start at once."""
    return _decide(layout, environ, Guard.try_again)


def never_use(layout: Layout, feature: str, environ: Mapping[str, str] = os.environ) -> GuardStatus:
    """Leave this feature out from now on, everywhere; UsageError when it is none."""
    _known(feature)
    return _decide(layout, environ, lambda guard: guard.forbid(feature))


def allow(layout: Layout, feature: str, environ: Mapping[str, str] = os.environ) -> GuardStatus:
    """Use this feature again; UsageError when it is none."""
    _known(feature)
    return _decide(layout, environ, lambda guard: guard.allow(feature))


class OwnGuard:
    """These functions for one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def status(self) -> GuardStatus:
        """`status`."""
        return status(self._layout)

    def try_again(self) -> GuardStatus:
        """`try_again`."""
        return try_again(self._layout)

    def never_use(self, feature: str) -> GuardStatus:
        """`never_use`."""
        return never_use(self._layout, feature)

    def allow(self, feature: str) -> GuardStatus:
        """`allow`."""
        return allow(self._layout, feature)


def _known(feature: str) -> None:
    if feature == "mnt":
        raise UsageError("mount namespaces cannot be left out", "without them nothing can run")
    if feature not in model.FEATURES:
        raise UsageError(
            f"there is no feature {feature[:40]!r}", f"there are: {', '.join(sorted(model.FEATURES))}"
        )


def _decide(layout: Layout, environ: Mapping[str, str], change: Callable[[Guard], None]) -> GuardStatus:
    guard = Guard(layout, environ)
    if not guard.active:
        raise Conflict(
            "there is no crash guard here",
            "it is for phones",
            "For a trial, start the spawner and this command with NSPAWN_GUARD=1.",
        )
    try:
        os.makedirs(layout.root, 0o700, exist_ok=True)
        change(guard)
    except OSError as error:
        raise files.system_error("the crash guard's file was not written", error) from None
    try:
        Client(layout).call("guard")
    except NotRunning:
        pass  # the next one reads the file
    return status(layout, environ)
