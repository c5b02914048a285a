"""One connection to the control socket: its requests, its answers, what it watches."""

from __future__ import annotations

import os
import struct

from nspawn import __version__
from nspawn.container.attached import EXIT, INPUT, OUTPUT, SIZE
from nspawn.container.console import log_files
from nspawn.container.loop import IN, OUT
from nspawn.errors import Conflict, NspawnError, UsageError
from nspawn.kernel import process, unix
from nspawn.model import commandline
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterable

    from nspawn.container.attachment import Attachment
    from nspawn.container.cell import Cell
    from nspawn.container.instance import Instance
    from nspawn.container.netrun import NetRun
    from nspawn.container.spawner import Spawner
else:
    import _signal

#: Bytes that may wait for a peer that does not read.  Beyond, the oldest output of a console is left out,
#: which is said in its place; a peer that is slow with anything else is let go.
_MOST_WAITING = 1 << 20
#: Begins the mark, so that a second one replaces it; a terminal ends any sequence by it (CAN, ECMA-48).
_MARK = b"\x18"


class Peer:
    """watching: gets every event.  run: the container it runs, which ends with it; attachment: its place in
    the network; waiting: a run that waits for the network.  holding: whether it holds the network up.
    """

    __slots__ = (
        "_attached",
        "_left_out",
        "_queue",
        "_waiting",
        "attachment",
        "end",
        "holding",
        "run",
        "spawner",
        "waiting",
        "watching",
    )

    def __init__(self, spawner: Spawner, end: unix.Socket) -> None:
        self.spawner = spawner
        self.end = end
        self.watching = False
        self.run: Cell | None = None
        self.attachment: Attachment | None = None
        self.waiting: NetRun | None = None
        self.holding = False
        self._attached: Instance | None = None
        self._queue: list[bytes] = []
        self._waiting = 0
        self._left_out = 0
        end.setblocking(False)
        spawner.loop.add(end.fileno(), self._ready)
        spawner.peers.add(self)
        self._ready(IN)  # a request often comes with the connection

    def close(self) -> None:
        """Forget the connection; a container that it runs is ended."""
        if self not in self.spawner.peers:
            return
        self.spawner.peers.discard(self)
        self._detach()
        self.spawner.loop.remove(self.end.fileno())
        self.end.close()
        self.end_run()
        if self.holding and self.spawner.network is not None:
            self.spawner.network.leave(self)

    def end_run(self) -> None:
        """Kill the container that this peer runs: as a caller that is killed without a spawner does."""
        if self.waiting is not None:
            self.waiting.end()
        if self.run is not None:
            self.spawner.signal(self.run.pid, _signal.SIGKILL)

    # Messages

    def reply(self, record: Record, descriptors: tuple[int, ...] = ()) -> None:
        self._send(record.encode(), descriptors)

    def _send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        if self not in self.spawner.peers:
            return
        if not self._queue:
            try:
                unix.send(self.end, data, descriptors)
                return
            except BlockingIOError:
                self.spawner.loop.change(self.end.fileno(), IN | OUT)
            except OSError:
                self.close()
                return
        self._queue.append(data)
        self._waiting += len(data)
        if self._waiting > _MOST_WAITING:
            self._leave_out()

    def _leave_out(self) -> None:
        """Halve what waits, by the oldest output."""
        kept: list[bytes] = []
        excess = self._waiting - _MOST_WAITING // 2
        for data in self._queue:
            if data.startswith(OUTPUT + _MARK):
                continue  # a new one says all of it
            if excess > 0 and data[:1] == OUTPUT:
                excess -= len(data)
                self._left_out += len(data) - 1
            else:
                kept.append(data)
        mark = b"\r\n[%d bytes were left out here: nspawn logs has them, if they are not too old]\r\n"
        self._queue = [OUTPUT + _MARK + mark % self._left_out, *kept]
        self._waiting = sum(map(len, self._queue))
        if self._waiting > _MOST_WAITING:
            self.close()

    def _flush(self) -> None:
        while self._queue:
            try:
                unix.send(self.end, self._queue[0])
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._waiting -= len(self._queue.pop(0))
        self._left_out = 0
        self.spawner.loop.change(self.end.fileno(), IN)

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if not events & ~OUT or self not in self.spawner.peers:
            return
        try:
            data, descriptors = unix.receive(self.end)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            unix.close_all(descriptors)
            self.close()
            return
        try:
            if self._attached is not None and data[:1] in (INPUT, SIZE):
                self._typed(data)
            else:
                self._request(Record.decode(data), descriptors)
        except NspawnError as error:
            self.reply(error_record(error))
        except Exception as error:  # noqa: BLE001 - a defect in one request must not take the spawner down
            self.spawner.log(f"a request failed: {type(error).__name__}: {error}")
            self.reply(
                error_record(NspawnError("the spawner could not do that", f"{type(error).__name__}: {error}"))
            )
        finally:
            unix.close_all(descriptors)

    def _request(self, record: Record, descriptors: list[int]) -> None:
        operation = record.text("op")
        call = _OPERATIONS.get(operation)
        if call is None:
            raise UsageError(
                f"the spawner knows no operation {operation!r}",
                hint="Is it of another version? Restart it: nspawn shutdown.",
            )
        call(self, record, descriptors)

    # Operations

    def _ping(self, _record: Record, _descriptors: list[int]) -> None:
        answer = Record(
            (
                ("ok", 1),
                ("pid", os.getpid()),
                ("keeper", self.spawner.keeper_pid),
                ("version", __version__),
                ("web", self.spawner.web.pid),
                ("boot-id", self.spawner.boot_id),
            )
        )
        for text in self.spawner.refused:
            answer.add("refused", text)
        for name in self.spawner.host.refused:
            answer.add("lacks", name)
        self.reply(answer)

    def _list(self, _record: Record, _descriptors: list[int]) -> None:
        instances, waits = self.spawner.instances, self.spawner.errand.waits
        for name in sorted({*instances, *waits}):
            known = instances.get(name)
            record = Record((("name", name), ("state", "stopped"))) if known is None else known.report()
            record.add("waits", waits.get(name, ""))
            self.reply(record)
        self.reply(Record((("done", 1),)))

    def _start(self, record: Record, _descriptors: list[int]) -> None:
        def started(error: NspawnError | None) -> None:
            self.reply(error_record(error) if error else Record((("ok", 1), *instance.report().fields)))

        instance = self.spawner.start(record)
        instance.on_start.append(started)

    def _stop(self, record: Record, _descriptors: list[int]) -> None:
        name = record.text("name")
        known = self.spawner.instances.get(name)
        # One that was started by hand is in `waits` until the boot program has looked.
        if name in self.spawner.errand.waits and (known is None or known.state == "stopped"):
            self.reply(Record((("ok", 1), *self.spawner.give_up(name).report().fields)))
            return
        instance = self.spawner.find(name)
        if instance.state == "stopped":
            raise Conflict(f"{instance.name} is not running")
        instance.on_end.append(lambda: self.reply(Record((("ok", 1), *instance.report().fields))))
        instance.stop(record.number("time") if record.get("time") is not None else None)

    def _kill(self, record: Record, _descriptors: list[int]) -> None:
        instance = self.spawner.find(record.text("name"))
        number = record.integer("signal", _signal.SIGKILL)
        if number != _signal.SIGKILL:
            instance.signal(number)
            self.reply(Record((("ok", 1),)))
            return
        if instance.state == "stopped":
            raise Conflict(f"{instance.name} is not running", hint=f"Start it: nspawn start {instance.name}.")
        instance.on_end.append(lambda: self.reply(Record((("ok", 1), *instance.report().fields))))
        if instance.state == "backoff":
            instance.stop(0.0)
        else:
            instance.kill_now()

    def _watch(self, _record: Record, _descriptors: list[int]) -> None:
        self.watching = True
        self.spawner.pool.expect()  # the page, most often: somebody looks, and may press start
        self.reply(Record((("ok", 1),)))

    def _changed(self, record: Record, _descriptors: list[int]) -> None:
        self.spawner.publish(Record((("event", "changed"), ("name", record.text("name")))))
        if self.spawner.errand.waits:
            self.spawner.errand.soon()  # it may be about when something starts
        self.reply(Record((("ok", 1),)))

    def _guard(self, _record: Record, _descriptors: list[int]) -> None:
        self.spawner.guard_changed()
        self.reply(Record((("ok", 1),)))

    def _forget(self, record: Record, _descriptors: list[int]) -> None:
        name = record.text("name")
        instance = self.spawner.instances.get(name)
        if instance is not None and instance.state != "stopped":
            raise Conflict(f"{name} is {instance.state}", hint=f"Stop it first: nspawn stop {name}.")
        self.spawner.instances.pop(name, None)
        self.spawner.errand.give_up(name)
        self.spawner.probation.forget(name)
        self.spawner.publish(Record((("event", "removed"), ("name", name))))
        self.reply(Record((("ok", 1),)))

    def _wake(self, record: Record, _descriptors: list[int]) -> None:
        """What the boot program waits for."""
        self.spawner.errand.wake(record)
        self.reply(Record((("ok", 1),)))

    def _freeze(self, record: Record, _descriptors: list[int]) -> None:
        instance = self.spawner.find(record.text("name"))
        instance.extras.freeze("by hand")
        self.reply(Record((("ok", 1), *instance.report().fields)))

    def _thaw(self, record: Record, _descriptors: list[int]) -> None:
        instance = self.spawner.find(record.text("name"))
        instance.extras.thaw(by_hand=True)
        self.reply(Record((("ok", 1), *instance.report().fields)))

    def _storage(self, record: Record, _descriptors: list[int]) -> None:
        """The phone's storage was mounted into a running container, or could not be."""
        instance = self.spawner.find(record.text("name"))
        if instance.pid == record.integer("pid"):  # else it was started again meanwhile
            instance.extras.storage_came(record.text("source"), record.text("why-not"))
        self.reply(Record((("ok", 1),)))

    def _boot(self, _record: Record, _descriptors: list[int]) -> None:
        """Have the boot program run."""
        self.spawner.errand.run()
        self.reply(Record((("ok", 1),)))

    def _net(self, record: Record, _descriptors: list[int]) -> None:
        from nspawn.container import netrequests  # most never ask

        if record.text("verb") == "hold":
            pid, _uid = unix.peer(self.end)
            if not self.spawner.sees_the_same(pid):
                self.reply(Record((("elsewhere", 1),)))
                return
            self.holding = True
        netrequests.answer(self.spawner.networking(), self, record, self.reply)

    def _shutdown(self, _record: Record, _descriptors: list[int]) -> None:
        self.reply(Record((("ok", 1),)))
        self.spawner.shutdown()

    def _run(self, record: Record, descriptors: list[int]) -> None:
        """A foreground run: its end is answered with exit=STATUS, and our end is its end."""
        pid, _uid = unix.peer(self.end)
        if not self.spawner.sees_the_same(pid):
            self.reply(Record((("elsewhere", 1),)))  # it sees other files than we do
            return
        if len(descriptors) != 3 or self.run is not None or self.waiting is not None or self.spawner.ending:
            raise UsageError("a run needs three descriptors, and a connection of its own")
        words = [word.decode("utf-8", "surrogateescape") for word in record.all("word")]
        network = record.text("network", "host")
        if commandline.may_use_network(words):
            spec = commandline.parse(words, "", mini=record.flag("mini"))
            network = spec.network
            if spec.wish is not None:
                from nspawn.container.netrun import NetRun

                self.spawner.host.check(network, boot=False)
                self.waiting = NetRun(self, record, descriptors, spec)
                self.waiting.begin()
                return
        self.spawner.host.check(network, boot=record.flag("boot"))
        self.tell_cell(self.take_cell(network), record, descriptors)

    def take_cell(self, network: str) -> Cell:
        """A cell for the run."""
        cell = self.spawner.pool.take(network)
        self.spawner.children[cell.pid] = lambda status: self._run_ended(cell, status)
        self.run = cell
        return cell

    def tell_cell(
        self, cell: Cell, record: Record, descriptors: list[int], more: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        """Tell it what to run.  more: of its network."""
        cell.run(record, descriptors, session=True, dies_with_parent=True, more=more)
        cell.channel.setblocking(False)
        self.spawner.loop.add(cell.channel.fileno(), lambda _events: self._run_ready(cell))

    def _run_ready(self, cell: Cell) -> None:
        self._run_told(cell)

    def _run_told(self, cell: Cell) -> bool:
        """A warning, an error, or the end of the cell's channel; False when it is closed."""
        try:
            if cell.read(lambda text: self.reply(Record((("warning", text),)))):
                return True
        except BlockingIOError:
            return False
        except NspawnError as error:
            self.reply(error_record(error))
        self.spawner.loop.remove(cell.channel.fileno())
        cell.channel.close()
        return False

    def _run_ended(self, cell: Cell, status: int) -> None:
        if cell.channel.fileno() >= 0:
            while self._run_told(cell):
                pass
        if cell.channel.fileno() >= 0:
            self.spawner.loop.remove(cell.channel.fileno())
            cell.channel.close()
        self.run = None
        if self.waiting is not None:
            self.waiting.end()
        if self.attachment is not None:
            attachment, self.attachment = self.attachment, None
            attachment.end()
        code = os.waitstatus_to_exitcode(status)
        self.reply(Record((("exit", code if code >= 0 else 128 - code),)))
        self.spawner.end_group(cell.group)

    def _signal(self, record: Record, _descriptors: list[int]) -> None:
        """A signal that the caller of a foreground run got."""
        if self.run is None:
            return
        number = record.integer("number", _signal.SIGTERM)
        if process.handling(self.run.pid, number) == "catch":
            self.spawner.signal(self.run.pid, number)
        else:
            self.spawner.signal(self.run.pid, _signal.SIGKILL)

    def _attach(self, record: Record, _descriptors: list[int]) -> None:
        """Answer with the ring's files as they are now, then send what comes."""
        instance = self.spawner.find(record.text("name"))
        if instance.console is None:
            raise Conflict(
                f"{instance.name} has no console now",
                f"it is {instance.state}",
                f"Start it: nspawn start {instance.name}.",
            )
        self._detach()
        logs = log_files(self.spawner.layout.console_log(instance.name))
        try:
            answer = Record((("ok", 1), ("state", instance.state)))
            for descriptor in logs:
                answer.add("size", os.fstat(descriptor).st_size)
            self.reply(answer, tuple(logs))
        finally:
            unix.close_all(logs)
        self._attached = instance
        instance.console.listen(self._output)
        instance.on_console_end.append(self._console_ended)

    def _detach(self) -> None:
        instance, self._attached = self._attached, None
        if instance is not None:
            if instance.console is not None:
                instance.console.unlisten(self._output)
            if self._console_ended in instance.on_console_end:
                instance.on_console_end.remove(self._console_ended)

    def _output(self, data: bytes) -> None:
        self._send(OUTPUT + data)

    def _console_ended(self) -> None:
        instance, self._attached = self._attached, None
        if instance is not None:
            self._send(EXIT + instance.report().encode())

    def _typed(self, data: bytes) -> None:
        if self._attached is None or self._attached.console is None:
            return
        if data[:1] == INPUT:
            self._attached.console.type(data[1:])
        elif len(data) == 5:
            rows, columns = struct.unpack("!2H", data[1:])
            self._attached.console.resize(rows, columns)


_OPERATIONS: dict[str, Callable[[Peer, Record, list[int]], None]] = {
    "ping": Peer._ping,
    "list": Peer._list,
    "start": Peer._start,
    "stop": Peer._stop,
    "kill": Peer._kill,
    "attach": Peer._attach,
    "watch": Peer._watch,
    "changed": Peer._changed,
    "forget": Peer._forget,
    "wake": Peer._wake,
    "boot": Peer._boot,
    "freeze": Peer._freeze,
    "thaw": Peer._thaw,
    "storage": Peer._storage,
    "guard": Peer._guard,
    "net": Peer._net,
    "shutdown": Peer._shutdown,
    "run": Peer._run,
    "signal": Peer._signal,
}
