"""Keeps the network for foreground runs while there is no spawner: a child that answers one connection.

It speaks as the spawner does (op=net), so that a run asks one or the other alike.  Of several caretakers one
watches and answers for names; the next takes over when it goes.  The last takes the network down.
"""

from __future__ import annotations

import fcntl
import os

from nspawn.container import netrequests, netslot
from nspawn.container.keeper import log
from nspawn.container.loop import Loop
from nspawn.container.network import Network
from nspawn.errors import NspawnError
from nspawn.kernel import libc, process, unix
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.layout import Layout
else:
    import _signal

_LARGEST_LOG = 1 << 20


def fork(layout: Layout, owner: str) -> tuple[int, unix.Socket]:
    """A caretaker for the run that owns these slots: its PID, and the connection, whose end is the run's."""
    ours, theirs = unix.pair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        ours.close()
        os.setsid()  # Ctrl-C is for the run
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        for number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP, _signal.SIGTERM):
            _signal.signal(number, _signal.SIG_IGN)  # the run's end is ours
        unix.close_others(theirs.fileno())
        _leave_streams(layout)
        Caretaker(layout, owner, theirs).run()
        status = 0
    except OSError as error:
        log(f"the network is not looked after: {error}")
    finally:
        os._exit(status)
    raise AssertionError


def _leave_streams(layout: Layout) -> None:
    """The run's streams are its own: what we and the agent have to say goes to the spawner's log."""
    null = os.open("/dev/null", os.O_RDWR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log_file = os.open(layout.spawner_log, flags, 0o600)
    if os.fstat(log_file).st_size > _LARGEST_LOG:
        os.ftruncate(log_file, 0)
    for number, descriptor in enumerate((null, null, log_file)):
        os.dup2(descriptor, number)
    os.close(null)
    os.close(log_file)


class Caretaker:
    """The owner of its loop.  children: what to do with each child's end, by PID."""

    def __init__(self, layout: Layout, owner: str, end: unix.Socket) -> None:
        self.layout = layout
        self.loop = Loop(self._failed)
        self.children: dict[int, Callable[[int], None]] = {}
        self.ending = False
        self._owner = owner
        self._end = end
        self._wake = process.wake_on(_signal.SIGCHLD)
        self._lock = os.open(
            layout.network_watch, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        self._waiter = 0
        self.network = Network(self, watching=self._is_first())

    def run(self) -> None:
        self.loop.add(self._wake, self._reap)
        end = self._end.fileno()
        self._end.setblocking(False)
        self.loop.add(end, self._ready)
        self.loop.run()

    def log(self, text: str) -> None:
        log(text)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process; one that is gone needs none."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    def publish(self, record: Record) -> None:
        """Nobody listens."""

    def _failed(self, error: Exception) -> None:
        log(f"a defect, please report it: {type(error).__name__}: {error}")

    def _reap(self, _events: int) -> None:
        try:
            os.read(self._wake, 64)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            call = self.children.pop(pid, None)
            if call is not None:
                call(status)

    # Requests of the run

    def _ready(self, _events: int) -> None:
        try:
            data, descriptors = unix.receive(self._end)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        unix.close_all(descriptors)
        if not data:
            self._run_ended()
            return
        try:
            netrequests.answer(self.network, self, Record.decode(data), self._reply)
        except NspawnError as error:
            self._reply(error_record(error))

    def _reply(self, record: Record) -> None:
        try:
            unix.send(self._end, record.encode())
        except OSError:
            return  # it is gone: its end is noticed by _ready

    def _run_ended(self) -> None:
        """In order or not: nothing of it stays."""
        self.ending = True
        self.loop.remove(self._end.fileno())
        self._end.close()
        for number in netslot.numbers_of(self.layout, self._owner):
            netslot.release(self.layout, self._owner, number)
            self.network.wires.disconnected(number)
        self.network.end(self._stop)

    def _stop(self) -> None:
        if self._waiter:
            self.signal(self._waiter, 9)
        self.loop.stop()

    # One of several

    def _is_first(self) -> bool:
        """Whether nobody else watches; else we do when the other has gone."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiter = self._wait()
            self.children[self._waiter] = self._turn
            return False
        return True

    def _wait(self) -> int:
        """A child that waits for the lock, which then is ours: it belongs to the open file that we share."""
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            libc.prctl(libc.PR_SET_PDEATHSIG, int(_signal.SIGKILL))
            _signal.set_wakeup_fd(-1)
            if os.getppid() == parent:
                unix.close_others(self._lock)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                status = 0
        finally:
            os._exit(status)
        raise AssertionError

    def _turn(self, status: int) -> None:
        self._waiter = 0
        if status == 0 and not self.ending:
            self.network.serve()
