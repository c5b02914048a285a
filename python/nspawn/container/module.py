"""The module that we were installed by: its description line, and the files that switch it off."""

from __future__ import annotations

import os
import stat

from nspawn.container import child
from nspawn.kernel import libc
from nspawn.model import description

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.loop import Timer
    from nspawn.container.spawner import Spawner

_SOON = 1.0  # seconds after a change: a start and a stop are one
# inotify(7): made, or moved in.
_APPEARS = 0x100 | 0x80
_LARGEST = 1 << 16
_TRIES = 5  # a manager that installs another version writes the file once
_LABEL = "security.selinux"
_FAILED = "the module's description is not written"
_ENDS = {
    "disable": "stopped, because the module is disabled",
    "remove": "stopped, because the module is removed at the next reboot",
}


class Module:
    """folder: where it is installed."""

    __slots__ = ("_inotify", "_spawner", "_timer", "_trouble", "_writer", "_written", "folder")

    def __init__(self, spawner: Spawner, folder: str) -> None:
        self.folder = folder
        self._spawner = spawner
        self._timer: Timer | None = None
        self._trouble = ""
        self._written = ""
        self._writer = 0
        self._inotify = -1
        try:
            self._inotify = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
            libc.inotify_add_watch(self._inotify, folder, _APPEARS)
        except OSError as error:
            spawner.log(f"the module's folder is not watched: {error}")
        else:
            spawner.loop.add(self._inotify, self._changed)
        spawner.loop.after(0, self._look)  # a spawner may have died in between
        self.soon()

    def _changed(self, _events: int) -> None:
        try:
            while os.read(self._inotify, 1 << 14):
                pass
        except BlockingIOError:
            pass
        self._look()

    def _look(self) -> None:
        """`disable` and `remove` are how every manager says it; only at the next boot it acts itself."""
        if self._off() and not self._spawner.ending:
            self._spawner.log(f"everything ends: {self._off()}")
            self._spawner.shutdown()

    def _off(self) -> str:
        return next((text for name, text in _ENDS.items() if os.path.lexists(f"{self.folder}/{name}")), "")

    def taken(self, trouble: str) -> None:
        """What is wrong with the page's port, found out by the boot program."""
        self._trouble = trouble
        self.soon()

    def soon(self) -> None:
        """Something changed: the line follows a little later."""
        if self._timer is None:
            self._timer = self._spawner.loop.after(_SOON, self._tell)

    def _tell(self) -> None:
        self._timer = None
        line = self._text()
        if line == self._written or self._spawner.ending:
            return
        if self._writer:
            self.soon()
            return
        self._written = line
        try:
            # It is synced, and that may take seconds on a phone that is writing an image.
            self._writer = child.fork(lambda: _replace(f"{self.folder}/module.prop", line), _FAILED)
        except OSError as error:
            self._spawner.log(f"{_FAILED}: {error}")
            return
        self._spawner.children[self._writer] = self._told

    def _told(self, _status: int) -> None:
        self._writer = 0

    def _text(self) -> str:
        spawner = self._spawner
        active = [each for each in spawner.instances.values() if each.state in ("running", "stopping")]
        trouble = self._trouble or "; ".join(map(description.refusal, spawner.refused))
        if spawner.probation.guard.safe_mode:
            trouble = "safe mode: no container is started, see the page"
        elif spawner.probation.guard.blocked:
            trouble = "the crash guard holds the containers, see the page"
        return description.text(
            running=len(active),
            frozen=sum(bool(each.extras.frozen) for each in active),
            waits=spawner.errand.waits,
            address=spawner.web.address,
            trouble=trouble,
        )

    def end(self) -> None:
        """The last words."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writer:
            self._spawner.signal(self._writer, 9)
            os.waitpid(self._writer, 0)
        try:
            _replace(f"{self.folder}/module.prop", self._off() or "stopped")
        except OSError as error:
            self._spawner.log(f"{_FAILED}: {error}")
        if self._inotify >= 0:
            self._spawner.loop.remove(self._inotify)
            os.close(self._inotify)


def _replace(path: str, line: str) -> None:
    """Put the line into the file, as it is then: a manager may write another version's meanwhile."""
    for _ in range(_TRIES):
        if _replaced(path, line):
            return
    raise OSError(11, "it is written again and again", path)


def _replaced(path: str, line: str) -> bool:
    """By a file beside it and a rename: a manager that reads meanwhile sees one or the other whole.

    False when the file became another one since it was read: what is to be written would undo that.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        data = os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(before.st_mode) or not data or len(data) == _LARGEST:
        raise OSError(22, "it is no plain file of ours", path)
    fresh = description.rewrite(data, line)
    if fresh == data:
        return True
    beside = f"{path}.new"
    try:
        os.unlink(beside)
    except FileNotFoundError:
        pass
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, fresh) != len(fresh):
            raise OSError(28, os.strerror(28), beside)
        os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        _label_alike(path, descriptor)
        os.fsync(descriptor)  # may take seconds on a phone that is writing an image
    except OSError:
        os.unlink(beside)
        raise
    finally:
        os.close(descriptor)
    if _identity(os.lstat(path)) != _identity(before):
        os.unlink(beside)
        return False
    os.rename(beside, path)
    return True


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _label_alike(path: str, descriptor: int) -> None:
    """Give it the SELinux label that the manager gave the other; there may be none."""
    try:
        os.setxattr(descriptor, _LABEL, os.getxattr(path, _LABEL, follow_symlinks=False))
    except OSError:
        return
