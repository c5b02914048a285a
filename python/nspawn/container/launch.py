"""The start of a named container: from its request until its command runs, or cannot."""

from __future__ import annotations

import os
import time

from nspawn.container.console import Console
from nspawn.errors import Conflict, NspawnError
from nspawn.kernel import libc, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.cell import Cell
    from nspawn.container.instance import Instance
else:
    import _signal


class Launch:
    """cell: its first process, until its exec.  failure: why it could not be started.

    on_start: whom to tell, once, how the start went.
    """

    __slots__ = ("_instance", "cell", "failure", "on_start")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.cell: Cell | None = None
        self.failure: NspawnError | None = None
        self.on_start: list[Callable[[NspawnError | None], None]] = []

    def begin(self) -> None:
        """By the instance's request; NspawnError when that is known at once to fail."""
        instance = self._instance
        network = instance.request.text("network", "host")
        instance.spawner.host.check(network, boot=instance.request.flag("boot"))
        instance.state = "starting"
        instance.warnings.clear()
        self.failure = None
        instance.killed = False
        instance.adopted = False
        instance.extras.running_free()
        if network == "nat":
            self._wait_for_network()
        else:
            self._take_cell()

    def _take_cell(self) -> None:
        """Take a cell for it, and tell it what to run as soon as its network is there."""
        instance, spawner = self._instance, self._instance.spawner
        network = instance.request.text("network", "host")
        try:
            instance.console = Console.make(spawner.loop, spawner.layout.console_log(instance.name))
            spawner.keep(f"console:{instance.name}", instance.console.master)
            cell = spawner.pool.take(network)
            spawner.children[cell.pid] = instance.ended
            self.cell = cell
            instance.pid = cell.pid
            instance.group = cell.group
            spawner.host.check(network, boot=instance.request.flag("boot"))  # the clone may have shown more
            instance.private = bool(cell.flags & libc.CLONE_NEWPID)
            instance.start_time = process.start_time(cell.pid)
            instance.started = time.time()
            instance.began = time.monotonic()
            instance.save()  # before it runs: a spawner that dies now must be known to have started it
            connected = instance.attachment is None or instance.attachment.connect(
                cell.pid, lambda error: self._connected(cell, error)
            )
            if connected:
                self._tell(cell)
        except (OSError, NspawnError) as error:
            self._abandon()
            raise self._cannot_start(error) from error

    def _tell(self, cell: Cell) -> None:
        """Tell the cell what to run."""
        instance = self._instance
        assert instance.console is not None
        streams = (instance.console.slave,) * 3
        more = instance.attachment.fields() if instance.attachment is not None else ()
        cell.run(instance.request, streams, terminal=True, session=True, controlling=True, more=more)
        cell.channel.setblocking(False)
        instance.spawner.loop.add(cell.channel.fileno(), self._channel_ready)

    # A start with a network of its own may have to wait for it: then what follows is called later.

    def _wait_for_network(self) -> None:
        instance = self._instance

        def came(error: NspawnError | None) -> None:
            if instance.attachment is attachment:  # else it was stopped meanwhile
                try:
                    if error is not None:
                        raise self._cannot_start(error)
                    self._take_cell()
                except NspawnError as failure:
                    self._failed(failure)

        try:
            instance.attachment = attachment = instance.spawner.networking().attach(instance.request)
        except NspawnError as error:
            self._abandon()
            raise self._cannot_start(error) from error
        if attachment.wait(came):
            self._take_cell()

    def _connected(self, cell: Cell, error: NspawnError | None) -> None:
        """Its veth is there, and what must be arranged before its command runs."""
        if self.cell is not cell or self._instance.state != "starting":
            return
        try:
            if error is not None:
                raise error
            self._tell(cell)
        except (OSError, NspawnError) as failure:
            self._abandon()
            self._failed(self._cannot_start(failure))

    def _failed(self, error: NspawnError) -> None:
        """Later than the request: whoever waits is told, or it is a restart that is tried again."""
        instance = self._instance
        if instance.attachment is not None:
            self._abandon()
        if self._say(error):
            return
        instance.exit = str(error)
        instance.spawner.log(error.render())
        instance.try_again(failed=True)

    def _say(self, error: NspawnError | None) -> bool:
        """Tell those who wait for the start how it went; False when nobody does."""
        waiting, self.on_start = self.on_start, []
        for call in waiting:
            call(error)
        return bool(waiting)

    def give_up(self) -> None:
        """It was stopped while it waited for the network, and has no process yet."""
        instance = self._instance
        instance.release()
        instance.stopped()
        self._say(Conflict(f"{instance.name} was stopped while it started"))

    def _cannot_start(self, error: Exception) -> NspawnError:
        """The error of a start, which names the container."""
        what = f"{self._instance.name} cannot start"
        if not isinstance(error, NspawnError):
            return NspawnError(what, str(error))
        return type(error)(what, str(error), error.hint, status=error.status)

    def _abandon(self) -> None:
        """Undo a launch that failed before the child was told what to run."""
        instance = self._instance
        if self.cell is not None:
            self._close_channel()
            if instance.pid:
                instance.spawner.children.pop(instance.pid, None)
                os.kill(instance.pid, _signal.SIGKILL)
                os.waitpid(instance.pid, 0)
        instance.release()
        instance.state = "stopped"
        instance.pid = 0
        instance.save()

    def _channel_ready(self, _events: int) -> None:
        """A warning, an error, or the end of the channel: exec."""
        instance = self._instance
        assert self.cell is not None
        failure: NspawnError | None = None
        try:
            if self.cell.read(instance.warnings.append):
                return
        except BlockingIOError:
            return
        except NspawnError as error:
            failure = error
        told = self.cell.told
        self._close_channel()
        for text in instance.warnings:
            instance.spawner.log(f"{instance.name}: {text}")
        if failure is not None:
            self.failure = failure
            failure = self._cannot_start(failure)
        elif instance.state != "starting":
            failure = Conflict(f"{instance.name} was stopped while it started")
        elif not told:
            self.failure = failure = NspawnError(f"{instance.name} cannot start", "its process was killed")
        else:
            instance.state = "running"
            instance.turn = instance.spawner.boot_id
            instance.save()
        self._say(failure)

    def _close_channel(self) -> None:
        if self.cell is not None:
            self._instance.spawner.loop.remove(self.cell.channel.fileno())
            self.cell.channel.close()
            self.cell = None

    def drain(self) -> None:
        """The child died before its exec, perhaps with an error that was not read yet."""
        while self.cell is not None:
            self._channel_ready(0)
            if self.cell is not None:
                try:
                    self.cell.channel.recv(1, 2)  # MSG_PEEK
                except BlockingIOError:
                    return
