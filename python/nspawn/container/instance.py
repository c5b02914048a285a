"""One named container as the spawner sees it: its process, console, state and end."""

from __future__ import annotations

import os
import time

from nspawn.container import state
from nspawn.container.console import Console
from nspawn.container.extras import Extras
from nspawn.container.launch import Launch
from nspawn.errors import Conflict, NspawnError
from nspawn.kernel import process
from nspawn.kernel.cgroup import Group
from nspawn.model.record import Record
from nspawn.model.restart import FORGIVEN_AFTER, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.attachment import Attachment
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner
else:
    import _signal

_SPEC_PREFIX = "spec."
#: Until SIGKILL, by default.
STOP_SECONDS = 10.0
_REBOOT_PACE = 1.0  # seconds
#: Settings of the request that are kept to start the container again.
_KEPT = ("stop-signal", "stop-time", "restart", "restart-delay", "restart-max-delay", "restart-max-tries")


class Instance:
    """state: stopped, starting, running, stopping or backoff.

    pid: its first process, 0 when there is none; started: Unix seconds; start_time: clock ticks since boot.
    exit: why it ended last, in words; tries: restarts in a row.
    launch: its start.  attachment: to the network, while it has its own.
    extras: what concerns the phone: frozen, its storage.
    turn: the id of the boot in which it ran last or was told not to: `nspawn boot` leaves it alone then.
    """

    __slots__ = (
        "adopted",
        "attachment",
        "began",
        "console",
        "exit",
        "exit_code",
        "exit_signal",
        "extras",
        "group",
        "killed",
        "launch",
        "name",
        "on_console_end",
        "on_end",
        "pid",
        "private",
        "request",
        "restarts",
        "spawner",
        "start_time",
        "started",
        "state",
        "timer",
        "tries",
        "turn",
        "warnings",
    )

    def __init__(self, spawner: Spawner, name: str) -> None:
        self.spawner = spawner
        self.name = name
        self.state = "stopped"
        self.pid = 0
        self.start_time = 0
        self.started = 0.0
        self.began = 0.0  # by the monotonic clock: a phone sets the other one after its boot
        self.exit = ""
        self.exit_code = -1
        self.exit_signal = 0
        self.restarts = 0
        self.tries = 0
        self.turn = ""
        self.extras = Extras(self)
        self.launch = Launch(self)
        self.killed = False
        self.adopted = False
        self.private = False  # whether it has a PID namespace
        self.request = Record()
        self.attachment: Attachment | None = None
        self.console: Console | None = None
        self.group: Group | None = None
        self.timer: Timer | None = None
        self.warnings: list[str] = []
        self.on_end: list[Callable[[], None]] = []
        self.on_console_end: list[Callable[[], None]] = []

    # What others see

    def report(self) -> Record:
        """The fields of op=list."""
        return Record(
            (
                ("name", self.name),
                ("state", self.state),
                ("pid", self.pid),
                ("started", self.started),
                ("start-time", self.start_time),
                ("boot-id", self.spawner.boot_id),
                ("exit", self.exit),
                ("exit-code", self.exit_code),
                ("exit-signal", self.exit_signal),
                ("restarts", self.restarts),
                *(("cgroup", folder) for folder in (self.group.folders if self.group else ())),
                ("killed", int(self.killed)),
                ("turn", self.turn),
                *self.extras.report(),
                *(("warning", text) for text in self.warnings),
            )
        )

    def save(self) -> None:
        """Write the run state and tell who watches."""
        record = self.report()
        record.add(
            "group", os.path.basename(self.group.folders[0]) if self.group and self.group.folders else ""
        )
        record.add("private", int(self.private))
        record.add("tries", self.tries)
        for key, value in self.request.fields:
            record.add(_SPEC_PREFIX + key, value)
        if self.state in state.ACTIVE:
            self.spawner.note(self.name, record)
        else:
            self.spawner.drop(f"note:{self.name}")
        self.spawner.upkeep.changed(self)
        try:
            state.write(self.spawner.layout, self.name, record)
        except OSError as error:
            self.spawner.log(f"{self.name}: its state could not be written: {error}")
        self.spawner.publish(Record((("event", "state"), *((k, v) for k, v in self.report().fields))))

    @classmethod
    def load(cls, spawner: Spawner, record: Record, name: str) -> Instance:
        """From a saved state, before it is decided whether its process still runs."""
        self = cls(spawner, name)
        self.state = record.text("state", "stopped")
        self.pid = record.integer("pid")
        self.start_time = record.integer("start-time")
        self.started = record.number("started")
        self.exit = record.text("exit")
        self.exit_code = record.integer("exit-code", -1)
        self.exit_signal = record.integer("exit-signal")
        self.restarts = record.integer("restarts")
        self.tries = record.integer("tries")
        self.turn = record.text("turn")
        self.private = record.flag("private")
        self.request = Record(
            (key[len(_SPEC_PREFIX) :], value) for key, value in record.fields if key.startswith(_SPEC_PREFIX)
        )
        self.extras.load(record)
        return self

    @property
    def policy(self) -> Policy:
        return Policy(
            self.request.text("restart", "no"),
            self.request.number("restart-delay", 1.0),
            self.request.number("restart-max-delay", 60.0),
            self.request.integer("restart-max-tries"),
        )

    # Start

    @property
    def can_start(self) -> bool:
        return self.state in ("stopped", "backoff")

    def start(self, request: Record) -> None:
        """Start by a request of op=start; the callbacks in launch.on_start hear how it went."""
        if not self.can_start:
            raise Conflict(f"{self.name} is {self.state} already", hint=f"See nspawn info {self.name}.")
        if self.timer:
            self.timer.cancel()
        self.state = "stopped"
        self.request = request
        self.extras.asked()
        self.launch.begin()

    # End

    def stop(self, seconds: float | None) -> None:
        """End it in order: its stop signal, then SIGKILL after so many seconds (default: its setting)."""
        if self.state == "backoff":
            if self.timer:
                self.timer.cancel()
            self.stopped()
            return
        if self.state not in ("starting", "running", "stopping"):
            raise Conflict(f"{self.name} is not running")
        if not self.pid:
            self.launch.give_up()
            return
        if self.timer:
            self.timer.cancel()
        if seconds is None:
            seconds = self.request.number("stop-time", STOP_SECONDS)
        self.state = "stopping"
        self.extras.thaw_quietly()
        self.save()
        heeded = self._signal_end()
        if not heeded or seconds <= 0:
            self.kill_now()
            self.killed = heeded  # by force only if there was another way
        else:
            self.timer = self.spawner.loop.after(seconds, self.kill_now)

    def _signal_end(self) -> bool:
        """Send the stop signal; False when nobody in the container would heed it."""
        number = self.request.integer("stop-signal") or process.stop_signal(
            self.pid, init=self.request.flag("boot")
        )
        if not self.private or process.handling(self.pid, number) == "catch":
            self._send(number)
            return True
        # Process 1 without a handler is never told: then the others are, and it ends when they do, or not.
        return self.group is not None and self.group.signal(number, spare=self.pid) > 0

    def _send(self, number: int) -> None:
        """A signal to its first process; never to another that has its number since."""
        if not self.adopted or process.start_time(self.pid) == self.start_time:
            self.spawner.signal(self.pid, number)

    def kill_now(self) -> None:
        """SIGKILL, for everything in it."""
        if self.state not in ("starting", "running", "stopping"):
            raise Conflict(f"{self.name} is not running")
        if not self.pid:
            self.launch.give_up()
            return
        self.state = "stopping"
        self.extras.thaw_quietly()
        self.killed = True
        self._send(int(_signal.SIGKILL))
        if self.group is not None:
            self.group.kill()

    def signal(self, number: int) -> None:
        """One signal to its first process; SIGKILL is kill_now()."""
        if self.state not in ("running", "stopping"):
            raise Conflict(f"{self.name} is not running", hint=f"Start it: nspawn start {self.name}.")
        self._send(number)

    def ended(self, status: int | None) -> None:
        """Its first process is gone; status: the wait status, None when nobody knows it."""
        stopping = self.state == "stopping"
        self.launch.drain()
        if self.timer:
            self.timer.cancel()
            self.timer = None
        reason, again, failed = self._classify(status, stopping=stopping)
        self.exit = str(self.launch.failure) if self.launch.failure else reason
        lived = time.monotonic() - self.began
        self.pid = 0
        self.extras.running_free()
        if self.console is not None:
            self.console.drain()
        self.release()
        watching, self.on_console_end = self.on_console_end, []
        if lived > FORGIVEN_AFTER:
            self.tries = 0
        if again and not self.spawner.ending:
            # An init that reboots at once, again and again, must not take the processor for it.
            self._restart_after(0.0 if lived > _REBOOT_PACE else _REBOOT_PACE)
        elif stopping or reason == "poweroff" or (self.launch.failure and not self.tries):
            self.stopped()
        else:
            self.try_again(failed=failed)
        for call in watching:
            call()

    def _classify(self, status: int | None, *, stopping: bool) -> tuple[str, bool, bool]:
        """(why it ended, whether it wants to be started again at once, whether that was a failure)."""
        self.exit_code, self.exit_signal = -1, 0
        if status is None and stopping:
            return "stopped", False, False
        if status is None:
            return "unknown (it ended while no spawner watched)", False, True
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            self.exit_code = code
            return f"exit code {code}", False, code != 0
        self.exit_signal = -code
        if stopping:
            return "killed" if self.killed else "stopped", False, False
        # reboot(2) in a PID namespace ends its process 1 by one of these two.
        if self.private and -code == _signal.SIGHUP:
            return "reboot", True, False
        if self.private and -code == _signal.SIGINT and self.request.flag("boot"):
            return "poweroff", False, False
        if self.group is not None and self.group.out_of_memory_kills():
            return "out of memory", False, True
        names = {
            int(getattr(_signal, name)): name for name in dir(_signal) if name[:3] == "SIG" and name[3] != "_"
        }
        return f"signal {names.get(-code, -code)}", False, True

    def _restart_after(self, seconds: float) -> None:
        self.state = "backoff"
        self.restarts += 1
        self.save()
        self.timer = self.spawner.loop.after(seconds, self._restart)

    def _restart(self) -> None:
        self.timer = None
        if self.spawner.ending:
            self.stopped()
            return
        try:
            self.launch.begin()
        except NspawnError as error:
            self.exit = str(error)
            self.spawner.log(error.render())
            self.try_again(failed=True)

    def try_again(self, *, failed: bool) -> None:
        """As the restart policy says."""
        delay = self.policy.next_delay(failed=failed, tries=self.tries)
        if delay is None or self.spawner.ending:
            self.stopped()
            return
        self.tries += 1
        self._restart_after(delay)

    def stopped(self) -> None:
        """It is not started again by itself: who waits for that hears of it."""
        self.state = "stopped"
        self.tries = 0
        self.save()
        waiting, self.on_end = self.on_end, []
        for call in waiting:
            call()

    def release(self) -> None:
        """Give back what it had while it ran."""
        if self.console is not None:
            self.spawner.drop(f"console:{self.name}")
            self.console.close()
            self.console = None
        if self.group is not None:
            self.spawner.end_group(self.group)
            self.group = None
        if self.attachment is not None:
            attachment, self.attachment = self.attachment, None
            attachment.end()

    # Adoption

    def machine_went_down(self) -> None:
        """It ran when the machine did; `nspawn boot` decides whether it runs again."""
        self.pid = 0
        self.exit = "the machine restarted while it ran"
        self.stopped()

    def wait_on(self) -> None:
        """It waited for its restart when the spawner died: go on waiting."""
        self.pid = 0
        self._restart_after(self.policy.delay)
