"""The crash guard's file: a durable note before a step that some kernel does not survive.

Some phones reboot on the first process of a PID namespace (facts: quirks).  Without a note they would do so
at every boot, and the root manager would switch all modules off.  Several processes may write: each change
reads the file anew, under the lock of its folder.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from nspawn.errors import Damaged, NspawnError
from nspawn.kernel import namespaces, process
from nspawn.layout import on_android
from nspawn.model import guard as model
from nspawn.model.guard import Ledger, Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from nspawn.container.host import Host
    from nspawn.layout import Layout

_LARGEST = 1 << 20
_LOCK_EVERY = 0.02  # seconds
_LOCK_TIMES = 100


def is_active(environ: Mapping[str, str]) -> bool:
    """Whether there is a guard: on phones; NSPAWN_GUARD=1 or 0 decides elsewhere and otherwise."""
    chosen = environ.get("NSPAWN_GUARD", "")
    return chosen == "1" or (chosen != "0" and on_android(environ))


class Trip:
    """The step in which the machine went down.  when: Unix seconds; text: the whole of it in a sentence."""

    __slots__ = ("container", "feature", "kernel", "step", "text", "when")

    def __init__(self, notes: list[Note]) -> None:
        last = notes[-1]
        self.step = last.step
        self.container = last.container
        self.feature = last.feature
        self.kernel = last.kernel
        self.when = last.when
        self.text = model.trip_text(notes)


class Guard:
    """active: whether anything is guarded; elsewhere every method does nothing, at no cost.

    problem: what was wrong with the file, which is never a reason to stop.  Nothing here raises but
    `note`, `check` and what a person asks for (`try_again`, `forbid`, `allow`).
    """

    __slots__ = ("_boot", "_holder", "_kernel", "_ledger", "_root", "active")

    def __init__(self, layout: Layout, environ: Mapping[str, str]) -> None:
        self.active = is_active(environ)
        self._root = layout.root
        self._ledger = Ledger()
        self._boot = self._holder = self._kernel = ""
        if self.active:
            try:
                self._boot = process.boot_id()
            except OSError:
                pass  # without it no boot is another one, and nothing is ever tripped
            machine = os.uname()
            self._kernel = f"{machine.release} {machine.version}"
            self._holder = f"{os.getpid()}:{process.start_time(os.getpid())}"
            self.read()

    def read(self) -> None:
        """See what others have changed."""
        if self.active:
            self._ledger, _keep_as = self._load()

    # What holds now

    @property
    def trip(self) -> Trip | None:
        """None when the last boots ended in no step of ours."""
        notes = self._ledger.trips(self._boot)
        return Trip(notes) if notes else None

    @property
    def safe_mode(self) -> bool:
        return self._ledger.safe_mode

    @property
    def failed_boots(self) -> int:
        """Boots in a row, before this one, that did not come up well."""
        return self._ledger.failed

    @property
    def blocked(self) -> bool:
        """Whether no container may be started and no cell made."""
        return self.active and (self._ledger.safe_mode or bool(self._ledger.trips(self._boot)))

    @property
    def problem(self) -> str:
        return self._ledger.problem

    @property
    def never(self) -> frozenset[str]:
        """Features that the user forbade, by their names in /proc/self/ns."""
        return frozenset(self._ledger.never)

    def is_proven(self, name: str) -> bool:
        """Whether this kernel has survived it: a feature, TOGETHER, or "start:CONTAINER"."""
        return not self.active or name in self._ledger.proven.get(self._kernel, {})

    def check(self) -> None:
        """Conflict when nothing may be started: it says what happened and what to do."""
        if self.blocked:
            raise model.refusal(self._ledger.trips(self._boot), safe_mode=self._ledger.safe_mode)

    # Steps

    def note(self, step: str, *, container: str = "", feature: str = "") -> None:
        """Say durably that this step comes now.  NspawnError when that cannot be written."""
        if not self.active:
            return
        fresh = Note(
            step,
            container=container,
            feature=feature,
            boot=self._boot,
            holder=self._holder,
            kernel=self._kernel,
            when=int(time.time()),
        )

        def change(ledger: Ledger) -> bool:
            # Of namespaces one comes after the other: the step before this one is over.
            self._take_back(ledger, step, (container,) if container else ())
            ledger.notes.append(fresh)
            return True

        try:
            self._change(change)
        except OSError as error:
            raise NspawnError(
                f"the crash guard cannot note that {fresh.describe()}",
                f"{error.strerror or error} ({self._root}/guard)",
                "A step that this kernel has not been seen to survive is not taken without its note: "
                "free some space, or make the folder writable.",
            ) from None

    def clear(self, step: str = "", *, containers: Collection[str] = (), proven: Iterable[str] = ()) -> bool:
        """The step is over (all of this process's without arguments); False when that cannot be written.

        proven: what this kernel is now known to survive.
        """
        if not self.active:
            return True

        def change(ledger: Ledger) -> bool:
            gone = self._take_back(ledger, step, containers)
            return ledger.prove(self._kernel, proven) or gone

        return self._try(change)

    def _take_back(self, ledger: Ledger, step: str, containers: Collection[str]) -> bool:
        kept = [
            note
            for note in ledger.notes
            if note.boot != self._boot
            or note.holder != self._holder
            or (step and note.step != step)
            or (containers and note.container not in containers)
        ]
        changed = len(kept) != len(ledger.notes)
        ledger.notes = kept
        return changed

    def prove(self, host: Host) -> list[str]:
        """Try what this kernel is not known to survive: each namespace by itself, each under its note.

        What the kernel refuses is left out by the host.  When the result is not empty, a note is open that
        all of them are used together: `clear(NAMESPACE, proven=...)` it with this list once a cell lives.
        Raises Conflict when the guard is tripped, NspawnError when a note cannot be written.
        """
        self.check()
        if not self.active:
            return []
        wanted = [name for name in model.FEATURES if host.flags & namespaces.flags_of((name,))]
        fresh = [name for name in wanted if not self.is_proven(name)]
        if not fresh and self.is_proven(model.TOGETHER):
            return []
        survived = []
        try:
            for name in fresh:
                self.note(model.NAMESPACE, feature=name)
                if namespaces.survives(namespaces.flags_of((name,))):
                    survived.append(name)
                else:
                    host.refuse(name)
            if survived or not self.is_proven(model.TOGETHER):
                self.note(model.NAMESPACE)
                return [*survived, model.TOGETHER]
        except NspawnError:
            self.clear(model.NAMESPACE)
            raise
        self.clear(model.NAMESPACE)
        return []

    def unprove(self, name: str) -> None:
        """Nothing is known of it any more: another may come to have its name."""
        if self.is_proven(name):
            self._try(lambda ledger: ledger.unprove(name))

    def inherited(self) -> bool:
        """Whether there are notes of this boot whose writer is gone: the machine outlived their steps."""
        return any(self._is_orphan(note) for note in self._ledger.notes)

    def clear_inherited(self) -> bool:
        """Take those back."""

        def change(ledger: Ledger) -> bool:
            kept = [note for note in ledger.notes if not self._is_orphan(note)]
            changed = len(kept) != len(ledger.notes)
            ledger.notes = kept
            return changed

        return self._try(change)

    def _is_orphan(self, note: Note) -> bool:
        if note.boot != self._boot or note.holder == self._holder:
            return False
        pid, _, started = note.holder.partition(":")
        return not pid.isdecimal() or str(process.start_time(int(pid))) != started

    # Boots

    def begin_boot(self, ended_in_order: Callable[[], bool]) -> bool:
        """Count this start of the machine, once; whether it still has to come up well.

        ended_in_order: whether the boot before this one did; asked only when that makes a difference.
        """
        if not self.active:
            return False
        excused = self._ledger.is_in_doubt(self._boot) and ended_in_order()

        def change(ledger: Ledger) -> bool:
            if excused and ledger.is_in_doubt(self._boot):
                ledger.ended_in_order()
            return ledger.begin_boot(self._boot)

        self._try(change)
        return not self._ledger.good

    def came_up(self) -> bool:
        """This boot came up well; False when that cannot be written."""
        return not self.active or self._try(lambda ledger: ledger.came_up(self._boot))

    # What a person decides

    def try_again(self) -> None:
        """Forget the trip and the failed boots; OSError when that cannot be written."""

        def change(ledger: Ledger) -> bool:
            ledger.try_again(self._boot)
            return True

        self._change(change)

    def forbid(self, feature: str) -> None:
        """Never use this feature; OSError when that cannot be written."""

        def change(ledger: Ledger) -> bool:
            ledger.forbid(feature, self._boot)
            return True

        self._change(change)

    def allow(self, feature: str) -> None:
        """Use it again; OSError when that cannot be written."""

        def change(ledger: Ledger) -> bool:
            ledger.allow(feature)
            return True

        self._change(change)

    # The file

    def _load(self) -> tuple[Ledger, str]:
        """The ledger, or what the copy before it still tells; and the name to keep the file by, if any."""
        path = f"{self._root}/guard"
        try:
            return Ledger.decode(_read(path)), "guard.old"
        except model.NewerVersion as error:
            ledger = error.ledger
            ledger.problem = f"{error}; only what is never to be used was taken from it"
            return ledger, "guard.newer"
        except FileNotFoundError:
            why = "it is missing"
        except OSError as error:
            why = error.strerror or str(error)
        except NspawnError as error:
            why = error.why or error.what
        try:
            ledger = Ledger.decode(_read(f"{path}.old")).forget_the_open()
            ledger.problem = f"the crash guard's file was no good ({why}); the copy before it is used"
        except FileNotFoundError:
            ledger = Ledger()
            if why != "it is missing":  # else this is the first time
                ledger.problem = f"the crash guard's file was no good ({why}), and there is no copy"
        except (OSError, NspawnError):
            ledger = Ledger()
            ledger.problem = f"the crash guard's file was no good ({why}), and neither is its copy"
        return ledger, ""

    def _change(self, change: Callable[[Ledger], bool]) -> None:
        """Apply a change to the newest ledger and write it, unless the change says that there is none."""
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(folder)
            ledger, keep_as = self._load()
            if change(ledger):
                _write(folder, ledger.encode(), keep_as)
            self._ledger = ledger
        finally:
            os.close(folder)

    def _try(self, change: Callable[[Ledger], bool]) -> bool:
        try:
            self._change(change)
        except OSError:
            return False
        return True


def _lock(folder: int) -> None:
    """Hold it for one change.  Not for ever: a process that is stopped in between must not stop us all."""
    for _ in range(_LOCK_TIMES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_EVERY)
        else:
            return


def _read(path: str) -> bytes:
    # Non-blocking: where a FIFO lies in its place, nobody may be writing to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Damaged("the crash guard's file cannot be read", "it is no plain file")
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)


def _write(folder: int, data: bytes, keep_as: str) -> None:
    """Replace the file durably.  keep_as: what is replaced stays under this name, if any."""
    try:
        os.unlink("guard.new", dir_fd=folder)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("guard.new", flags, 0o600, dir_fd=folder)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if keep_as:
        _keep(folder, keep_as)
    os.rename("guard.new", "guard", src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def _keep(folder: int, name: str) -> None:
    """By a link, which costs no space; without a moment in which there is neither file."""
    try:
        os.unlink("guard.older", dir_fd=folder)
    except OSError:
        pass
    try:
        os.link("guard", "guard.older", src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.rename("guard.older", name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        return  # the first time; or a file system without links, which then has no copy
