"""The one event stream: what changed in any container or job, and the consoles a client asked for.

`Hub` reads the spawner's watch while at least one client listens, and gives every change a number.
`Mailbox` is one client's bounded queue: of a container or a job only the newest state waits in it, so a slow
client costs a fixed amount of memory; console output waits at its source instead of being dropped.
A client that comes back with Last-Event-ID gets what it missed, or `reset` when that is no longer known.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol

from nspawn.errors import NotFound, NspawnError
from nspawn.web.refusal import Refusal

#: Seconds between signs of life; also how soon a thread notices that its client is gone.
HEARTBEAT = 5.0
#: Seconds between two batches to one client: progress and output arrive far faster than a screen shows them.
PACE = 0.05
#: Streams at once.  Each holds a thread of the server, and the other threads must go on answering.
MOST_STREAMS = 16
#: Consoles in one stream.
MOST_LOGS = 4
#: Events kept for clients that come back.
KEPT = 256
#: States that wait for one client before it is told to load everything anew.
MOST_WAITING = 512
#: Bytes of console output that wait for one client before its source waits.
LOG_BYTES = 256 * 1024
#: Seconds before the spawner is asked again after its watch ended.
RETRY = 1.0


class Event(Protocol):
    """A record of the watch: `event` is state, changed, removed, guard or network."""

    def text(self, key: str, default: str = "", /) -> str: ...


class Watch(Protocol):
    """The spawner's events, as `nspawn.container.client.Watch` gives them."""

    def recv(self) -> Event | None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def encode(kind: str, data: Any, number: str = "") -> bytes:
    """One event in the form of text/event-stream; JSON has no line break, so one data line holds it."""
    head = f"id: {number}\nevent: {kind}\n" if number else f"event: {kind}\n"
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class Mailbox:
    """What waits for one client."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._states: dict[str, bytes] = {}
        self._logs: deque[bytes] = deque()
        self._log_bytes = 0
        self._lost = False
        self._closed = False

    def post(self, key: str, event: bytes) -> None:
        """Leave the newest event of this key; never waits."""
        with self._ready:
            if self._closed or self._lost:
                return
            self._states.pop(key, None)
            self._states[key] = event
            if len(self._states) > MOST_WAITING:
                self._states.clear()
                self._lost = True
            self._ready.notify_all()

    def post_log(self, event: bytes) -> bool:
        """Leave console output once there is room; False when the client is gone."""
        with self._ready:
            while self._log_bytes >= LOG_BYTES and not self._closed:
                self._ready.wait()
            if self._closed:
                return False
            self._logs.append(event)
            self._log_bytes += len(event)
            self._ready.notify_all()
            return True

    def take(self, seconds: float) -> bytes:
        """All that waits, after at most these seconds; empty when nothing came."""
        with self._ready:
            self._ready.wait_for(lambda: self._states or self._logs or self._lost or self._closed, seconds)
            parts = [encode("reset", {})] if self._lost else []
            parts += self._states.values()
            parts += self._logs
            self._states.clear()
            self._logs.clear()
            self._log_bytes = 0
            self._lost = False
            self._ready.notify_all()
            return b"".join(parts)

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed


class Hub:
    """All clients' source of changes.

    open_watch: connects to the spawner; raises NspawnError when there is none.
    describe: a container by its name as JSON-ready data; raises NotFound when it is gone.
    describe_guard: the crash guard likewise.  describe_network: what a change of the network means.
    """

    def __init__(
        self,
        open_watch: Callable[[], Watch],
        describe: Callable[[str], dict[str, Any]],
        describe_guard: Callable[[], dict[str, Any]],
        describe_network: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._open_watch = open_watch
        self._describe = describe
        self._describe_guard = describe_guard
        self._describe_network = describe_network
        self._lock = threading.Lock()
        self._boxes: set[Mailbox] = set()
        self._kept: deque[tuple[int, str, bytes]] = deque(maxlen=KEPT)
        self._number = 0
        # Numbers of an earlier process mean nothing to this one.
        self._epoch = os.urandom(4).hex()
        self._pump: threading.Thread | None = None
        self._wake: int = -1

    @property
    def last_id(self) -> str:
        return f"{self._epoch}-{self._number}"

    def publish(self, kind: str, key: str, data: Any) -> None:
        """Number an event and leave it with every client.  key: what it replaces while it waits."""
        with self._lock:
            self._number += 1
            event = encode(kind, data, self.last_id)
            self._kept.append((self._number, key, event))
            for box in self._boxes:
                box.post(key, event)

    def join(self, last_id: str = "") -> Mailbox:
        """A new client's mailbox, with all it missed since last_id, or with `reset` when that is unknown."""
        box = Mailbox()
        with self._lock:
            missed = self._since(last_id)
            box.post("", encode("reset" if missed is None else "hello", {}, self.last_id))
            for _, key, event in missed or ():
                box.post(key, event)
            self._boxes.add(box)
            if self._pump is None:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._pump = threading.Thread(target=self._run, args=(self._wake,), name="watch", daemon=True)
                self._pump.start()
        return box

    def leave(self, box: Mailbox) -> None:
        """Forget a client; the last one ends the watch."""
        box.close()
        with self._lock:
            self._boxes.discard(box)
            if not self._boxes and self._pump is not None:
                os.eventfd_write(self._wake, 1)
                self._pump = None
                # Nobody watches from here on: who comes back later cannot be told what it missed.
                self._number += 1
                self._kept.clear()

    def _since(self, last_id: str) -> list[tuple[int, str, bytes]] | None:
        """Events after last_id; an empty list for a new client; None when they are no longer known."""
        if not last_id:
            return []
        epoch, _, number = last_id.partition("-")
        if epoch != self._epoch or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        seen = int(number)
        if seen > self._number or self._number - seen > len(self._kept):
            return None
        return [kept for kept in self._kept if kept[0] > seen]

    def _run(self, wake: int) -> None:
        """The pump: one watch after another until `wake` is written."""
        try:
            first = True
            while True:
                try:
                    watch = self._open_watch()
                except NspawnError:
                    pass
                else:
                    if not first:
                        self._lost()
                    try:
                        if not self._read(watch, wake):
                            return
                    finally:
                        watch.close()
                first = False
                if _readable(wake, RETRY):
                    return
        finally:
            os.close(wake)

    def _read(self, watch: Watch, wake: int) -> bool:
        """Publish until the watch ends (True) or until `wake` is written (False)."""
        poll = select.poll()
        poll.register(watch.fileno(), select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            if any(fd == wake for fd, _ in poll.poll()):
                return False
            try:
                record = watch.recv()
            except (NspawnError, OSError):
                return True
            if record is None:
                return True
            self._publish_record(record)

    def _publish_record(self, record: Event) -> None:
        if record.text("event") == "guard":
            self.publish("guard", "guard", self._describe_guard())
            return
        if record.text("event") == "network":
            self.publish("network", "network", self._describe_network())
            return
        name = record.text("name")
        if not name:
            return  # of the boot or the guard: what it changes for a container is told by its name
        if record.text("event") == "removed":
            # Said before its files are gone: asking for it now would find it.
            self.publish("removed", f"container {name}", {"name": name})
            return
        try:
            self.publish("container", f"container {name}", self._describe(name))
        except NotFound:
            self.publish("removed", f"container {name}", {"name": name})
        except NspawnError as error:
            # A damaged container is in the list with its error; the page asks for that.
            self.publish("damaged", f"container {name}", {"name": name, "error": error.as_dict()})

    def _lost(self) -> None:
        """Changes may have been missed between two watches: everybody loads anew."""
        self.publish("reset", "reset", {})


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Streams:
    """How many streams are open, and the most there may be."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self.most = most
        self.open = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self.open >= self.most:
                raise Refusal(
                    503,
                    "busy",
                    "too many pages are open",
                    f"{self.most} event streams are in use",
                    "Close some of the pages.",
                    retry=10,
                )
            self.open += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.open -= 1


class EventStream:
    """The body of one answer.  `close` is called by the server however the request ends.

    gone: whether the client has disconnected.  allowed: whether its login still holds.
    """

    def __init__(
        self,
        box: Mailbox,
        *,
        gone: Callable[[], bool],
        allowed: Callable[[], bool],
        on_close: Callable[[], None],
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._box = box
        self._gone = gone
        self._allowed = allowed
        self._on_close = on_close
        self._heartbeat = heartbeat
        self._checked = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._gone() or self._box.closed:
            raise StopIteration
        if time.monotonic() - self._checked >= self._heartbeat:
            self._checked = time.monotonic()
            if not self._allowed():
                raise StopIteration
        batch = self._box.take(self._heartbeat)
        if not batch:
            return b": here\n\n"
        time.sleep(PACE)
        return batch

    def close(self) -> None:
        on_close, self._on_close = self._on_close, _nothing
        on_close()


def _nothing() -> None:
    pass
