"""The keeper: the spawner's parent, which outlives it.

It holds what a killed spawner would take with it: the masters of the consoles, the listening sockets and,
as the subreaper (prctl(2)), the exit statuses of the containers.  It starts the spawner, and starts it
again when it dies.  It decides nothing else.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import time

from nspawn.errors import Conflict, NspawnError
from nspawn.kernel import libc, memory, process, unix
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from nspawn.layout import Layout
else:
    import _signal

#: A spawner that lived this long died of something new: it is restarted at once.
_SETTLED = 10.0
_LONGEST_WAIT = 30.0
_OOM_SCORE = b"-900"
_MSG_DONTWAIT = 0x40
_FLUSH_AGAIN = 200.0  # milliseconds, while exits wait for a spawner that does not take them


def main(
    layout: Layout, addresses: list[tuple[str, int]], *, strict: bool = False, boot: bool = False
) -> int:
    """Keep a spawner running until it ends in order; the exit status.

    addresses: (host, port) of the page.  One that cannot be had is reported by the spawner, which runs
    all the same, or is an error when `strict`.  NspawnError when there is a spawner for this layout already.
    boot: the machine is starting; a spawner that runs already is what is wanted then, for a soft reboot of
    Android runs service.sh again (facts: module).
    """
    os.makedirs(layout.root, 0o700, exist_ok=True)
    os.makedirs(layout.run, 0o700, exist_ok=True)
    os.makedirs(layout.containers, 0o700, exist_ok=True)
    try:
        lock = _lock(layout)
    except Conflict:
        if boot:
            return 0
        raise
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass  # in a container that may not: then as killable as the rest
    keeper = Keeper(layout, addresses, lock, boot=boot)
    if strict and keeper.refused:
        os.unlink(layout.control_socket)
        raise Conflict(
            "the page cannot be served",
            "; ".join(keeper.refused),
            "Choose another port: nspawn serve --port N.",
        )
    return keeper.run()


def _lock(layout: Layout) -> int:
    """Hold the lock of this layout.  Keeper and spawner share it: it is free when both are gone."""
    descriptor = os.open(f"{layout.run}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(
            f"a spawner runs already for {layout.root}",
            hint="Use it: nspawn list. Or end it first: nspawn shutdown.",
        ) from None
    return descriptor


def log(text: str) -> None:
    """A line for the log; a full disk or a closed terminal loses it, nothing else."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        os.write(2, f"{stamp} {text}\n".encode("utf-8", "replace"))
    except OSError:
        return


class Keeper:
    """kept: descriptors by key; notes: messages by key, given back as they came; exits: (pid, wait status)
    that no spawner has heard of.
    """

    def __init__(
        self, layout: Layout, addresses: list[tuple[str, int]], lock: int, *, boot: bool = False
    ) -> None:
        self.layout = layout
        self.boot = boot
        self.lock = lock
        self.kept: dict[str, int] = {}
        self.notes: dict[str, bytes] = {}
        self.refused: list[str] = []
        self.exits: list[tuple[int, int]] = []
        self.spawner = 0
        self.started = 0.0
        self.wait = 0.0
        self.quick = 0
        self.ending = False
        self.resting = False
        self.channel: unix.Socket | None = None
        self.wake = process.wake_on(_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)
        self.kept["control"] = unix.listen(layout.control_socket).detach()
        for host, port in addresses:
            self._listen(host, port)

    def _listen(self, host: str, port: int) -> None:
        import _socket

        family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        try:
            end = _socket.socket(family, _socket.SOCK_STREAM)
            end.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                end.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            end.bind((host, port))
            end.listen(128)
            end.setblocking(False)
        except OSError as error:
            if family == _socket.AF_INET6:
                return  # a kernel without IPv6, or ::1 not up: IPv4 is what the page is promised on
            self.refused.append(f"{host}:{port} is not to be had: {error.strerror}")
            return
        self.kept[f"listen:{host}"] = end.detach()

    def run(self) -> int:
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        self._start(poll)
        status: int | None = None
        while status is None:
            self._flush()
            timeout = _FLUSH_AGAIN if self.exits and self.channel is not None else None
            if not self.spawner:
                timeout = max(0.0, self.started + self.wait - time.monotonic()) * 1000
            if self.resting:
                self.resting = False
                memory.release()
            events = poll.poll(timeout)
            for descriptor, _mask in events:
                if descriptor == self.wake:
                    self._signals(os.read(self.wake, 64))
                    status = self._reap(poll)
                else:
                    self._message(poll)
            if not self.spawner and status is None and time.monotonic() >= self.started + self.wait:
                self._start(poll)
        return status

    def _start(self, poll: select.poll) -> None:
        """Fork a spawner and hand it everything that is kept."""
        # Loaded and frozen before the fork, to be in memory once; here, because it imports this module.
        from nspawn.container import spawner

        gc.collect()
        gc.freeze()
        ours, theirs = unix.pair()
        self.started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _signal.set_wakeup_fd(-1)
                ours.close()
                unix.close_all([self.wake, *self.kept.values()])
                os.setsid()  # Ctrl-C is for the keeper, who hands on an orderly end
                status = spawner.main(self.layout, theirs, boot=self.boot)
            finally:
                os._exit(status)
        theirs.close()
        self.spawner = pid
        self.channel = ours
        poll.register(ours.fileno(), select.POLLIN)
        try:
            for text in self.refused:
                unix.send(ours, Record((("refused", text),)).encode())
            for key, descriptor in self.kept.items():
                unix.send(ours, Record((("kept", key),)).encode(), (descriptor,))
            for note in self.notes.values():
                unix.send(ours, note)
            for gone, code in self.exits:
                unix.send(ours, Record((("pid", gone), ("status", code))).encode())
            self.exits.clear()
            unix.send(ours, Record((("ready", 1),)).encode())
        except OSError:
            pass  # it died at once: _reap sees to it

    def _signals(self, numbers: bytes) -> None:
        if any(number != _signal.SIGCHLD for number in numbers):
            self.ending = True
            if self.spawner:
                os.kill(self.spawner, _signal.SIGTERM)

    def _reap(self, poll: select.poll) -> int | None:
        """Take every exit; the status to end with when the spawner ended in order."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid != self.spawner:
                self._tell(pid, status)
                continue
            self._forget_spawner(poll)
            if status == 0 or self.ending:
                return 0 if status == 0 else 1
            lived = time.monotonic() - self.started
            self.quick = 0 if lived > _SETTLED else self.quick + 1
            self.wait = 0.0 if self.quick < 2 else min(2.0 ** (self.quick - 2), _LONGEST_WAIT)
            log(f"the spawner died (wait status {status}); it is started again")
            self.started = time.monotonic()
        if self.ending and not self.spawner:
            return 1
        return None

    def _tell(self, pid: int, status: int) -> None:
        self.exits.append((pid, status))
        self._flush()

    def _flush(self) -> None:
        """Send the exits that the spawner has not heard of, as far as it takes them without waiting.

        Never blocks: the spawner may be blocked itself, sending to us.
        """
        while self.exits and self.channel is not None:
            pid, status = self.exits[0]
            try:
                self.channel.send(Record((("pid", pid), ("status", status))).encode(), _MSG_DONTWAIT)
            except OSError:
                return  # full: tried again later; or gone: the next spawner gets them
            self.exits.pop(0)

    def _forget_spawner(self, poll: select.poll) -> None:
        self.spawner = 0
        if self.channel is not None:
            while self._message(poll):
                pass
        if self.channel is not None:
            poll.unregister(self.channel.fileno())
            self.channel.close()
            self.channel = None

    def _message(self, poll: select.poll) -> bool:
        """Take one message of the spawner; False at the end."""
        if self.channel is None:
            return False
        try:
            data, descriptors = unix.receive(self.channel)
        except OSError:
            data, descriptors = b"", []
        if not data:
            poll.unregister(self.channel.fileno())
            self.channel.close()
            self.channel = None
            return False
        try:
            record = Record.decode(data)
        except NspawnError:
            unix.close_all(descriptors)
            return True
        if record.flag("rest"):
            self.resting = True
            return True
        key = record.text("keep") or record.text("drop") or record.text("note")
        if record.get("note") is not None:
            self.notes[key] = data
            return True
        self.notes.pop(key, None)
        old = self.kept.pop(key, -1)
        if old >= 0:
            os.close(old)
        if record.get("keep") is not None and descriptors:
            self.kept[key] = descriptors.pop()
        unix.close_all(descriptors)
        return True
