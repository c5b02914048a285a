"""The network of the containers, for a long-lived process: is it up, who needs it, when is it looked at.

What the network is to be, and how it is made, the agent knows (agentrun.py).  Here is only when it runs: for
the first container that needs it, at what the kernel tells of a change, and, to take everything away again,
when the last container has gone.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import time

from nspawn.container import child
from nspawn.container.agentrun import AgentRun
from nspawn.container.attachment import Attachment
from nspawn.errors import Conflict, Damaged, NspawnError
from nspawn.kernel import netwatch
from nspawn.kernel.wire import Wire, is_there
from nspawn.model.record import Record, error_record
from nspawn.model.slot import Slot, Subnet, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.activated import Owner
    from nspawn.container.loop import Timer
    from nspawn.container.nameprocess import NameProcess

    Told = Callable[[NspawnError | None], None]

_QUIET = 0.02  # seconds after the first event of a burst
_PACE = 0.25  # seconds between two looks
_GRACE = 1.0  # seconds without a container before it is taken down
_UNUSED = 5.0  # seconds for which it stays for a start that was announced
_LOCKED = 0.01  # seconds until the lock that another process has for its last moments is tried again
_LEAVING = 0.05  # seconds until it is asked once more whether others need it
_LONGEST_PAUSE = 60.0
_LEFT = 0.2  # seconds in which the kernel removes the veth of an ended container
_BRIDGE = "nspawn_br1"


class Network:
    """up: whether it is made; outcome: what the agent said last; error: why it failed last.

    users: all that need it.  by_hand: whether somebody said that it stays.  watching: whether changes are
    followed here, and names answered; the caretaker of a second foreground run leaves that to the first.
    """

    def __init__(self, owner: Owner, *, watching: bool = True) -> None:
        self._owner = owner
        self.up = False
        self.outcome = Record()
        self.error: NspawnError | None = None
        self.users: set[object] = set()
        self.by_hand = False
        self.names: NameProcess | None = None
        self._watching = watching
        self._made = False  # whether there may be anything to take away
        self._lock = -1
        self._agent: AgentRun | None = None
        self._now: list[Told] = []  # told at the end of the run that there is
        self._next: list[Told] = []  # told at the end of one that is yet to begin
        self._down: list[Callable[[], None]] = []
        self._force = False
        self._hesitated = False
        self._leaving: set[int] = set()
        self._events: _socket.socket | None = None
        self._sieve: netwatch.Sieve | None = None
        self._wire: Wire | None = None
        self._ports: list[int] = []
        self._last = 0.0
        self._verdict = self._asked = netwatch.NOTHING  # of what came since the run began, and of that run
        self._failures = 0
        self._timer: Timer | None = None
        self._grace: Timer | None = None

    # Who needs it

    def attach(self, record: Record, on_end: Callable[[], None] = lambda: None) -> Attachment:
        """The user for a container, by its slot's fields in the record; Damaged."""
        return Attachment(self, Slot.from_record(record), on_end)

    def need(self, user: object, told: Told) -> bool:
        """Have it for this user until it leaves.  True when it is up; else told later, also why it is not."""
        self._hold(user)
        if self.up and not self._down:
            return True
        if self._agent is not None and self._agent.verb == "up" and not self._down:
            self._now.append(told)
        else:
            self._next.append(told)
            self._begin()
        return False

    def adopt(self, user: object) -> None:
        """A container that a spawner before us has connected."""
        self._hold(user)
        self._made = True
        self._look_soon(netwatch.LOOK)

    def announce(self, told: Told) -> None:
        """Have it up for a start that will come, or not."""
        user = _Expected()

        def up(error: NspawnError | None) -> None:
            self._owner.loop.after(_UNUSED, lambda: self.leave(user))
            told(error)

        if self.need(user, up):
            up(None)

    def refresh(self, told: Told) -> None:
        """Have the agent run for what has changed just now."""
        self._next.append(told)
        self._begin()

    def keep(self, told: Told) -> None:
        """By hand: it stays, also without containers."""
        self.by_hand = True
        self._hold(self)
        self.refresh(told)

    def leave(self, user: object) -> None:
        """It needs the network no more."""
        if user not in self.users:
            return
        self.users.discard(user)
        if not self.users and self._grace is None:
            self._grace = self._owner.loop.after(_GRACE, self._unused)

    def _hold(self, user: object) -> None:
        self.users.add(user)
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _unused(self) -> None:
        self._grace = None
        if not self.users:
            self._begin()

    # The end

    def take_down(self, told: Callable[[], None], *, force: bool = False) -> None:
        """By hand, or because we end.  Conflict when somebody needs it, unless forced."""
        self.users.discard(self)
        needed = sorted(_told(user) for user in self.users if not isinstance(user, _Expected))
        if needed and not force:
            raise Conflict(
                "the network is in use",
                f"{', '.join(needed)} {'need' if len(needed) > 1 else 'needs'} it",
                "Stop what uses it, or take it from them: nspawn net down --force.",
            )
        self.users -= {user for user in self.users if isinstance(user, _Expected)}
        self.by_hand = False
        self._force = force and bool(self.users)
        self._made = True  # of others, who were killed
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._down.append(told)
        self._begin()

    def end(self, ended: Callable[[], None]) -> None:
        """Take it down, whoever needs it, and be done."""
        self.users.clear()
        if self._made or self._agent is not None:
            self.take_down(ended)
        else:
            self._sleep()
            ended()

    @property
    def busy(self) -> bool:
        """Whether anything of it is there, or will be."""
        return self._made or self._agent is not None

    # Runs of the agent

    def _begin(self) -> None:
        """Run the agent for what is wanted now, one at a time."""
        if self._agent is not None:
            return
        if self._down or not (self.users or self._next):
            if self._made:
                self._take_away()
            else:
                self._fallen()
            return
        if not self._next:
            return
        if not self._share():
            self._owner.loop.after(_LOCKED, self._begin)
            return
        self._hesitated = False
        self._asked, self._verdict = self._verdict, netwatch.NOTHING
        words = ["up", "--refill"] if self._asked == netwatch.REFILL else ["up"]
        self._now += self._next
        self._next = []
        self._made = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._last = time.monotonic()
        if self._watching:
            self._watch()  # before the agent looks, so that nothing is missed
        self._agent = AgentRun(self._owner, words, self._ran)
        self._mind(self._agent.pid)

    def _ran(self, record: Record | None, error: NspawnError | None) -> None:
        self._agent = None
        if record is not None:
            try:
                subnet_of(record)
            except NspawnError as damaged:
                record, error = None, damaged
        changed = error is not None or self.error is not None
        self.error = error
        if record is not None:
            changed = changed or record.fields != self.outcome.fields
            self.outcome = record
            self.up = True
            self._failures = 0
            self._set_up()
        else:
            assert error is not None
            self._owner.log(error.render())
            self._verdict = max(self._verdict, self._asked)
        waiting, self._now = self._now, []
        for told in waiting:
            told(error)
        if changed:
            self._publish(error)
        if self._next or self._down:
            self._begin()
        elif not self.users:
            self._grace = self._grace or self._owner.loop.after(_GRACE, self._unused)
        elif error is not None:
            self._again()
        elif self._verdict:
            self._look_soon(netwatch.NOTHING)

    def _again(self) -> None:
        """Containers run and the network may not be what it should; it is tried again a little later."""
        pause = min(4.0**self._failures, _LONGEST_PAUSE)
        self._failures += 1
        if self._timer is None:
            self._timer = self._owner.loop.after(pause, self._look)

    def _set_up(self) -> None:
        """What stands on the network that is there now."""
        bridge = self.outcome.text("bridge")
        if self._sieve is not None and bridge:
            self._sieve.bridge = bridge
        if not self.outcome.flag("dns") or not self._watching:
            return
        if self.names is None:
            from nspawn.container.nameprocess import NameProcess

            self.names = NameProcess(self._owner)
        if not self.names.listeners:
            self.names.open(self.subnet)

    def _take_away(self) -> None:
        """Run the agent to take everything down, if no other process needs it."""
        self._sleep()
        if self._remove(self._begin):
            return
        if not self._force and not self._alone():
            if not self._hesitated:  # another may be on its way out
                self._hesitated = True
                self._owner.loop.after(_LEAVING, self._begin)
                return
            self._made = self._hesitated = False
            self.outcome = Record((("down", 0),))
            self._fallen()
            return
        words = ["down", "--force"] if self._force else ["down"]
        self._force = self._hesitated = False
        self._agent = AgentRun(self._owner, words, self._gone)

    def _gone(self, record: Record | None, error: NspawnError | None) -> None:
        self._agent = None
        self._made = False
        self.error = error
        if error is not None:
            self._owner.log(error.render())
        self.outcome = record or Record()
        self._publish(error)
        self._fallen()

    def _fallen(self) -> None:
        """It is down, or not ours."""
        self._unlock()
        self._sleep()
        down, self._down = self._down, []
        for told in down:
            told()
        if self._next:
            self._begin()

    def _sleep(self) -> None:
        """Nothing is watched and nobody is answered."""
        self.up = False
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self._timer = self._grace = None
        self._verdict = netwatch.NOTHING
        if self._events is not None:
            self._owner.loop.remove(self._events.fileno())
            self._events.close()
            self._events = self._sieve = None
        if self.names is not None:
            self.names.close()
            self.names = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _publish(self, error: NspawnError | None) -> None:
        fields = error_record(error).fields if error is not None else []
        self._owner.publish(Record((("event", "network"), *self.report().fields, *fields)))

    def report(self) -> Record:
        """How it is, and the agent's last outcome."""
        return Record(
            (
                ("up", int(self.up)),
                ("users", len(self.users)),
                ("by-hand", int(self.by_hand)),
                ("watch", int(self._events is not None)),
                ("names", self.names.pid if self.names is not None else 0),
                ("names-trouble", self.names.trouble if self.names is not None else ""),
                *self.outcome.fields,
            )
        )

    # Events

    def serve(self) -> None:
        """Watch and answer from now on: whoever did it before has gone."""
        self._watching = True
        if self.users:
            self._next.append(lambda _error: None)
            self._begin()

    def _watch(self) -> None:
        if self._events is None:
            try:
                self._events = netwatch.watch()
            except OSError as error:
                self._owner.log(f"changes of the network are not noticed: {error}")
                return
            self._sieve = netwatch.Sieve(self.outcome.text("bridge", _BRIDGE))
            self._sieve.ports.update(self._ports)
            self._owner.loop.add(self._events.fileno(), self._told)

    def _mind(self, port: int) -> None:
        """What comes of this port of netlink is our own doing; the last ones may still be told of."""
        self._ports = [*self._ports[-7:], port]
        if self._sieve is not None:
            self._sieve.ports = set(self._ports)

    def _told(self, _events: int) -> None:
        if self._sieve is not None and self._events is not None:
            verdict = self._sieve.drain(self._events)
            if verdict:
                self._look_soon(verdict)

    def _look_soon(self, verdict: int) -> None:
        """Once the burst is over; a burst that goes on is looked at now and then."""
        self._verdict = max(self._verdict, verdict)
        if self._agent is not None:
            return
        if self._timer is not None:
            if not self._failures:
                return
            self._timer.cancel()  # a failure's pause; what came now may be what it lacked
        wait = max(_QUIET, self._last + _PACE - time.monotonic())
        self._timer = self._owner.loop.after(wait, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.users:
            self._next.append(lambda _error: None)
            self._begin()

    # The lock that tells others that it is needed

    def _share(self) -> bool:
        if self._lock >= 0:
            return True
        path = self._owner.layout.network_users
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _alone(self) -> bool:
        """Whether nobody else needs it; then nobody can until we have let go."""
        if self._lock < 0 and not self._share():
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Wires

    @property
    def subnet(self) -> Subnet:
        return Subnet.of(self.outcome)

    @property
    def bridged(self) -> bool:
        return self.outcome.text("mode", "bridge") != "ptp"

    def connect(self, number: int, pid: int) -> None:
        """Make the veth of a slot into a process's network namespace; NspawnError when that fails."""
        if self._wire is None:
            self._wire = Wire()
            self._mind(self._wire.port)
        aside = connect(self._wire, self.outcome, number, pid)
        if aside:
            self._delete([aside], lambda: None)

    def disconnected(self, number: int) -> None:
        """Its container has ended: the kernel removes the veth, unless something still has the namespace."""
        self._leaving.add(number)
        self._owner.loop.after(_LEFT, self._tidy)

    def _tidy(self) -> None:
        self._remove(lambda: None)

    def _remove(self, done: Callable[[], None]) -> bool:
        """Delete what is left of ended containers, in a child: it takes the kernel too long for a loop.

        False when nothing is.
        """
        used = {getattr(user, "number", -1) for user in self.users}
        left = [veth(each) for each in self._leaving - used if is_there(veth(each))]
        self._leaving.clear()
        return bool(left) and self._delete(left, done)

    def _delete(self, names: list[str], done: Callable[[], None]) -> bool:
        try:
            pid = child.fork(lambda: _delete(names), "what ended containers left is not removed")
        except OSError as error:
            self._owner.log(f"what ended containers left is not removed: {error}")
            return False
        self._owner.children[pid] = lambda _status: done()
        return True


class _Expected:
    """Needs the network for a start that may come."""


def _told(user: object) -> str:
    """Who it is, for people."""
    if isinstance(user, Attachment) and user.slot.owner.startswith("name:"):
        return user.slot.owner.partition(":")[2]
    return "a run by a command line"


def connect(wire: Wire, outcome: Record, number: int, pid: int) -> str:
    """The veth of a slot, in the bridge that the outcome names; NspawnError when it cannot be made.

    Returns what was in its way and is to be deleted, or "".
    """
    try:
        master = 0
        if outcome.text("mode", "bridge") != "ptp":
            master = _socket.if_nametoindex(outcome.text("bridge", _BRIDGE))
        return wire.make(number, pid, master)
    except OSError as error:
        raise NspawnError(
            "the container cannot be connected to the network",
            f"{error.filename}: {error.strerror}" if error.filename else str(error),
            "See what the network lacks: nspawn net status.",
        ) from error


def subnet_of(outcome: Record) -> Subnet:
    """The subnet of an outcome, or NspawnError."""
    try:
        return Subnet.of(outcome)
    except Damaged as error:
        raise NspawnError("the network could not be made", str(error)) from error


def _delete(names: list[str]) -> None:
    wire = Wire()
    wire.delete(names)
