"""One connection to the control socket: messages, the foreground run that it owns, the console it watches."""

from __future__ import annotations

import os
import struct

from nspawn.container import requests
from nspawn.container.attached import EXIT, INPUT, OUTPUT, SIZE
from nspawn.container.loop import IN, OUT
from nspawn.errors import NspawnError, UsageError
from nspawn.kernel import unix
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable

    from nspawn.container.attachment import Attachment
    from nspawn.container.cell import Cell
    from nspawn.container.console import Console
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
        self.detach()
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
        call = requests.OPERATIONS.get(operation)
        if call is None:
            raise UsageError(
                f"the spawner knows no operation {operation!r}",
                hint="Is it of another version? Restart it: nspawn shutdown.",
            )
        call(self, record, descriptors)

    # A foreground run

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

    # A console that it watches

    def attach(self, instance: Instance, console: Console) -> None:
        """Send what comes from the console, until it ends or detach()."""
        self._attached = instance
        console.listen(self._output)
        instance.on_console_end.append(self._console_ended)

    def detach(self) -> None:
        """Watch no console any more."""
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
