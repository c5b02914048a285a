"""One named container as the spawner sees it: its process, console, state and end."""

from __future__ import annotations

import os
import time

from nspawn.container import state
from nspawn.container.console import Console
from nspawn.container.extras import Extras
from nspawn.errors import Conflict, NspawnError
from nspawn.kernel import libc, process
from nspawn.kernel.cgroup import Group, Hierarchy
from nspawn.model.record import Record
from nspawn.model.restart import FORGIVEN_AFTER, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.attachment import Attachment
    from nspawn.container.cell import Cell
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner
else:
    import _signal

_SPEC_PREFIX = "spec."
_STOP_SECONDS = 10.0
_REBOOT_PACE = 1.0  # seconds
#: Settings of the request that are kept to start the container again.
_KEPT = ("stop-signal", "stop-time", "restart", "restart-delay", "restart-max-delay", "restart-max-tries")


class Instance:
    """state: stopped, starting, running, stopping or backoff.

    pid: its first process, 0 when there is none; started: Unix seconds; start_time: clock ticks since boot.
    exit: why it ended last, in words; tries: restarts in a row.
    extras: what concerns the phone: frozen, its storage.  attachment: to the network, while it has its own.
    turn: the id of the boot in which it ran last or was told not to: `nspawn boot` leaves it alone then.
    """

    __slots__ = (
        "adopted",
        "attachment",
        "began",
        "cell",
        "console",
        "exit",
        "exit_code",
        "exit_signal",
        "extras",
        "failure",
        "group",
        "killed",
        "name",
        "on_console_end",
        "on_end",
        "on_start",
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
        self.killed = False
        self.adopted = False
        self.failure: NspawnError | None = None  # why it could not be started
        self.private = False  # whether it has a PID namespace
        self.request = Record()
        self.cell: Cell | None = None
        self.attachment: Attachment | None = None
        self.console: Console | None = None
        self.group: Group | None = None
        self.timer: Timer | None = None
        self.warnings: list[str] = []
        self.on_start: list[Callable[[NspawnError | None], None]] = []
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
        """Start by a request of op=start; the callbacks in on_start hear how it went."""
        if not self.can_start:
            raise Conflict(f"{self.name} is {self.state} already", hint=f"See nspawn info {self.name}.")
        if self.timer:
            self.timer.cancel()
        self.state = "stopped"
        self.request = request
        self.extras.asked()
        self._launch()

    def _launch(self) -> None:
        network = self.request.text("network", "host")
        self.spawner.host.check(network, boot=self.request.flag("boot"))
        self.state = "starting"
        self.warnings.clear()
        self.failure = None
        self.killed = False
        self.adopted = False
        self.extras.running_free()
        if network == "nat":
            self._wait_for_network()
        else:
            self._begin()

    def _begin(self) -> None:
        """Take a cell for it, and tell it what to run as soon as its network is there."""
        network = self.request.text("network", "host")
        try:
            self.console = Console.make(self.spawner.loop, self.spawner.layout.console_log(self.name))
            self.spawner.keep(f"console:{self.name}", self.console.master)
            cell = self.spawner.pool.take(network)
            self.spawner.children[cell.pid] = self.ended
            self.cell = cell
            self.pid = cell.pid
            self.group = cell.group
            self.spawner.host.check(network, boot=self.request.flag("boot"))  # the clone may have shown more
            self.private = bool(cell.flags & libc.CLONE_NEWPID)
            self.start_time = process.start_time(cell.pid)
            self.started = time.time()
            self.began = time.monotonic()
            self.save()  # before it runs: a spawner that dies now must be known to have started it
            connected = self.attachment is None or self.attachment.connect(
                cell.pid, lambda error: self._connected(cell, error)
            )
            if connected:
                self._tell(cell)
        except (OSError, NspawnError) as error:
            self._abandon()
            raise self._cannot_start(error) from error

    def _tell(self, cell: Cell) -> None:
        """Tell the cell what to run."""
        assert self.console is not None
        streams = (self.console.slave,) * 3
        more = self.attachment.fields() if self.attachment is not None else ()
        cell.run(self.request, streams, terminal=True, session=True, controlling=True, more=more)
        cell.channel.setblocking(False)
        self.spawner.loop.add(cell.channel.fileno(), self._channel_ready)

    # A start with a network of its own may have to wait for it: then what follows is called later.

    def _wait_for_network(self) -> None:
        def came(error: NspawnError | None) -> None:
            if self.attachment is attachment:  # else it was stopped meanwhile
                try:
                    if error is not None:
                        raise self._cannot_start(error)
                    self._begin()
                except NspawnError as failure:
                    self._launch_failed(failure)

        try:
            self.attachment = attachment = self.spawner.networking().attach(self.request)
        except NspawnError as error:
            self._abandon()
            raise self._cannot_start(error) from error
        if attachment.wait(came):
            self._begin()

    def _connected(self, cell: Cell, error: NspawnError | None) -> None:
        """Its veth is there, and what must be arranged before its command runs."""
        if self.cell is not cell or self.state != "starting":
            return
        try:
            if error is not None:
                raise error
            self._tell(cell)
        except (OSError, NspawnError) as failure:
            self._abandon()
            self._launch_failed(self._cannot_start(failure))

    def _launch_failed(self, error: NspawnError) -> None:
        """Later than the request: whoever waits is told, or it is a restart that is tried again."""
        if self.attachment is not None:
            self._abandon()
        if self._hear_of_start(error):
            return
        self.exit = str(error)
        self.spawner.log(error.render())
        self._try_again(failed=True)

    def _hear_of_start(self, error: NspawnError | None) -> bool:
        """Tell those who wait for the start how it went; False when nobody does."""
        waiting, self.on_start = self.on_start, []
        for call in waiting:
            call(error)
        return bool(waiting)

    def _give_up_waiting(self) -> None:
        """It was stopped while it waited for the network, and has no process yet."""
        self._release()
        self._stopped()
        self._hear_of_start(Conflict(f"{self.name} was stopped while it started"))

    def _cannot_start(self, error: Exception) -> NspawnError:
        """The error of a start, which names the container."""
        what = f"{self.name} cannot start"
        if not isinstance(error, NspawnError):
            return NspawnError(what, str(error))
        return type(error)(what, str(error), error.hint, status=error.status)

    def _abandon(self) -> None:
        """Undo a launch that failed before the child was told what to run."""
        if self.cell is not None:
            self._close_channel()
            if self.pid:
                self.spawner.children.pop(self.pid, None)
                os.kill(self.pid, _signal.SIGKILL)
                os.waitpid(self.pid, 0)
        self._release()
        self.state = "stopped"
        self.pid = 0
        self.save()

    def _channel_ready(self, _events: int) -> None:
        """A warning, an error, or the end of the channel: exec."""
        assert self.cell is not None
        failure: NspawnError | None = None
        try:
            if self.cell.read(self.warnings.append):
                return
        except BlockingIOError:
            return
        except NspawnError as error:
            failure = error
        told = self.cell.told
        self._close_channel()
        for text in self.warnings:
            self.spawner.log(f"{self.name}: {text}")
        if failure is not None:
            self.failure = failure
            failure = self._cannot_start(failure)
        elif self.state != "starting":
            failure = Conflict(f"{self.name} was stopped while it started")
        elif not told:
            self.failure = failure = NspawnError(f"{self.name} cannot start", "its process was killed")
        else:
            self.state = "running"
            self.turn = self.spawner.boot_id
            self.save()
        self._hear_of_start(failure)

    def _close_channel(self) -> None:
        if self.cell is not None:
            self.spawner.loop.remove(self.cell.channel.fileno())
            self.cell.channel.close()
            self.cell = None

    # End

    def stop(self, seconds: float | None) -> None:
        """End it in order: its stop signal, then SIGKILL after so many seconds (default: its setting)."""
        if self.state == "backoff":
            if self.timer:
                self.timer.cancel()
            self._stopped()
            return
        if self.state not in ("starting", "running", "stopping"):
            raise Conflict(f"{self.name} is not running")
        if not self.pid:
            self._give_up_waiting()
            return
        if self.timer:
            self.timer.cancel()
        if seconds is None:
            seconds = self.request.number("stop-time", _STOP_SECONDS)
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
            self._give_up_waiting()
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
        if self.cell is not None:
            self._drain_channel()
        if self.timer:
            self.timer.cancel()
            self.timer = None
        reason, again, failed = self._classify(status, stopping=stopping)
        self.exit = str(self.failure) if self.failure else reason
        lived = time.monotonic() - self.began
        self.pid = 0
        self.extras.running_free()
        if self.console is not None:
            self.console.drain()
        self._release()
        watching, self.on_console_end = self.on_console_end, []
        if lived > FORGIVEN_AFTER:
            self.tries = 0
        if again and not self.spawner.ending:
            # An init that reboots at once, again and again, must not take the processor for it.
            self._restart_after(0.0 if lived > _REBOOT_PACE else _REBOOT_PACE)
        elif stopping or reason == "poweroff" or (self.failure and not self.tries):
            self._stopped()
        else:
            self._try_again(failed=failed)
        for call in watching:
            call()

    def _drain_channel(self) -> None:
        """The child died before its exec, perhaps with an error that was not read yet."""
        while self.cell is not None:
            self._channel_ready(0)
            if self.cell is not None:
                try:
                    self.cell.channel.recv(1, 2)  # MSG_PEEK
                except BlockingIOError:
                    return

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
            self._stopped()
            return
        try:
            self._launch()
        except NspawnError as error:
            self.exit = str(error)
            self.spawner.log(error.render())
            self._try_again(failed=True)

    def _try_again(self, *, failed: bool) -> None:
        """As the restart policy says."""
        delay = self.policy.next_delay(failed=failed, tries=self.tries)
        if delay is None or self.spawner.ending:
            self._stopped()
            return
        self.tries += 1
        self._restart_after(delay)

    def _stopped(self) -> None:
        self.state = "stopped"
        self.tries = 0
        self.save()
        waiting, self.on_end = self.on_end, []
        for call in waiting:
            call()

    def _release(self) -> None:
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
        self._stopped()

    def wait_on(self) -> None:
        """It waited for its restart when the spawner died: go on waiting."""
        self.pid = 0
        self._restart_after(self.policy.delay)

    def adopt(self, hierarchy: Hierarchy, group: str, master: int) -> None:
        """Take over a container that a spawner before us started; master: its console, or -1."""
        self.adopted = True
        self.began = time.monotonic()
        self.group = Group(hierarchy, group)
        if master >= 0:
            try:
                path = self.spawner.layout.console_log(self.name)
                self.console = Console.adopt(self.spawner.loop, path, master)
            except OSError as error:
                self.spawner.log(f"{self.name}: its console is lost: {error}")
                os.close(master)
        if self.request.text("network") == "nat":
            try:
                self.attachment = self.spawner.networking().attach(self.request)
                self.attachment.adopt()
            except NspawnError as error:
                self.spawner.log(f"{self.name}: its place in the network is not known: {error}")
        if self.state == "starting":
            self.state = "running"
        if self.state == "stopping":
            self.timer = self.spawner.loop.after(_STOP_SECONDS, self.kill_now)
        self.save()
