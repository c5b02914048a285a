"""What can be done with containers: the use cases that the command line and the page share."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from nspawn.container import state as states
from nspawn.container.client import Client
from nspawn.errors import Conflict, Damaged, NotFound, NotRunning, UsageError
from nspawn.kernel import process
from nspawn.model import kinds, settings
from nspawn.model.names import parse_container_name
from nspawn.service import console, daemon, files, netknown, slots, store
from nspawn.service.create import (
    Builtin,
    CreateRequest,
    Folder,
    FromImage,
    Outcome,
    Source,
    Tarball,
    check_folder,
    create,
)
from nspawn.service.described import Container, State, parse_state
from nspawn.service.remove import remove
from nspawn.service.request import Fields, phone_fields, start_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nspawn.layout import Layout
    from nspawn.model.progress import Asked, Report
    from nspawn.model.record import Record
    from nspawn.model.settings import Settings
    from nspawn.service.transfer import Moved

__all__ = [
    "Builtin",
    "Container",
    "Containers",
    "CreateRequest",
    "Folder",
    "FromImage",
    "Outcome",
    "Source",
    "State",
    "Tarball",
]


class Containers:
    """All containers of one layout.  client: of its spawner; another one in tests."""

    def __init__(self, layout: Layout, client: Client | None = None) -> None:
        self.layout = layout
        self._store = store.Store(layout)
        self._client = Client(layout) if client is None else client

    @property
    def client(self) -> Client:
        """Of its spawner."""
        return self._client

    def create(self, request: CreateRequest, report: Report, cancelled: Asked) -> Outcome:
        """Make a container; nothing is left of one that fails or is cancelled.

        Raises Conflict when the name is taken, Cancelled, and what the source raises.
        """
        outcome = create(self._store, request, report, cancelled)
        self._tell("changed", request.name)
        return outcome

    def clone(self, source: str, name: str, report: Report, cancelled: Asked) -> Moved:
        """Make a copy of a container, which is frozen meanwhile if it runs; nothing is left of a failure."""
        from nspawn.service import transfer  # with all that it needs of images

        moved = transfer.clone(self, self._store, source, name, report, cancelled)
        self._tell("changed", moved.name)
        return moved

    def export(
        self, name: str, file: str | int, report: Report, cancelled: Asked, *, force: bool = False
    ) -> Moved:
        """Write a container into an archive; file: a path, or a descriptor.  It is frozen if it runs."""
        from nspawn.service import transfer

        return transfer.export(self, self._store, name, file, report, cancelled, force=force)

    def import_(
        self,
        file: str | BinaryIO,
        name: str,
        report: Report,
        cancelled: Asked,
        *,
        size: int | None = None,
        trusted: bool = False,
    ) -> Moved:
        """Make a container of such an archive; see transfer.import_."""
        from nspawn.service import transfer

        moved = transfer.import_(self._store, file, name, report, cancelled, size=size, trusted=trusted)
        self._tell("changed", moved.name)
        return moved

    def list(self) -> Sequence[Container]:
        """All containers by name, damaged ones too."""
        live, network = self._live(), netknown.load(self.layout)
        found = []
        for name in self._store.names():
            try:
                found.append(self._describe(name, live, network))
            except NotFound:
                continue  # removed meanwhile
        return found

    def get(self, name: str) -> Container:
        """One container; NotFound."""
        with self._store.open(name):
            pass
        return self._describe(name, self._live(), netknown.load(self.layout))

    def start(self, name: str, *, noted: bool = False) -> Container:
        """Start it, and the spawner when there is none; returns when its command runs, or raises why not.

        noted: have the crash guard note it in any case.
        """
        with self._store.locked(name) as at:
            loaded = store.load(at, name)
            if loaded.damaged and not loaded.usable:
                raise loaded.damaged
            rootfs = loaded.settings.rootfs or self.layout.rootfs(name)
            if not os.path.isdir(rootfs):
                raise NotFound(f"{name} cannot start", f"its root file system {rootfs} is not there")
            daemon.ensure(self.layout, self._client)
            fields = start_fields(loaded.settings, name, rootfs)
            fields += phone_fields(loaded.settings, self.layout)
            warnings: list[str] = []
            if loaded.settings.network.mode == "nat":
                fields += slots.start_fields(self.layout, self._client, name, loaded.settings)
                warnings = slots.warnings(self.layout, name, loaded.settings.network)
            self._client.call("start", [*fields, ("noted", int(noted))])
            if loaded.damaged is None:
                store.confirm(at)
        found = self.get(name)
        told = replace(found.state, warnings=(*found.state.warnings, *warnings))
        return replace(found, state=told) if warnings else found

    def stop(self, name: str, seconds: float | None = None) -> Container:
        """End it in order, by force after `seconds` (default: its setting); Conflict when it does not run."""
        fields: Fields = [("name", name)]
        if seconds is not None:
            fields.append(("time", float(seconds)))
        self._running(name, "stop", fields)
        return self.get(name)

    def kill(self, name: str, signal: str = "SIGKILL") -> Container:
        """Send a signal to its first process; SIGKILL ends everything in it."""
        try:
            number = kinds.signal_number(signal)
        except kinds.Expected as error:
            raise UsageError(f"{signal[:40]!r} is no signal", f"expected {error}") from None
        self._running(name, "kill", [("name", name), ("signal", number)])
        return self.get(name)

    def freeze(self, name: str) -> Container:
        """Take the processor from everything in it until it is thawed, or ended."""
        self._running(name, "freeze", [("name", name)])
        return self.get(name)

    def thaw(self, name: str) -> Container:
        """Let it go on, also against the power rules, until they have no reason any more."""
        self._running(name, "thaw", [("name", name)])
        return self.get(name)

    def restart(self, name: str, seconds: float | None = None) -> Container:
        """Stop it, if it runs, and start it."""
        if self.get(name).state.active:
            self.stop(name, seconds)
        return self.start(name)

    def update(self, name: str, changes: Mapping[str, str]) -> Container:
        """Change settings by dotted keys, as `nspawn set`; they count from the next start on."""
        with self._store.locked(name) as at:
            loaded = store.load(at, name)
            if loaded.damaged and not loaded.usable:
                raise loaded.damaged
            changed = settings.apply(loaded.settings, changes)
            if changed.rootfs != loaded.settings.rootfs:
                changed = self._with_rootfs(changed, loaded.settings)
            if changed.network != loaded.settings.network:
                with slots.claimed(self._store, name, changed):
                    store.save(at, changed)
            elif changed != loaded.settings or loaded.damaged:
                store.save(at, changed)
        self._tell("changed", name)
        return self.get(name)

    def _with_rootfs(self, changed: Settings, before: Settings) -> Settings:
        if not before.rootfs or not changed.rootfs:
            raise UsageError(
                "rootfs: only a container that was made with --rootfs has one to set",
                hint="Make another container with --rootfs.",
            )
        path = check_folder(self.layout, changed.rootfs)
        return settings.apply(changed, {"rootfs": path})

    def rename(self, old: str, new: str) -> Container:
        """Give a stopped container another name; others that start after it follow."""
        parse_container_name(new)
        with self._store.locked(old):
            if self._store.has(new):
                raise Conflict(f"there is a container {new!r} already")
            self._must_be_stopped(old)
            try:
                with files.folder(self.layout.containers) as at:
                    os.rename(old, new, src_dir_fd=at, dst_dir_fd=at)
                    os.fsync(at)
            except OSError as error:
                raise files.system_error(f"{old} was not renamed", error) from None
            slots.rename(self.layout, old, new)
        for name in self._store.names():
            self._follow_rename(name, old, new)
        self._tell("changed", new)
        return self.get(new)

    def _follow_rename(self, name: str, old: str, new: str) -> None:
        loaded = self._store.load(name)
        if old in loaded.settings.autostart.after and loaded.damaged is None:
            after = [new if other == old else other for other in loaded.settings.autostart.after]
            self._store.save(name, settings.apply(loaded.settings, {"autostart.after": ",".join(after)}))

    def remove(self, name: str) -> None:
        """Remove a stopped container and its files; a rootfs of the user's is only forgotten.

        Raises Conflict while it runs or while anything is mounted below its folder.
        """
        with self._store.locked(name):
            self._must_be_stopped(name)
            remove(self._store, name)
            slots.release(self.layout, name)

    def log(self, name: str, limit: int) -> bytes:
        """The last `limit` bytes of its console."""
        return console.history(self._store, name, limit)

    def follow(self, name: str, limit: int = console.HISTORY) -> console.Follow:
        """Its console's history and then its output, as a context; NotFound."""
        with self._store.open(name):
            pass
        return console.Follow(self._store, self._client, name, limit)

    def _must_be_stopped(self, name: str) -> None:
        """Also forgets it in the spawner, in the same step, so that nothing starts it meanwhile."""
        try:
            self._client.call("forget", [("name", name)])
        except NotRunning:
            if self._saved(name).active:
                raise Conflict(f"{name} is running", hint=f"Stop it first: nspawn stop {name}.") from None

    def _running(self, name: str, operation: str, fields: Fields) -> Record:
        """Ask for something that only a running container can do."""
        hint = "" if operation in ("stop", "kill") else f"Start it: nspawn start {name}"
        with self._store.open(name):
            pass
        try:
            return self._client.call(operation, fields)
        except NotRunning:
            if not self._saved(name).active:
                raise Conflict(f"{name} is not running", hint=hint) from None
        except NotFound:
            raise Conflict(f"{name} is not running", hint=hint) from None
        daemon.ensure(self.layout, self._client)  # it takes over what still runs
        return self._client.call(operation, fields)

    def _tell(self, operation: str, name: str) -> None:
        try:
            self._client.call(operation, [("name", name)])
        except NotRunning:
            pass  # nobody to tell

    def _live(self) -> Mapping[str, Record] | None:
        """What the spawner knows, by name; None without a spawner."""
        try:
            return {record.text("name"): record for record in self._client.call_many("list")}
        except NotRunning:
            return None

    def _describe(self, name: str, live: Mapping[str, Record] | None, network: netknown.Known) -> Container:
        loaded = self._store.load(name)
        if live is None:
            found = self._saved(name)
        elif name in live:
            found = parse_state(live[name])
        else:
            found = State()
        rootfs = loaded.settings.rootfs or self.layout.rootfs(name)
        return Container(
            name=name,
            settings=loaded.settings,
            state=found,
            rootfs=rootfs,
            written=loaded.written,
            damaged=loaded.damaged,
            usable=loaded.usable,
            network=network.describe(name, loaded.settings),
        )

    def _saved(self, name: str) -> State:
        """The state without a spawner: what the last one wrote, as far as it still holds."""
        try:
            record = states.read(self.layout, name)
        except Damaged:
            record = None
        if record is None:
            return State(supervised=False)
        found = parse_state(record, supervised=False)
        alive = (
            found.pid is not None
            and record.text("boot-id") == process.boot_id()
            and process.start_time(found.pid) == record.integer("start-time")
        )
        if alive:
            return found
        return State(exit=found.exit if not found.active else "unknown", supervised=False, turn=found.turn)
