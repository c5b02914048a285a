"""The spawner: one thread that owns every running container.

It clones (through cells), drains consoles, reaps, applies restart policies, and answers the control
socket.  It imports nothing that a start does not need and decodes no text format.
"""

from __future__ import annotations

import binascii
import gc
import os
import select
import time

from nspawn.container import cell as cells
from nspawn.container import state
from nspawn.container.host import Host
from nspawn.container.instance import Instance
from nspawn.container.loop import Loop
from nspawn.container.peer import Peer
from nspawn.container.webprocess import WebProcess
from nspawn.errors import Conflict, NotFound, NspawnError
from nspawn.kernel import cgroup, libc, process, unix
from nspawn.kernel.cgroup import Group
from nspawn.model.names import is_container_name, parse_container_name
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.cell import Cell
    from nspawn.container.loop import Timer
    from nspawn.layout import Layout
else:
    import _signal

_GROUP_RETRY = 0.02  # seconds between looks at a cgroup whose killed processes are still leaving
_GROUP_TRIES = 250
_QUIET = 0.01  # seconds without a start or a mount before the next cell is made
_COLLECT_EVERY = 64  # starts: what they leave in cycles is about 250 bytes each


def main(layout: Layout, keeper: unix.Socket) -> int:
    """Run until an orderly end; 0 then.  keeper: the channel to our parent."""
    return Spawner(layout, keeper).run()


class Spawner:
    """children: what to do with each of our processes' ends, by PID."""

    def __init__(self, layout: Layout, keeper: unix.Socket) -> None:
        self.layout = layout
        self.loop = Loop()
        self.host = Host(layout, os.environ)
        self.boot_id = process.boot_id()
        self.instances: dict[str, Instance] = {}
        self.children: dict[int, Callable[[int], None]] = {}
        self.peers: set[Peer] = set()
        self.refused: list[str] = []
        self.ending = False
        self._keeper: unix.Socket | None = keeper
        self._spare: Cell | None = None
        self._root_id = f"{binascii.crc32(os.fsencode(layout.root)):08x}"
        self._count = 0
        self._mount_namespace = os.readlink("/proc/self/ns/mnt")
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts_poll = select.poll()
        self._mounts_poll.register(self._mounts, select.POLLPRI)
        self._preparing: Timer | None = None
        self._watch_signals()
        kept, notes, exits = self._take_over(keeper)
        control = kept.pop("control")
        self.control = unix.Socket(fileno=control)
        self.loop.add(control, self._accept)
        listeners = {key: kept.pop(key) for key in list(kept) if key.startswith("listen:")}
        self.web = WebProcess(self, list(listeners.values()))
        self._adopt(kept, notes, exits)
        self.loop.add(keeper.fileno(), self._keeper_ready)
        self.loop.add(self._mounts, self._mounts_changed, select.EPOLLPRI)
        self._prepare_soon()

    def log(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            os.write(2, f"{stamp} {text}\n".encode("utf-8", "replace"))
        except OSError:
            pass

    def run(self) -> int:
        gc.collect()
        gc.freeze()
        gc.disable()  # what the loop makes is freed by counting; a collection would unshare pages with cells
        self.log(f"spawner {os.getpid()} is ready for {self.layout.root}")
        self.loop.run()
        self._drop_spare()
        self.web.stop()
        for peer in list(self.peers):
            peer.close()
        cgroup.remove_parent(self.host.hierarchy)
        try:
            os.unlink(self.layout.control_socket)
        except FileNotFoundError:
            pass
        return 0

    # Our own processes

    def _watch_signals(self) -> None:
        wake, ours = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(ours, False)
        for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, lambda _number, _frame: None)
        _signal.set_wakeup_fd(ours)
        self._wake = wake
        self.loop.add(wake, self._signalled)

    def _signalled(self, _events: int) -> None:
        try:
            numbers = os.read(self._wake, 256)
        except BlockingIOError:
            return
        if any(number != _signal.SIGCHLD for number in numbers):
            self.shutdown()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        call = self.children.pop(pid, None)
        if call is not None:
            call(status)

    def is_alive(self, pid: int) -> bool:
        """Whether this process of ours has not been reaped."""
        return pid in self.children

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the first process of a container; one that is gone needs none."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def sees_the_same(self, pid: int) -> bool:
        """Whether a process sees the files that we see, so that its paths mean the same."""
        try:
            same = os.readlink(f"/proc/{pid}/ns/mnt") == self._mount_namespace
            return same and os.readlink(f"/proc/{pid}/root") == "/"
        except OSError:
            return False

    # Cells

    def take_cell(self, network: str) -> Cell:
        """A cell for this network: the one that is ready if it fits, else one made now."""
        self._prepare_soon()
        if self._mounts_poll.poll(0):
            self._drop_spare()
        spare = self._spare
        if spare is None or spare.network != network:
            return self._own(self._make_cell(network))
        self._spare = None
        return self._own(spare)

    def _mounts_changed(self, _events: int) -> None:
        """A cell's mount namespace is a copy: what was mounted on the host since is missing in it."""
        self._drop_spare()
        self._prepare_soon()

    def _prepare_soon(self) -> None:
        """Once it is quiet: a clone while another container starts would take its processor time."""
        if self._preparing is not None:
            self._preparing.cancel()
        self._preparing = self.loop.after(_QUIET, self._prepare)

    def _own(self, cell: Cell) -> Cell:
        """Ours to follow from here on: whoever takes it sets what happens at its end."""
        self.children.setdefault(cell.pid, lambda _status: None)
        return cell

    def _make_cell(self, network: str) -> Cell:
        self._count += 1
        name = f"{self._root_id}.{os.getpid()}.{self._count}"
        return cells.make(self.host, network, name=name, memory=True)

    def _prepare(self) -> None:
        """Have a cell ready for the next start."""
        if self._spare is not None or self.ending:
            return
        if self._count % _COLLECT_EVERY == 0:
            gc.collect()
        try:
            cell = self._make_cell("host")
        except (OSError, NspawnError) as error:
            self.log(f"no cell could be prepared: {error}")
            return
        self._spare = cell
        self.children[cell.pid] = lambda _status: self._spare_died(cell)

    def _spare_died(self, cell: Cell) -> None:
        """Killed by somebody: the next start makes its own."""
        cell.channel.close()
        self.end_group(cell.group)
        if self._spare is cell:
            self._spare = None

    def _drop_spare(self) -> None:
        cell, self._spare = self._spare, None
        if cell is None:
            return
        self.children.pop(cell.pid, None)
        os.kill(cell.pid, _signal.SIGKILL)
        os.waitpid(cell.pid, 0)
        cell.channel.close()
        self.end_group(cell.group)

    def end_group(self, group: Group, tries: int = _GROUP_TRIES) -> None:
        """Kill what is left in the group and remove it, without waiting here."""
        if group.remove():
            return
        if tries == _GROUP_TRIES:
            group.kill()
        if tries and not group.remove():
            if self.ending:
                group.end()
            else:
                self.loop.after(_GROUP_RETRY, lambda: self.end_group(group, tries - 1))

    # The keeper

    def _take_over(self, keeper: unix.Socket) -> tuple[dict[str, int], dict[str, Record], dict[int, int]]:
        """What the keeper holds: descriptors by key, states by name, wait statuses of the ended by PID."""
        kept: dict[str, int] = {}
        notes: dict[str, Record] = {}
        exits: dict[int, int] = {}
        while True:
            data, descriptors = unix.receive(keeper)
            record = Record.decode(data)
            if not data or record.flag("ready"):
                return kept, notes, exits
            if record.get("kept") is not None:
                kept[record.text("kept")] = descriptors[0]
            elif record.get("note") is not None:
                notes[record.text("note").removeprefix("note:")] = Record(record.fields[1:])
            elif record.get("refused") is not None:
                self.refused.append(record.text("refused"))
                self.log(record.text("refused"))
            else:
                exits[record.integer("pid")] = record.integer("status")

    def keep(self, key: str, descriptor: int) -> None:
        """Have the keeper hold a copy."""
        self._tell_keeper(Record((("keep", key),)), (descriptor,))

    def note(self, name: str, record: Record) -> None:
        """Have the keeper hold the state of a running container: it outlives a damaged file."""
        self._tell_keeper(Record((("note", f"note:{name}"), *record.fields)), ())

    def drop(self, key: str) -> None:
        self._tell_keeper(Record((("drop", key),)), ())

    def _tell_keeper(self, record: Record, descriptors: tuple[int, ...]) -> None:
        if self._keeper is not None:
            try:
                unix.send(self._keeper, record.encode(), descriptors)
            except OSError:
                pass  # its end is noticed by _keeper_ready

    def _keeper_ready(self, _events: int) -> None:
        """An adopted container ended, or the keeper did."""
        assert self._keeper is not None
        try:
            data, _none = unix.receive(self._keeper)
        except OSError:
            data = b""
        if not data:
            self.log("the keeper is gone: containers will not survive the next end of this spawner whole")
            self.loop.remove(self._keeper.fileno())
            self._keeper.close()
            self._keeper = None
            return
        record = Record.decode(data)
        self._ended(record.integer("pid"), record.integer("status"))

    # Adoption

    @property
    def keeper_pid(self) -> int:
        """0 when it is gone."""
        return os.getppid() if self._keeper is not None else 0

    def _adopt(self, kept: dict[str, int], notes: dict[str, Record], exits: dict[int, int]) -> None:
        """Take over what a spawner before us started, and sweep what belongs to nobody."""
        used = set()
        for name in sorted(os.listdir(self.layout.containers)):
            if not is_container_name(name):
                continue
            try:
                record = notes.get(name) or state.read(self.layout, name)
                if record is None:
                    continue
                instance = Instance.load(self, record, name)
            except NspawnError as error:
                self.log(error.render())
                continue
            self.instances[name] = instance
            if instance.state not in state.ACTIVE:
                continue
            group = record.text("group")
            if record.text("boot-id") != self.boot_id:
                instance.pid = 0
                instance.state, instance.exit = "stopped", "the machine went down while it ran"
                instance.save()
            elif instance.pid and process.start_time(instance.pid) == instance.start_time:
                used.add(group)
                self._adopt_running(instance, group, kept.pop(f"console:{name}", -1))
            else:
                self._adopt_ended(instance, group, exits.get(instance.pid))
        for key, descriptor in kept.items():
            os.close(descriptor)
            self.drop(key)
        for group in cgroup.leftovers(self.host.hierarchy):
            if group.startswith(self._root_id) and group not in used:
                self._sweep(Group(self.host.hierarchy, group))

    def _sweep(self, group: Group, tries: int = _GROUP_TRIES) -> None:
        """Remove a group that nobody knows once it is empty: what lives in it may be somebody's container."""
        if group.remove():
            return
        if tries:
            self.loop.after(_GROUP_RETRY, lambda: self._sweep(group, tries - 1))
        else:
            self.log(
                f"left alone: processes {group.processes()} in {group.folders[0]}, of no known container"
            )

    def _adopt_running(self, instance: Instance, group: str, master: int) -> None:
        instance.adopt(self.host.hierarchy, group, master)
        self.children[instance.pid] = instance.ended
        if self._parent_of(instance.pid) != os.getppid():
            # Not even the keeper is the same: the end will be seen, but not its status.
            self._watch_stranger(instance)
        self.log(f"{instance.name}: process {instance.pid} is adopted")

    def _adopt_ended(self, instance: Instance, group: str, status: int | None) -> None:
        was = instance.state
        if group:
            instance.group = Group(self.host.hierarchy, group)
        if was == "backoff":
            instance.group = None
            instance.ended_between()
        else:
            instance.state = "stopping" if was == "stopping" else "running"
            self.loop.when_idle(lambda: instance.ended(status))

    def _parent_of(self, pid: int) -> int:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return 0

    def _watch_stranger(self, instance: Instance) -> None:
        try:
            pidfd = libc.pidfd_open(instance.pid)
        except OSError as error:
            self.log(f"{instance.name}: its end will be noticed late (pidfd_open: {error.strerror})")
            return

        def gone(_events: int) -> None:
            self.loop.remove(pidfd)
            os.close(pidfd)
            self.children.pop(instance.pid, None)
            instance.ended(None)

        self.loop.add(pidfd, gone)

    # Requests

    def _accept(self, _events: int) -> None:
        try:
            end = unix.accept(self.control)
        except OSError:
            return
        _pid, uid = unix.peer(end)
        if uid != 0:
            end.close()
            return
        Peer(self, end)

    def publish(self, record: Record) -> None:
        """Send an event to everyone who watches."""
        for peer in list(self.peers):
            if peer.watching:
                peer.reply(record)

    def find(self, name: str) -> Instance:
        """The container, which has been started at least once; NotFound otherwise."""
        instance = self.instances.get(parse_container_name(name))
        if instance is None:
            raise NotFound(f"{name} is not running", hint=f"Start it: nspawn start {name}.")
        return instance

    def start(self, request: Record) -> Instance:
        """Begin to start a named container."""
        if self.ending:
            raise Conflict("the spawner is ending", hint="Start it again: nspawn serve.")
        name = parse_container_name(request.text("name"))
        instance = self.instances.get(name) or Instance(self, name)
        instance.start(request)
        self.instances[name] = instance
        return instance

    def shutdown(self) -> None:
        """Stop every container in order and end; a second call does not wait for them."""
        running = [i for i in self.instances.values() if i.state in state.ACTIVE]
        for peer in list(self.peers):
            peer.end_run()
        for instance in running:
            if self.ending and instance.state != "backoff":
                instance.kill_now()
            else:
                instance.on_end.append(self._end_if_empty)
                instance.stop(None)
        self.ending = True
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if all(i.state == "stopped" for i in self.instances.values()):
            self.loop.stop()
