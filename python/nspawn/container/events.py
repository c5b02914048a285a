"""What the boot program may wait for: sources that are open only while something does, and wake nobody else.

Each tells by a call that its condition may hold now; the boot program then looks for itself.
"""

from __future__ import annotations

import errno
import os
import select

from nspawn.container import properties
from nspawn.kernel import libc, routes
from nspawn.layout import phone
from nspawn.model import uplink
from nspawn.model.phone import BOOT_COMPLETED, IN_STORAGE, STORAGE, UNLOCKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nspawn.container.loop import Loop, Timer
    from nspawn.container.spawner import Spawner

    Fired = Callable[[], None]

_PACE = 0.25  # seconds between two looks at the routes
# inotify(7).
IN_ATTRIB, IN_MOVED_TO, IN_CREATE, IN_DELETE_SELF, IN_MOVE_SELF = 0x4, 0x80, 0x100, 0x400, 0x800
_LONGEST_PAUSE = 600.0  # seconds
_LEVELS = 3  # /data/media/0, /data/media, /data
_APPEARS = IN_CREATE | IN_MOVED_TO
_PROPERTIES = {"storage": UNLOCKED, "boot-completed": BOOT_COMPLETED}


class Events:
    """The open sources."""

    __slots__ = ("_fired", "_sources", "_spawner", "_waiter")

    def __init__(self, spawner: Spawner, fired: Fired) -> None:
        self._spawner = spawner
        self._fired = fired
        self._sources: dict[str, Uplink | Appearance] = {}
        self._waiter = Waiter(spawner, fired)

    def want(self, conditions: Collection[str]) -> None:
        """Wait for these and no others."""
        for condition in [each for each in self._sources if each not in conditions]:
            self._sources.pop(condition).close()
        try:
            if "uplink" in conditions and "uplink" not in self._sources:
                self._sources["uplink"] = Uplink(self._spawner.loop, self._fired)
            if "storage" in conditions and "storage" not in self._sources:
                place = phone(os.environ, STORAGE)
                self._sources["storage"] = Appearance(self._spawner.loop, place, self._fired)
        except OSError as error:
            self._spawner.log(f"what a container waits for cannot be noticed: {error}")
        self._waiter.want(tuple(_PROPERTIES[each] for each in _PROPERTIES if each in conditions))


class Uplink:
    """Routes and interfaces, by rtnetlink(7)."""

    __slots__ = ("_end", "_fired", "_loop", "_timer")

    def __init__(self, loop: Loop, fired: Fired) -> None:
        self._loop = loop
        self._fired = fired
        self._timer: Timer | None = None
        self._end = routes.watch()
        loop.add(self._end.fileno(), self._changed)
        self._look()  # it may have come before we listened

    def _changed(self, _events: int) -> None:
        try:
            while self._end.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # more came than it holds: a look tells all
                raise
        if self._timer is None:
            self._timer = self._loop.after(_PACE, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            there = uplink.is_there(routes.routes(), routes.links())
        except OSError:
            there = True  # perhaps: the boot program looks for itself
        if there:
            self._fired()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove(self._end.fileno())
        self._end.close()


class Appearance:
    """The shared storage, by what appears in it: files by inotify(7), mounts by mountinfo."""

    __slots__ = ("_fired", "_inotify", "_loop", "_mounts", "_place")

    def __init__(self, loop: Loop, place: str, fired: Fired) -> None:
        self._loop = loop
        self._place = place
        self._fired = fired
        self._inotify = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._inotify)
            raise
        loop.add(self._inotify, self._changed)
        loop.add(self._mounts, self._mounted, select.EPOLLPRI)
        self._look()

    def _mounted(self, _events: int) -> None:
        # The kernel tells again at the next poll until the file is read or polled; epoll has polled it.
        self._look()

    def _changed(self, _events: int) -> None:
        try:
            while os.read(self._inotify, 1 << 16):
                pass
        except BlockingIOError:
            pass
        self._look()

    def _look(self) -> None:
        """Watch the folder and those above it, as far as they are there."""
        path = self._place
        for _level in range(_LEVELS):
            try:
                libc.inotify_add_watch(self._inotify, path, _APPEARS | IN_DELETE_SELF | IN_MOVE_SELF)
            except OSError:
                pass  # not there yet, or locked
            path = os.path.dirname(path)
        if os.path.isdir(f"{self._place}/{IN_STORAGE}"):
            self._fired()

    def close(self) -> None:
        for descriptor in (self._inotify, self._mounts):
            self._loop.remove(descriptor)
            os.close(descriptor)


class Waiter:
    """The child that waits for properties."""

    __slots__ = ("_failures", "_fired", "_pid", "_spawner", "_wanted")

    def __init__(self, spawner: Spawner, fired: Fired) -> None:
        self._spawner = spawner
        self._fired = fired
        self._pid = 0
        self._failures = 0
        self._wanted: tuple[tuple[str, str], ...] = ()

    def want(self, wanted: tuple[tuple[str, str], ...]) -> None:
        if wanted == self._wanted and (self._pid or not wanted):
            return
        self._wanted = wanted
        if self._pid:
            self._spawner.children[self._pid] = lambda _status: None
            self._spawner.signal(self._pid, 9)
            self._pid = 0
        if wanted:
            try:
                self._pid = properties.wait(wanted, phone(os.environ, ""))
            except OSError as error:
                self._spawner.log(f"properties are not waited for: {error}")
                self._again()
                return
            self._spawner.children[self._pid] = self._ended

    def _ended(self, status: int) -> None:
        self._pid = 0
        if status == 0:
            self._failures = 0
            self._fired()
        else:
            self._again()

    def _again(self) -> None:
        """Killed for memory, perhaps; what waits is not to wait for ever."""
        pause = min(2.0**self._failures, _LONGEST_PAUSE)
        self._failures += 1
        self._spawner.loop.after(pause, lambda: self.want(self._wanted))
