"""What the crash guard remembers from one boot to the next, and what follows from it.

A note is written before a step that some kernel does not survive, and taken back after it.  One that is
found in a later boot says in which step the machine went down.
"""

from __future__ import annotations

import binascii

from nspawn.errors import Conflict, Damaged
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
#: Boots in a row that did not come up well, after which no container starts by itself.
SAFE_AFTER = 3
#: What a person may forbid: names as in /proc/self/ns.  Without mount namespaces nothing can run.
#: In the order in which they are tried: the one that is known to bring phones down comes last, so that one
#: which takes a moment to do so is not blamed on another.
FEATURES = ("uts", "ipc", "cgroup", "time", "net", "pid")
#: Step "namespace": one kind by itself (feature), or all together (no feature).  Step "start": a container.
NAMESPACE = "namespace"
START = "start"
#: The proof that all namespaces that are used can be made at once.
TOGETHER = "together"
#: Details of Android's boot reasons that say "somebody wanted it": people, programs, an empty battery.
_WISHES = frozenset(
    ("userrequested", "shell", "adb", "ota", "recovery", "bootloader", "fastboot", "safemode", "battery")
)
#: Kernels whose proofs are kept: two slots of a phone, each before and after an update.
_MOST_KERNELS = 4
#: Proofs of one kernel; the oldest go first.  Containers that were removed leave theirs behind.
_MOST_PROOFS = 512


class Note:
    """An open step.  boot: the id of the boot; holder: the process that takes it back; when: Unix seconds."""

    __slots__ = ("boot", "container", "feature", "holder", "kernel", "step", "when")

    def __init__(
        self,
        step: str,
        *,
        container: str = "",
        feature: str = "",
        boot: str,
        holder: str,
        kernel: str,
        when: int,
    ) -> None:
        self.step = step
        self.container = container
        self.feature = feature
        self.boot = boot
        self.holder = holder
        self.kernel = kernel
        self.when = when

    def encode(self) -> str:
        """The value of its field."""
        fields = (
            self.step,
            self.container,
            self.feature,
            self.boot,
            self.holder,
            str(self.when),
            self.kernel,
        )
        return "\t".join(_plain(field) for field in fields)

    @classmethod
    def decode(cls, text: str) -> Note:
        fields = text.split("\t")
        if len(fields) != 7 or not fields[5].isdecimal() or len(fields[5]) > 15:
            raise Damaged("the note of an open step cannot be read", repr(text[:80]))
        step, container, feature, boot, holder, when, kernel = fields
        return cls(
            step,
            container=container,
            feature=feature,
            boot=boot,
            holder=holder,
            kernel=kernel,
            when=int(when),
        )

    def describe(self) -> str:
        """The step in words, to go on after "while"."""
        if self.step == START:
            return f"{self.container or 'a container'} was starting"
        if self.step == NAMESPACE and self.feature:
            return f"{self.feature} namespaces were first tried on this kernel"
        if self.step == NAMESPACE:
            return "all namespaces together were first tried on this kernel"
        return f"the step {self.step!r} was under way"


class Ledger:
    """The guard's file as a value.

    notes: oldest first.  never: features that the user forbade.  proven: by kernel, what it survived: names
    of features, TOGETHER, and "start:NAME" of containers.  boot: the last boot that was counted; good:
    whether it came up well; failed: how many in a row before it did not.  problem: what was wrong with the
    file that this one replaces.
    """

    __slots__ = ("boot", "failed", "good", "never", "notes", "problem", "proven")

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.never: set[str] = set()
        self.proven: dict[str, dict[str, None]] = {}
        self.boot = ""
        self.good = True
        self.failed = 0
        self.problem = ""

    # Decisions

    def trips(self, boot: str) -> list[Note]:
        """The notes of earlier boots: steps in which the machine went down; the last is the likeliest."""
        return [note for note in self.notes if note.boot != boot]

    @property
    def safe_mode(self) -> bool:
        return self.failed >= SAFE_AFTER

    def is_in_doubt(self, boot: str) -> bool:
        """Whether the last boot looks like a bad one, so that it matters how it ended."""
        return self.boot not in ("", boot) and (
            not self.good or any(note.boot == self.boot for note in self.notes)
        )

    def ended_in_order(self) -> None:
        """Somebody wanted the end of the last boot: it was a good one, and no step of it was its end.

        Steps of boots before that one stay: somebody has to decide about them.
        """
        self.notes = [note for note in self.notes if note.boot != self.boot]
        self.came_up(self.boot)

    def begin_boot(self, boot: str) -> bool:
        """Count a start of the machine; False when this one was counted already."""
        if boot == self.boot:
            return False
        if self.boot and not self.good:
            self.failed += 1
        self.boot, self.good = boot, False
        return True

    def came_up(self, boot: str) -> bool:
        """This boot is a good one; False when that changes nothing.

        It does not end the safe mode, in which nothing was tried: `try_again` does.
        """
        if boot != self.boot or self.good:
            return False
        self.good = True
        if not self.safe_mode:
            self.failed = 0
        return True

    def try_again(self, boot: str) -> None:
        """As if nothing had happened; what was under way is still unproven, so it is noted again."""
        self.notes = [note for note in self.notes if note.boot == boot]
        self.failed = 0
        self.problem = ""

    def forbid(self, feature: str, boot: str) -> None:
        """Never use a feature.  A trip is over when this feature was what was tried, or among it."""
        self.never.add(feature)
        self.notes = [
            note
            for note in self.notes
            if note.boot == boot or note.step != NAMESPACE or note.feature not in ("", feature)
        ]

    def allow(self, feature: str) -> None:
        """Use a feature again; whatever is said to be proven of it is to be proven again."""
        if feature in self.never:
            self.never.discard(feature)
            for proofs in self.proven.values():
                proofs.pop(feature, None)
                proofs.pop(TOGETHER, None)

    def prove(self, kernel: str, names: Iterable[str]) -> bool:
        """This kernel survived these; False when that was known."""
        proofs = self.proven.pop(kernel, {})
        self.proven[kernel] = proofs  # now the newest
        fresh = [name for name in names if name not in proofs]
        proofs.update(dict.fromkeys(fresh))
        while len(proofs) > _MOST_PROOFS:
            # The features stay: there are few, and they were added first.
            proofs.pop(next((name for name in proofs if ":" in name), next(iter(proofs))))
        while len(self.proven) > _MOST_KERNELS:
            self.proven.pop(next(iter(self.proven)))
        return bool(fresh)

    def unprove(self, name: str) -> bool:
        """Nothing is known of it any more, on any kernel; False when that was so."""
        return sum(proofs.pop(name, name) is None for proofs in self.proven.values()) > 0

    # Its file

    def encode(self) -> bytes:
        record = Record((("version", VERSION),))
        for feature in sorted(self.never):
            record.add("never", feature)
        for kernel, proofs in self.proven.items():
            record.add("proven", "\t".join((_plain(kernel), *proofs)))
        for note in self.notes:
            record.add("note", note.encode())
        record.add("boot", self.boot)
        record.add("good", int(self.good))
        record.add("failed", self.failed)
        record.add("problem", self.problem.replace("\0", "?"))
        data = record.encode()
        return data + b"\0sum=%08x" % binascii.crc32(data)

    @classmethod
    def decode(cls, data: bytes) -> Ledger:
        """The ledger in these bytes; Damaged, or NewerVersion, which has what must not be lost."""
        body, mark, checksum = data.rpartition(b"\0sum=")
        if not mark:
            raise Damaged("the crash guard's file is damaged", _reason(data))
        if checksum != b"%08x" % binascii.crc32(body):
            raise Damaged("the crash guard's file is damaged", "its checksum is wrong")
        record = Record.decode(body)
        version = record.integer("version")
        self = cls()
        self.never = {name for name in map(_text, record.all("never")) if name in FEATURES}
        if version > VERSION:
            raise NewerVersion(version, self)
        for value in record.all("proven"):
            kernel, *proofs = _text(value).split("\t")
            self.proven[kernel] = dict.fromkeys(proofs)
        self.notes = [Note.decode(_text(value)) for value in record.all("note")]
        self.boot = record.text("boot")
        self.good = record.flag("good")
        self.failed = record.integer("failed")
        self.problem = record.text("problem")
        return self

    def forget_the_open(self) -> Ledger:
        """What still holds of a copy that is not the newest: not its notes, which are over."""
        self.notes = []
        return self


class NewerVersion(Damaged):
    """A file of a version that is not known here.  ledger: only what the user forbade."""

    def __init__(self, version: int, ledger: Ledger) -> None:
        super().__init__("the crash guard's file is from a newer nspawn", f"version {version}")
        self.ledger = ledger


def is_orderly(reason: str) -> bool:
    """Whether this boot reason of Android says that the end before it was somebody's wish.

    Only reasons with a detail: some boot loaders call any reset a "reboot".
    """
    kind, _, detail = reason.partition(",")
    return kind in ("reboot", "shutdown") and detail.partition(",")[0] in _WISHES


def refusal(trips: list[Note], *, safe_mode: bool) -> Conflict:
    """Why containers do not start now, and what to do."""
    hint = "Try again: nspawn guard try-again."
    if trips:
        last = trips[-1]
        if last.step == NAMESPACE:
            hint += f" Or do without: nspawn guard never {last.feature or 'pid'}."
        hint += " What the kernel said then: nspawn guard."
        return Conflict("no container is started", trip_text(trips), hint)
    assert safe_mode
    why = f"safe mode: the machine did not come up well {SAFE_AFTER} times in a row"
    return Conflict("no container is started", why, hint)


def trip_text(trips: list[Note]) -> str:
    """What happened, in one sentence."""
    *others, last = trips
    text = f"the machine went down while {last.describe()}"
    names = dict.fromkeys(note.container for note in others if note.container not in ("", last.container))
    return f"{text} (in the same seconds: {', '.join(names)})" if names else text


def _plain(text: str) -> str:
    """Text that can be one of the tab-separated parts of a field."""
    return "".join(char if char.isprintable() else " " for char in text)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _reason(data: bytes) -> str:
    if not data:
        return "it is empty"
    if not data.strip(b"\0"):
        # ext4 and f2fs leave blocks of zeros where a file was not yet written when the power went.
        return "it holds only NUL bytes"
    return "it is cut off"
