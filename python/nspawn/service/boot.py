"""The boot: the autostart containers, each when what it waits for has come.

One step (`boot`) starts what can start, writes down what it decided, says to the spawner what it waits for,
and is over.  The spawner makes the next step at the next event, by a short-lived process (`main`).  Steps are
idempotent: what had its turn in this boot of the machine is not started again.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nspawn.android import conditions
from nspawn.container import bootrecord
from nspawn.container.client import Client
from nspawn.container.guard import Guard
from nspawn.errors import Conflict, NotRunning, NspawnError
from nspawn.kernel import process
from nspawn.layout import Layout
from nspawn.model import boot as model
from nspawn.model.record import Record
from nspawn.service import daemon, files, page, remove, storage
from nspawn.service.containers import Containers
from nspawn.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from nspawn.service.containers import Container

#: A container that was not marked when this boot began: `nspawn boot` starts it, an event does not.
_LATER = "later"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one container.

    result: started, running, stopped, waits, skipped or failed; error: why not; waits: for what, in words.
    """

    name: str
    result: str
    error: NspawnError | None = None
    waits: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        error = None if self.error is None else self.error.as_dict()
        return {"name": self.name, "result": self.result, "error": error, "waits": self.waits}


@dataclass(kw_only=True)
class Decided:
    """What has been decided in one boot.  results, reasons, since: by container.

    expected: those that were marked when this boot began; what is marked later waits for the next boot, or
    for a person who asks.
    """

    boot_id: str
    expected: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    fresh: bool = True
    finished: bool = False

    @classmethod
    def load(cls, layout: Layout) -> Decided:
        boot_id = process.boot_id()
        record = bootrecord.read(layout, boot_id)
        self = cls(boot_id=boot_id, fresh=record is None)
        if record is not None:
            self.finished = record.flag("finished")
            self.expected.update(_texts(record, "expects"))
            names, results, reasons = (_texts(record, key) for key in ("name", "result", "reason"))
            self.results.update(zip(names, results, strict=False))
            self.reasons.update(zip(names, reasons, strict=False))
            for name, at in zip(_texts(record, "since"), _texts(record, "since-at"), strict=False):
                self.since[name] = float(at)
        return self

    def save(self, layout: Layout, *, finished: bool) -> None:
        record = Record((("boot-id", self.boot_id), ("finished", int(finished))))
        for name in sorted(self.expected):
            record.add("expects", name)
        for name, result in self.results.items():
            record.add("name", name)
            record.add("result", result)
            record.add("reason", self.reasons.get(name, ""))
        for name, at in self.since.items():
            record.add("since", name)
            record.add("since-at", at)
        bootrecord.write(layout, record)


def _texts(record: Record, key: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in record.all(key)]


def boot(
    layout: Layout,
    tell: Callable[[Outcome], None],
    *,
    asked: bool = True,
    again: bool = False,
    containers: Containers | None = None,
    look: Callable[[Collection[str]], Collection[str]] = conditions.look,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Start what is marked autostart and can start now; one that fails keeps none of the others from it.

    NotRunning when the spawner dies meanwhile; nothing is decided then.

    tell: hears of each as it is decided, then of those that wait.  asked: by a person, so that what failed
    before is tried again; again: also what ran in this boot already.  look: which of these conditions hold.
    """
    store = Store(layout)
    store.prepare()
    use = Containers(layout) if containers is None else containers
    with _alone(layout):
        return _Boot(layout, use, tell, look, clock).run(store, asked=asked, again=again)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One step at a time, whoever makes it."""
    # The folder itself: a full disk has no room for a file.
    lock = os.open(layout.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class _Boot:
    """One step of one layout's boot."""

    def __init__(
        self,
        layout: Layout,
        containers: Containers,
        tell: Callable[[Outcome], None],
        look: Callable[[Collection[str]], Collection[str]],
        clock: Callable[[], float],
    ) -> None:
        self.layout = layout
        self.containers = containers
        self.guard = Guard(layout, os.environ)
        self.decided = Decided.load(layout)
        self.outcomes: list[Outcome] = []
        self.errors: dict[str, NspawnError] = {}
        self._tell = tell
        self._look = look
        self._clock = clock

    def run(self, store: Store, *, asked: bool, again: bool) -> list[Outcome]:
        if self.guard.blocked:
            # Nothing is decided: when the user says "try again", this boot goes on.
            try:
                self.guard.check()
            except NspawnError as error:
                self.out("", "failed", error)
            return self.outcomes
        try:
            left = remove.sweep(store)
        except OSError as error:
            raise files.system_error("the containers cannot be read", error) from None
        for folder in left:
            self.out(folder, "failed", NspawnError("a leftover could not be removed", f"containers/{folder}"))
        known = {each.name: each for each in self.containers.list()}
        if asked:
            self._forget(again=again)
        if asked or self.decided.fresh:
            self.decided.expected = {n for n, each in known.items() if each.settings.autostart.enabled}
        for name, each in known.items():
            if name in self.decided.results:
                continue
            if each.damaged is not None and not each.usable:
                self.decide(name, "failed", each.damaged)
            elif each.settings.autostart.enabled:
                self._leave_alone(each, again=again)
        last = self._steps(known)
        for name, text in last.waits:
            self.out(name, "waits", waits=text)
        self._save(last)
        self._ask_to_be_woken(last)
        return self.outcomes

    def _forget(self, *, again: bool) -> None:
        """What a person's wish makes void of what was decided."""
        keep = () if again else ("started", "running", "stopped")
        self.decided.results = {n: r for n, r in self.decided.results.items() if r in keep}

    def _leave_alone(self, each: Container, *, again: bool) -> None:
        """Decide about what ran in this boot without us and was stopped, and what was marked since."""
        if each.name not in self.decided.expected:
            self.decided.results[each.name] = _LATER
        elif each.state.active:
            self.decide(each.name, "running")
        elif not again and each.state.turn == self.decided.boot_id:
            self.decide(each.name, "stopped")

    def _steps(self, known: Mapping[str, Container]) -> model.Step:
        """Start one after the other until nothing more can start now."""
        wishes = {name: each.settings.autostart for name, each in known.items()}
        named = {each for wish in wishes.values() if wish.enabled for each in wish.when}
        holds = self._look(named) if named else ()
        while True:
            step = model.step(wishes, self.decided.results, holds, self.decided.since, self._clock())
            for name, reason in step.skipped:
                hint = f"Change it: nspawn set {name} autostart.after=..." if wishes[name].after else ""
                self.decide(name, "skipped", NspawnError(f"{name} was not started", reason, hint))
            self.decided.since = dict(step.since)
            if not step.start:
                return step
            self._start(known[step.start])

    def _start(self, each: Container) -> None:
        try:
            self.containers.start(each.name, noted=True)
        except NotRunning:
            raise  # the spawner died: the next one makes this step anew
        except NspawnError as error:
            if isinstance(error, Conflict) and self.containers.get(each.name).state.active:
                self.decide(each.name, "running")  # somebody was quicker
            else:
                self.decide(each.name, "failed", error)
        else:
            self.decide(each.name, "started")

    def decide(self, name: str, result: str, error: NspawnError | None = None) -> None:
        self.decided.results[name] = result
        self.decided.reasons[name] = "" if error is None else str(error)
        self.out(name, result, error)

    def out(self, name: str, result: str, error: NspawnError | None = None, *, waits: str = "") -> None:
        outcome = Outcome(name=name, result=result, error=error, waits=waits)
        self.outcomes.append(outcome)
        self._tell(outcome)

    def _save(self, last: model.Step) -> None:
        """A full disk is no reason to stop: what ran in this boot is known by its own state."""
        self.decided.since = dict(last.since)
        try:
            self.decided.save(self.layout, finished=not last.waits)
        except OSError as error:
            self.out("", "failed", files.system_error("what this boot decided was not written", error))

    def _ask_to_be_woken(self, step: model.Step) -> None:
        client = self.containers.client
        fields: list[tuple[str, str | float]] = [("on", each) for each in sorted(step.events)]
        for name, text in step.waits:
            fields += [("waits", name), ("text", text)]
        if step.at is not None:
            fields.append(("at", step.at))
        if fields:
            daemon.ensure(self.layout, client)
        try:
            if os.environ.get("NSPAWN_MODULE"):  # its description tells
                fields.append(("trouble", page.trouble(client.call("ping"))))
            client.call("wake", fields)
        except NotRunning:
            pass  # nothing waits, and nobody waits for it


def wait(layout: Layout, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Follow the spawner's steps until nothing waits any more; what became of those that did."""
    told: list[Outcome] = []
    known = Decided.load(layout)
    client = Client(layout)
    try:
        watch = client.watch()
    except NotRunning:
        return told  # nothing waits
    with watch:
        while True:
            now = Decided.load(layout)
            for name, result in now.results.items():
                if known.results.get(name) != result and result != _LATER:
                    reason = now.reasons.get(name, "")
                    error = NspawnError(reason) if reason else None
                    told.append(Outcome(name=name, result=result, error=error))
                    tell(told[-1])
            known = now
            if now.finished:
                return told
            while (event := watch.recv()) is not None and event.text("event") != "boot":
                pass
            if event is None:
                raise NotRunning("the spawner ended before the boot was complete", hint="nspawn serve --boot")


def main() -> int:
    """The spawner's errand: one step, told to its log; the exit status."""
    layout = Layout.from_environment(os.environ)
    try:
        boot(layout, _log, asked=False)
        storage.show(Client(layout))
    except NspawnError as error:
        sys.stderr.write(f"{error.render('boot')}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"boot: {error}\n")
        return 1
    return 0


def _log(outcome: Outcome) -> None:
    text = str(outcome.error or f"{outcome.name}: {outcome.waits or outcome.result}")
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} boot: {text}\n")
