"""The power rules at work: the kernel's events of the battery freeze and thaw what is marked pausable.

Open only while a container with rules runs.  An event is no more than a reason to look: anybody in the host's
network may send one, so what it says is not believed, and the files are read instead.
"""

from __future__ import annotations

import _socket
import errno
import os

from nspawn.errors import NspawnError
from nspawn.kernel import battery
from nspawn.layout import phone
from nspawn.model import power

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.instance import Instance
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner

NETLINK_KOBJECT_UEVENT = 15
_KERNEL = 1  # the multicast group of the kernel's own events
_PACE = 2.0  # seconds between two looks at the files
_MARK = b"SUBSYSTEM=power_supply"


class PowerWatch:
    """The open socket."""

    __slots__ = ("_again", "_end", "_refused", "_spawner", "_timer")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._timer: Timer | None = None
        self._again = False
        self._refused: set[str] = set()
        self._end = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
        try:
            self._end.setblocking(False)
            self._end.bind((0, _KERNEL))
        except OSError:
            self._end.close()
            raise
        spawner.loop.add(self._end.fileno(), self._ready)

    def _ready(self, _events: int) -> None:
        told = False
        try:
            while True:
                told = is_about_power(self._end.recv(1 << 14)) or told
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            told = True
        if told and self._timer is not None:
            self._again = True
        elif told:
            self.look()
            self._timer = self._spawner.loop.after(_PACE, self._rested)

    def _rested(self) -> None:
        """What came in between is answered now, by one look."""
        self._timer = None
        if self._again:
            self._again = False
            self.look()

    def look_soon(self) -> None:
        """For a container that has just begun; not from within what told of it."""
        if self._timer is None:
            self._again = True
            self._timer = self._spawner.loop.after(0, self._rested)

    def look(self) -> None:
        """Freeze and thaw by what the battery says now."""
        reading = battery.read(phone(os.environ, battery.FOLDER))
        for instance in list(self._spawner.instances.values()):
            if instance.state == "running":
                self._apply(instance, reading)

    def _apply(self, instance: Instance, reading: power.Reading) -> None:
        extras = instance.extras
        if extras.rules is None or (extras.frozen and not extras.cause):
            return  # frozen by hand: not ours to thaw
        cause, why = power.decide(extras.rules, reading, extras.cause or extras.spared)
        if extras.spared:
            extras.spared = cause
            return
        if bool(cause) == bool(extras.frozen):
            return
        try:
            if cause:
                extras.freeze(why, cause)
                self._spawner.log(f"{instance.name} is frozen: {why}")
            else:
                extras.thaw()
                self._spawner.log(f"{instance.name} goes on")
        except NspawnError as error:
            if instance.name not in self._refused:  # a kernel that cannot says so at every event
                self._refused.add(instance.name)
                self._spawner.log(error.render())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._spawner.loop.remove(self._end.fileno())
        self._end.close()


def is_about_power(message: bytes) -> bool:
    """Whether an event, NUL-separated fields behind its header, is of a power supply."""
    return _MARK in message.split(b"\0")
