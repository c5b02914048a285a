"""What a container has to do with the phone it runs on: frozen or not, the wake lock, the shared storage."""

from __future__ import annotations

from nspawn.errors import Conflict, Unsupported
from nspawn.model.power import Rules
from nspawn.model.record import Record
from nspawn.model.runspec import Bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.instance import Instance
    from nspawn.kernel.cgroup import Group
    from nspawn.model.record import Value


class Extras:
    """used: whether any setting is in use, so that most starts pay for nothing more.

    frozen: why it is, in words, or "".  cause: of the power rules, which thaw only what they froze, or "".
    rules: those rules.  spared: the cause against which it was thawed by hand, until that is over.
    wake_lock: whether the phone is to stay awake while it runs.
    """

    __slots__ = ("_instance", "_storage", "cause", "frozen", "rules", "spared", "used", "wake_lock")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._storage = ""
        self.used = False
        self.frozen = ""
        self.cause = ""
        self.spared = ""
        self.wake_lock = False
        self.rules: Rules | None = None

    def asked(self) -> None:
        """Take what the request says."""
        request = self._instance.request
        self.used = request.flag("extras")
        self.wake_lock = self.used and request.flag("wake-lock")
        self._storage = request.text("storage-locked") if self.used else ""
        rules = request.text("power") if self.used else ""
        self.rules = Rules.decode(rules) if rules else None

    def load(self, record: Record) -> None:
        """From a saved state."""
        self.asked()
        self.frozen = record.text("frozen")
        self.cause = record.text("cause")
        self.spared = record.text("spared")

    def report(self) -> list[tuple[str, Value]]:
        """Fields of the container's report."""
        fields: list[tuple[str, Value]] = []
        if self.frozen:
            fields += [("frozen", self.frozen), ("cause", self.cause)]
        if self.spared:
            fields.append(("spared", self.spared))
        if self.lacks_storage:
            fields.append(("lacks-storage", self._storage))
        return fields

    # Freeze

    def freeze(self, why: str, cause: str = "") -> None:
        """Take the processor from it.  why: in words.  Raises Conflict, or Unsupported."""
        group = self._running()
        if not self.frozen:
            try:
                if group is None:
                    raise OSError(0, "there is no cgroup of it")
                group.freeze()
            except OSError as error:
                raise Unsupported(
                    f"{self._instance.name} cannot be frozen",
                    f"{error.strerror} ({error.filename})" if error.filename else error.strerror or "",
                    "It needs cgroup2 with Linux 5.2, or the version 1 freezer (CONFIG_CGROUP_FREEZER).",
                ) from None
        self.frozen = why
        self.cause = cause
        self.spared = ""
        self._instance.save()

    def thaw(self, *, by_hand: bool = False) -> None:
        """Let it go on.  by_hand: whatever the power rules say, until they have no reason any more."""
        self._running()
        self.spared = self.cause if by_hand and self.frozen else ""
        self.thaw_quietly()
        self._instance.save()

    def thaw_quietly(self) -> None:
        """Before it is ended: what is frozen heeds no signal.

        Also what is not known as frozen: one that was killed may have frozen it and not have noted that.
        """
        if self._instance.group is not None:
            self._instance.group.thaw()
        self.frozen = self.cause = ""

    def running_free(self) -> None:
        """It begins, or has ended."""
        self.frozen = self.cause = self.spared = ""

    def _running(self) -> Group | None:
        instance = self._instance
        if instance.state != "running":
            raise Conflict(f"{instance.name} is not running", hint=f"Start it: nspawn start {instance.name}.")
        return instance.group

    # Storage

    @property
    def lacks_storage(self) -> bool:
        """Whether it runs without the phone's storage, which was locked when it started."""
        return bool(self._storage) and self._instance.state == "running"

    def storage_came(self, source: str, why_not: str) -> None:
        """Its storage was mounted into it, or could not be, why_not; the next start shows it in any case."""
        instance = self._instance
        target, self._storage = self._storage, ""
        if not target:
            return
        request = Record(field for field in instance.request.fields if field[0] != "storage-locked")
        for key, value in Bind(source, target, optional=True).fields():
            request.add(key, value)
        instance.request = request
        if why_not:
            instance.warnings.append(why_not)
            instance.spawner.log(f"{instance.name}: {why_not}")
        instance.save()
