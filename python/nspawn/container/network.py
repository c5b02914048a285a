"""The network of the containers, for a long-lived process: is it up, who needs it, when is it looked at.

What the network is to be, and how it is made, the agent knows (agentrun.py).  Here is only when it runs: for
the first container that needs it, at what the kernel tells of a change, and, to take everything away again,
when the last container has gone.
"""

from __future__ import annotations

from nspawn.container.agentrun import AgentRun
from nspawn.container.attachment import Attachment
from nspawn.container.netevents import Events
from nspawn.container.netlock import UseLock
from nspawn.container.netwires import Wires
from nspawn.errors import Conflict, Damaged, NspawnError
from nspawn.kernel import netwatch
from nspawn.model.record import Record, error_record
from nspawn.model.slot import Slot, Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.activated import Owner
    from nspawn.container.loop import Timer
    from nspawn.container.nameprocess import NameProcess

    Told = Callable[[NspawnError | None], None]

_GRACE = 1.0  # seconds without a container before it is taken down
_UNUSED = 5.0  # seconds for which it stays for a start that was announced
_LOCKED = 0.01  # seconds until the lock that another process has for its last moments is tried again
_LEAVING = 0.05  # seconds until it is asked once more whether others need it
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
        self.wires = Wires(owner, lambda: {getattr(user, "number", -1) for user in self.users})
        self._watching = watching
        self._events = Events(owner, self._look, self._held)
        self._lock = UseLock(owner.layout, owner.log)
        self._made = False  # whether there may be anything to take away
        self._agent: AgentRun | None = None
        self._asked = netwatch.NOTHING  # of this run: what for
        self._now: list[Told] = []  # told at the end of the run that there is
        self._next: list[Told] = []  # told at the end of one that is yet to begin
        self._down: list[Callable[[], None]] = []
        self._force = False
        self._hesitated = False
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
        self._events.soon(netwatch.LOOK)

    def inherit(self, *, by_hand: bool) -> None:
        """A process before us has made it, and nobody may need it any more; by_hand: but it stays."""
        self._made = True
        if by_hand:
            self.keep(lambda _error: None)
        elif not self.users:
            self._grace = self._owner.loop.after(_GRACE, self._unused)

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
        self._stay()

    def _stay(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _unused(self) -> None:
        self._grace = None
        if not self.users:
            self._begin()

    def _needing(self) -> list[str]:
        """Who needs it, for people."""
        return sorted(_told(user) for user in self.users - {self} if not isinstance(user, _Expected))

    # The end

    def take_down(self, told: Callable[[], None], *, force: bool = False) -> None:
        """By hand, or because we end.  Conflict when somebody needs it, unless forced."""
        needed = self._needing()
        if needed and not force:
            raise Conflict(
                "the network is in use",
                f"{', '.join(needed)} {'need' if len(needed) > 1 else 'needs'} it",
                "Stop what uses it, or take it from them: nspawn net down --force.",
            )
        self.users -= {user for user in self.users if user is self or isinstance(user, _Expected)}
        self.by_hand = False
        self._force = force
        self._made = True  # of others, who were killed
        self._stay()
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
        if not self._lock.share():
            self._owner.loop.after(_LOCKED, self._begin)
            return
        self._hesitated = False
        self._made = True
        self._asked = self._events.looking()
        self._now += self._next
        self._next = []
        if self._watching:  # before the agent looks, so that nothing is missed
            self._events.listen(self.outcome.text("bridge") or _BRIDGE)
        words = ["up"]
        words += ["--refill"] if self._asked == netwatch.REFILL else []
        words += ["--by-hand"] if self.by_hand else []
        self._agent = AgentRun(self._owner, words, self._ran)
        self._events.mind(self._agent.pid)

    def _ran(self, record: Record | None, error: NspawnError | None) -> None:
        self._agent = None
        if record is not None:
            try:
                Subnet.of(record)
            except Damaged as damaged:
                record, error = None, NspawnError("the network could not be made", str(damaged))
        changed = error is not None or self.error is not None
        self.error = error
        if record is not None:
            changed = changed or record.fields != self.outcome.fields
            self.outcome = record
            self.up = True
            self._set_up()
        if error is not None:
            self._owner.log(error.render())
        waiting, self._now = self._now, []
        for told in waiting:
            self._tell(told, error)
        if changed:
            self._publish(error)
        if error is not None:
            self._events.failed(self._asked)
        else:
            self._events.looked()
        if self._next or self._down:
            self._begin()
        elif not self.users:
            self._grace = self._grace or self._owner.loop.after(_GRACE, self._unused)

    def _tell(self, told: Told, error: NspawnError | None) -> None:
        """Later, and each by itself: one that fails takes no other with it."""
        self._owner.loop.after(0, lambda: told(error))

    def _set_up(self) -> None:
        """What stands on the network that is there now."""
        if not self._watching:
            return
        self._events.listen(self.outcome.text("bridge") or _BRIDGE)
        bridge = self.outcome.text("bridge") if self.bridged else ""
        if self.names is not None and not self.names.is_of(bridge):
            self.names.close()
            self.names = None
        if self.names is None and self.outcome.flag("dns"):
            from nspawn.container.nameprocess import NameProcess

            self.names = NameProcess(self._owner)
            self.names.open(self.subnet, bridge)

    def _look(self) -> None:
        """Something has changed."""
        if self.users:
            self._next.append(lambda _error: None)
            self._begin()

    def _held(self) -> set[bytes]:
        """The addresses of the containers that have the network from here."""
        try:
            subnet = self.subnet
        except Damaged:
            return set()
        numbers = [2 + number for user in self.users if (number := getattr(user, "number", -1)) >= 0]
        return {(subnet.base4 + number).to_bytes(4, "big") for number in numbers} | {
            (subnet.base6 + number).to_bytes(16, "big") for number in numbers
        }

    def serve(self) -> None:
        """Watch and answer from now on: whoever did it before has gone."""
        self._watching = True
        self._look()

    def _take_away(self) -> None:
        """Run the agent to take everything down, if no other process needs it."""
        self._sleep()
        if self.wires.remove(self._begin):
            return
        if not self._force and not self._lock.alone():
            if not self._hesitated:  # another may be on its way out
                self._hesitated = True
                self._owner.loop.after(_LEAVING, self._begin)
                return
            self._made = False
            self.outcome = Record((("down", 0),))
            self._fallen()
            return
        words = ["down", "--force"] if self._force else ["down"]
        self._agent = AgentRun(self._owner, words, self._gone)

    def _gone(self, record: Record | None, error: NspawnError | None) -> None:
        self._agent = None
        self._made = False
        self.error = error
        self.outcome = record or Record()
        if error is not None:
            self._owner.log(error.render())
        elif not self.outcome.flag("down"):
            active = ", ".join(number.decode() for number in self.outcome.all("active"))
            self._owner.log(f"the network stays as it is: something has a place in it ({active})")
        self._publish(error)
        self._fallen()

    def _fallen(self) -> None:
        """It is down, or not ours."""
        self._force = self._hesitated = False
        self._lock.let_go()
        self._sleep()
        down, self._down = self._down, []
        for told in down:
            self._owner.loop.after(0, told)
        if self._next:
            self._begin()

    def _sleep(self) -> None:
        """Nothing is watched and nobody is answered."""
        self.up = False
        self._stay()
        self._events.close()
        self.wires.close()
        if self.names is not None:
            self.names.close()
            self.names = None

    def _publish(self, error: NspawnError | None) -> None:
        fields = error_record(error).fields if error is not None else []
        self._owner.publish(Record((("event", "network"), *self.report().fields, *fields)))

    def report(self) -> Record:
        """How it is, and the agent's last outcome."""
        return Record(
            (
                ("up", int(self.up)),
                ("users", len(self._needing())),
                ("by-hand", int(self.by_hand)),
                ("watch", int(self._events.listening)),
                ("names", self.names.pid if self.names is not None else 0),
                ("names-trouble", self.names.trouble if self.names is not None else ""),
                *(field for field in self.outcome.fields if field[0] != "by-hand"),
            )
        )

    # For a container

    @property
    def subnet(self) -> Subnet:
        return Subnet.of(self.outcome)

    @property
    def bridged(self) -> bool:
        return self.outcome.text("mode", "bridge") != "ptp"

    def connect(self, number: int, pid: int) -> None:
        """Make the veth of a slot into a process's network namespace; NspawnError when that fails."""
        try:
            self._events.mind(self.wires.port)
        except OSError as error:
            raise NspawnError("the container cannot be connected to the network", str(error)) from error
        self.wires.connect(self.outcome, number, pid)


class _Expected:
    """Needs the network for a start that may come."""


def _told(user: object) -> str:
    """Who it is, for people."""
    if isinstance(user, Attachment) and user.slot.owner.startswith("name:"):
        return user.slot.owner.partition(":")[2]
    return "a run by a command line"
