"""The other side of the control socket, for commands and the web."""

from __future__ import annotations

import struct

from nspawn.container.attached import EXIT, INPUT, OUTPUT, SIZE
from nspawn.errors import Busy, NotRunning, NspawnError
from nspawn.kernel import unix
from nspawn.model.record import Record, raise_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from nspawn.layout import Layout
    from nspawn.model.record import Value

#: Seconds within which everything but what waits for a container is answered.
_PATIENCE = 15.0
_SLOW = frozenset(("start", "stop", "kill", "run", "net"))


class Client:
    """One layout's spawner; each call makes a connection of its own, so that threads may share it."""

    __slots__ = ("_layout",)

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def connect(self) -> unix.Socket:
        """A connection, whose answers must come within _PATIENCE; NotRunning when there is no spawner."""
        try:
            end = unix.connect(self._layout.control_socket)
        except PermissionError as error:
            raise NspawnError("only root may talk to the spawner", str(error), "Use su or sudo.") from error
        except OSError as error:
            raise NotRunning(
                "the spawner is not running", error.strerror or "", "Start it: nspawn serve."
            ) from error
        end.settimeout(_PATIENCE)
        return end

    def call(
        self, operation: str, fields: Iterable[tuple[str, Value]] = (), descriptors: Sequence[int] = ()
    ) -> Record:
        """One request and its answer; raises the NspawnError that the spawner answered with."""
        with self.connect() as end:
            if operation in _SLOW:
                end.settimeout(None)
            return _ask(end, operation, fields, descriptors)

    def call_many(self, operation: str, fields: Iterable[tuple[str, Value]] = ()) -> list[Record]:
        """One request and all its answers."""
        found = []
        with self.connect() as end:
            answer = _ask(end, operation, fields)
            while not answer.flag("done"):
                found.append(answer)
                answer = _answer(end)
        return found

    def attach(self, name: str) -> Attachment:
        """The console of a running container."""
        end = self.connect()
        try:
            unix.send(end, _request("attach", (("name", name),)))
            data, descriptors = _receive(end)
            record = _decode(data)
            end.settimeout(None)
        except BaseException:
            end.close()
            raise
        return Attachment(end, list(zip(descriptors, map(int, record.all("size")), strict=False)))

    def watch(self) -> Watch:
        """Every event from now on."""
        end = self.connect()
        try:
            _ask(end, "watch", ())
            end.settimeout(None)
        except BaseException:
            end.close()
            raise
        return Watch(end)


class Connection:
    """An open connection; usable as a context and, by fileno(), in select."""

    __slots__ = ("_end",)

    def __init__(self, end: unix.Socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def settimeout(self, seconds: float | None) -> None:
        """Let recv() raise TimeoutError after so many seconds; None for never."""
        self._end.settimeout(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Watch(Connection):
    """Events: records with event=state|changed|removed, name=..., and for state the fields of op=list."""

    __slots__ = ()

    def recv(self) -> Record | None:
        """The next event; None when the spawner is gone."""
        try:
            data, _none = unix.receive(self._end)
        except ConnectionResetError:
            return None
        return Record.decode(data) if data else None


class Attachment(Connection):
    """logs: (descriptor, bytes) of the ring's files, older first, as they were when the stream began."""

    __slots__ = ("logs",)

    def __init__(self, end: unix.Socket, logs: list[tuple[int, int]]) -> None:
        super().__init__(end)
        self.logs = logs

    def history(self, limit: int) -> bytes:
        """The last `limit` bytes from before the stream began.  Can be asked once."""
        import os

        logs, self.logs = self.logs, []
        parts: list[bytes] = []
        try:
            for descriptor, size in reversed(logs):
                wanted = min(limit, size)
                parts.append(os.pread(descriptor, wanted, size - wanted))
                limit -= wanted
        finally:
            unix.close_all([descriptor for descriptor, _size in logs])
        return b"".join(reversed(parts))

    def recv(self) -> tuple[str, bytes | Record | None]:
        """("output", bytes), ("exit", record of the container), or ("end", None) without a spawner."""
        try:
            data, _none = unix.receive(self._end)
        except ConnectionResetError:
            return "end", None
        if data[:1] == OUTPUT:
            return "output", data[1:]
        if data[:1] == EXIT:
            return "exit", Record.decode(data[1:])
        return "end", None

    def send_input(self, data: bytes) -> None:
        """Type."""
        for start in range(0, len(data), 4096):
            unix.send(self._end, INPUT + data[start : start + 4096])

    def resize(self, rows: int, columns: int) -> None:
        unix.send(self._end, SIZE + struct.pack("!2H", rows & 0xFFFF, columns & 0xFFFF))

    def close(self) -> None:
        unix.close_all([descriptor for descriptor, _size in self.logs])
        self.logs = []
        super().close()


def _request(operation: str, fields: Iterable[tuple[str, Value]]) -> bytes:
    record = Record((("op", operation),))
    for key, value in fields:
        record.add(key, value)
    try:
        data = record.encode()
    except ValueError as error:
        raise NspawnError("the request cannot be sent", str(error)) from error
    if len(data) > unix.LARGEST:
        raise NspawnError("the request is too long", f"{len(data)} bytes", "Use fewer or shorter settings.")
    return data


def _ask(
    end: unix.Socket,
    operation: str,
    fields: Iterable[tuple[str, Value]],
    descriptors: Sequence[int] = (),
) -> Record:
    try:
        unix.send(end, _request(operation, fields), descriptors)
    except (BrokenPipeError, ConnectionResetError):
        raise _gone() from None
    return _answer(end)


def _answer(end: unix.Socket) -> Record:
    data, descriptors = _receive(end)
    unix.close_all(descriptors)
    return _decode(data)


def _receive(end: unix.Socket) -> tuple[bytes, list[int]]:
    try:
        return unix.receive(end)
    except ConnectionResetError:
        raise _gone() from None
    except TimeoutError:
        raise Busy(
            "the spawner does not answer",
            f"nothing came for {_PATIENCE:.0f} seconds",
            "Look at its log, run/spawner.log. If it is stuck, kill it: a new one takes its containers over.",
        ) from None


def _decode(data: bytes) -> Record:
    if not data:
        raise _gone()
    record = Record.decode(data)
    raise_error(record)
    return record


def _gone() -> NotRunning:
    return NotRunning("the spawner went away before it answered", hint="Look at its log: run/spawner.log.")
