"""The spawner's side of the crash guard: what is new is noted, and watched for a while."""

from __future__ import annotations

import os
import time

from nspawn.container.guard import Guard
from nspawn.errors import NspawnError
from nspawn.layout import phone
from nspawn.model import guard as model
from nspawn.model.phone import BOOT_REASONS, GETPROP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner

#: Seconds after a step for which the machine has to go on.
_SETTLED = 3.0
#: Starts that settle within this time share one write.
_SLACK = 0.25
#: Seconds after which a boot came up well.
_CAME_UP = 60.0


class Probation:
    """guard: where it is written."""

    __slots__ = ("_admitted", "_proving", "_spawner", "_starts", "guard")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self.guard = Guard(spawner.layout, os.environ)
        self._admitted = not self.guard.active
        self._proving: list[str] = []
        self._starts: dict[str, float] = {}

    def open(self, *, boot: bool) -> None:
        """Begin.  boot: the machine is starting, and this start counts, once."""
        guard = self.guard
        if not guard.active:
            return
        if boot and guard.begin_boot(_ended_in_order):
            self._spawner.loop.after(_CAME_UP, self._came_up)
        if guard.inherited():
            # A spawner before us wrote them and died; the machine did not.
            self._spawner.loop.after(_SETTLED, self._clear_inherited)
        if guard.problem:
            self._spawner.log(guard.problem)
        try:
            guard.check()
        except NspawnError as error:
            self._spawner.log(error.render())

    def admit(self) -> None:
        """Before a cell is made: Conflict when none may be, else what is new is tried, once.

        NspawnError when it cannot be noted: then it is not tried.
        """
        if self._admitted:
            return
        self._proving = self.guard.prove(self._spawner.host)
        self._admitted = True
        if self._proving:
            self._spawner.loop.after(_SETTLED, self._proved)

    def _proved(self) -> None:
        if not self.guard.clear(model.NAMESPACE, proven=self._proving):
            self._spawner.loop.after(_CAME_UP, self._proved)

    def starting(self, name: str, *, always: bool) -> None:
        """Before a container starts: note it when it is new on this kernel, or always.

        Conflict when nothing may be started.  What has run here before starts though it cannot be noted, so
        that a full disk stops no server; what has not does not.
        """
        guard = self.guard
        if not guard.active:
            return
        guard.check()
        proven = guard.is_proven(_proof(name))
        if proven and not always:
            return
        try:
            guard.note(model.START, container=name)
        except NspawnError as error:
            if not proven:
                raise
            self._spawner.log(f"{error}; it starts all the same, for it has run on this kernel before")
            return
        self._starts[name] = time.monotonic()
        self._spawner.loop.after(_SETTLED, self._settle)

    def forget(self, name: str) -> None:
        """A container that is removed or renamed."""
        if self.guard.active:
            self.guard.unprove(_proof(name))

    def _settle(self) -> None:
        """The machine has gone on: take back the notes of the starts that are old enough."""
        until = time.monotonic() - _SETTLED + _SLACK
        over = [name for name, since in self._starts.items() if since <= until]
        if not over:
            return
        ran = []
        for name in over:
            instance = self._spawner.instances.get(name)
            if instance is not None and instance.launch.failure is None and instance.started:
                ran.append(_proof(name))
        if not self.guard.clear(model.START, containers=over, proven=ran):
            self._spawner.loop.after(_CAME_UP, self._settle)
            return
        for name in over:
            del self._starts[name]

    def _clear_inherited(self) -> None:
        self.guard.clear_inherited()

    def _came_up(self) -> None:
        self._spawner.rest.stir()
        if not self.guard.came_up():
            self._spawner.log("that this boot came up well could not be written")

    def read(self) -> bool:
        """What a person decided counts from now on; whether that has unblocked the starts."""
        blocked = self.guard.blocked
        self.guard.read()
        self._admitted = not self.guard.active
        self._spawner.host.choose(self.guard.never)
        return blocked and not self.guard.blocked

    def end(self) -> None:
        """An orderly end: nothing is open, and the boot was a good one."""
        if self.guard.active:
            self.guard.clear()
            self.guard.came_up()


def _ended_in_order() -> bool:
    """Whether Android says that it was somebody's wish that the last boot ended."""
    from nspawn.container import properties  # rarely needed

    root = phone(os.environ, "")
    reasons = (properties.getprop(f"{root}{GETPROP}", name) for name in BOOT_REASONS)
    return model.is_orderly(next(filter(None, reasons), ""))


def _proof(container: str) -> str:
    return f"{model.START}:{container}"
