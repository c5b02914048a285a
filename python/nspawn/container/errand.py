"""The boot program: a short-lived child of the spawner, started at the boot and at what was waited for.

The spawner knows no settings and decides nothing of a boot.  The boot program says, by op=wake, what it waits
for, and ends; an idle phone pays for nothing but a descriptor.
"""

from __future__ import annotations

import time

from nspawn.container import bootrecord
from nspawn.container.activated import environment, start
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.events import Events
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner

_QUIET = 0.05  # seconds: events come in bursts
_FIRST_AGAIN = 1.0
_TRIES = 6  # after a crash: 1, 4, 16 ... seconds later


class Errand:
    """waits: what each container waits for, in words, by name."""

    __slots__ = ("_again", "_asked", "_events", "_failures", "_spawner", "_timer", "_wake", "pid", "waits")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._timer: Timer | None = None
        self._wake: Timer | None = None
        self._again = False
        self._asked: frozenset[str] = frozenset()
        self._events: Events | None = None
        self._failures = 0
        self.pid = 0
        self.waits: dict[str, str] = {}

    def begin(self, *, boot: bool) -> None:
        """At the spawner's start.  boot: of the machine; without it, one that was not finished goes on."""
        record = bootrecord.read(self._spawner.layout, self._spawner.boot_id)
        if boot if record is None else not record.flag("finished"):
            self.run()

    def soon(self) -> None:
        """Run it when the burst of events is over."""
        if self._timer is not None and self._timer.deadline > time.monotonic() + _QUIET:
            self._timer.cancel()  # after a crash; what came now may be what it lacked
            self._timer = None
        if self._timer is None:
            self._timer = self._spawner.loop.after(_QUIET, self.run)

    def run(self) -> None:
        """Run it now, or again when it ends: never two at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._spawner.ending:
            return
        if self.pid:
            self._again = True
            return
        try:
            self.pid = start("boot", environment(self._spawner.layout), [])
        except OSError as error:
            self._spawner.log(f"the boot program cannot be started: {error}")
            self._retry()
            return
        self._spawner.children[self.pid] = self._ended

    def _ended(self, status: int) -> None:
        self.pid = 0
        if status and not self._spawner.ending:
            self._spawner.log(f"the boot program failed (wait status {status})")
            self._retry()
        else:
            self._failures = 0
        if self._again:
            self._again = False
            self.run()
        self._spawner.publish(Record((("event", "boot"), ("status", status))))

    def _retry(self) -> None:
        """Killed for memory, perhaps; the containers are not to pay for that."""
        if self._failures < _TRIES and self._timer is None:
            self._timer = self._spawner.loop.after(_FIRST_AGAIN * 4.0**self._failures, self.run)
        self._failures += 1

    def wake(self, request: Record) -> None:
        """op=wake: what to run it for, which replaces what was said before."""
        names = [value.decode() for value in request.all("waits")]
        texts = [value.decode("utf-8", "replace") for value in request.all("text")]
        before, self.waits = self.waits, dict(zip(names, texts, strict=True))
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if request.get("at") is not None:
            left = max(0.0, request.number("at") - time.monotonic())
            self._wake = self._spawner.loop.after(left, self.run)
        if self._spawner.upkeep.module is not None:
            self._spawner.upkeep.module.taken(request.text("trouble"))
        self._asked = frozenset(value.decode() for value in request.all("on"))
        self.watch()
        for name in before.keys() | self.waits.keys():
            if before.get(name) != self.waits.get(name):
                self._spawner.publish(Record((("event", "changed"), ("name", name))))

    def watch(self) -> None:
        """Have the sources open that are needed now, and no other."""
        wanted = set(self._asked)
        if any(instance.extras.lacks_storage for instance in self._spawner.instances.values()):
            wanted.add("storage")
        if self._spawner.ending:
            wanted.clear()
        if self._events is None:
            if not wanted:
                return
            from nspawn.container.events import Events  # not small, and most never wait

            self._events = Events(self._spawner, self.soon)
        self._events.want(wanted)

    def give_up(self, name: str) -> bool:
        """Have a container wait no more; False when it did not."""
        if self.waits.pop(name, None) is None:
            return False
        self.soon()
        return True

    def stop(self) -> None:
        if self.pid:
            self._spawner.signal(self.pid, 15)
