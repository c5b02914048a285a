"""The spawner: one thread that owns every running container.

It clones (through cells), drains consoles, reaps, applies restart policies, and answers the control
socket.  It imports nothing that a start does not need and decodes no text format.
"""

from __future__ import annotations

import gc
import os
import resource  # noqa: F401 - Host's; an import after the fork would copy a third of a megabyte

from nspawn.container import adoption, state
from nspawn.container.errand import Errand
from nspawn.container.host import Host
from nspawn.container.instance import Instance
from nspawn.container.keeper import log
from nspawn.container.loop import Loop
from nspawn.container.peer import Peer
from nspawn.container.pool import Pool
from nspawn.container.probation import Probation
from nspawn.container.rest import Rest
from nspawn.container.upkeep import Upkeep
from nspawn.container.webprocess import WebProcess
from nspawn.errors import Conflict, NotFound
from nspawn.kernel import cgroup, process, unix
from nspawn.kernel.cgroup import Group
from nspawn.model.names import parse_container_name
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.network import Network
    from nspawn.layout import Layout
else:
    import _signal

_GROUP_RETRY = 0.02  # seconds between looks at a cgroup whose killed processes are still leaving
_GROUP_TRIES = 250
_ACCEPT_AGAIN = 0.5  # seconds


def main(layout: Layout, keeper: unix.Socket, *, boot: bool = False) -> int:
    """Run until an orderly end; 0 then.  keeper: the channel to our parent; boot: the machine is starting."""
    return Spawner(layout, keeper, boot=boot).run()


def _network_namespace(pid: int | str) -> str:
    """Which one it is; "" where there is but one."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except FileNotFoundError:
        return ""


class Spawner:
    """children: what to do with each of our processes' ends, by PID."""

    def __init__(self, layout: Layout, keeper: unix.Socket, *, boot: bool = False) -> None:
        self.layout = layout
        self.loop = Loop(self.failed)
        self.probation = Probation(self)
        self.host = Host(layout, os.environ, self.probation.guard.never)
        self.host.raise_descriptor_limit()
        self.boot_id = process.boot_id()
        self.instances: dict[str, Instance] = {}
        self.children: dict[int, Callable[[int], None]] = {}
        self.peers: set[Peer] = set()
        self.refused: list[str] = []
        self.ending = False
        self._leaving = False
        self._keeper: unix.Socket | None = keeper
        self.network: Network | None = None
        self.upkeep = Upkeep(self)
        self.pool = Pool(self)
        self.rest = Rest(self)
        self._mount_namespace = os.readlink("/proc/self/ns/mnt")
        self._wake = process.wake_on(_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)
        self.loop.add(self._wake, self._signalled)
        # Before the boot program reads it: this boot may be the one that makes it the safe mode.
        self.probation.open(boot=boot)
        # Early: it takes longer to begin than we do, and its requests wait in the keeper's socket.
        self.errand = Errand(self)
        self.errand.begin(boot=boot)
        kept, notes, exits = self._take_over(keeper)
        control = kept.pop("control")
        self.control = unix.Socket(fileno=control)
        self.loop.add(control, self._accept)
        listeners = {key: kept.pop(key) for key in list(kept) if key.startswith("listen:")}
        self.web = WebProcess(self, list(listeners.values()))
        adoption.adopt(self, kept, notes, exits)
        adoption.take_network_over(self)
        self.loop.add(keeper.fileno(), self._keeper_ready)
        self.upkeep.open()
        self.pool.expect()

    def log(self, text: str) -> None:
        log(text)

    def failed(self, error: Exception) -> None:
        """A defect in one handler must not take all containers' spawner down."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "?"
        self.log(f"a defect, please report it: {type(error).__name__}: {error} ({where})")

    def run(self) -> int:
        gc.collect()
        gc.freeze()
        gc.disable()  # what the loop makes is freed by counting; a collection would unshare pages with cells
        self.log(f"spawner {os.getpid()} is ready for {self.layout.root}")
        self.loop.run()
        self.pool.drop()
        self.web.stop()
        self.errand.stop()
        self.upkeep.end()
        self.probation.end()
        for peer in list(self.peers):
            peer.close()
        cgroup.remove_parent(self.host.hierarchy)
        try:
            os.unlink(self.layout.control_socket)
        except FileNotFoundError:
            pass
        return 0

    # Our own processes

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
        self.rest.stir()
        call = self.children.pop(pid, None)
        if call is not None:
            call(status)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process; one that is gone needs none."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    def sees_the_same(self, pid: int) -> bool:
        """Whether a process sees the files and the network that we see, so that they mean the same."""
        try:
            same = os.readlink(f"/proc/{pid}/ns/mnt") == self._mount_namespace
            same = same and _network_namespace(pid) == _network_namespace("self")
            return same and os.readlink(f"/proc/{pid}/root") == "/"
        except OSError:
            return False

    # Cgroups

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

    @property
    def keeper_pid(self) -> int:
        """0 when it is gone."""
        return os.getppid() if self._keeper is not None else 0

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
                if record.fields[-1] == ("end", b"1"):
                    notes[record.text("note").removeprefix("note:")] = Record(record.fields[1:-1])
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
        note = Record((("note", f"note:{name}"), *record.fields, ("end", 1)))
        if len(note.encode()) <= unix.LARGEST:
            self._tell_keeper(note, ())
        else:
            self.drop(f"note:{name}")  # the file must do

    def drop(self, key: str) -> None:
        self._tell_keeper(Record((("drop", key),)), ())

    def rest_keeper(self) -> None:
        """It has nothing to do while we have not."""
        self._tell_keeper(Record((("rest", 1),)), ())

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
            for instance in self.instances.values():
                if instance.adopted and instance.pid:
                    adoption.watch_stranger(self, instance)
            return
        record = Record.decode(data)
        self._ended(record.integer("pid"), record.integer("status"))

    # Requests

    def _accept(self, _events: int) -> None:
        try:
            end = unix.accept(self.control)
        except BlockingIOError:
            return
        except OSError as error:
            # No descriptors left: it would be ready, and refused, again and again.
            self.log(f"a connection has to wait: {error}")
            control = self.control.fileno()
            self.loop.remove(control)
            self.loop.after(_ACCEPT_AGAIN, lambda: self.loop.add(control, self._accept))
            return
        _pid, uid = unix.peer(end)
        if uid != 0:
            end.close()
            return
        self.rest.stir()
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
        if instance.can_start:
            self.probation.starting(name, always=request.flag("noted"))
        instance.start(request)
        self.instances[name] = instance
        return instance

    def give_up(self, name: str) -> Instance:
        """Have a container that waits for its autostart wait no more."""
        instance = self.instances.setdefault(parse_container_name(name), Instance(self, name))
        instance.turn = self.boot_id
        instance.save()
        self.errand.give_up(name)
        return instance

    def networking(self) -> Network:
        """The containers' network, from the first that needs it on."""
        if self.network is None:
            from nspawn.container.network import Network  # most starts need none

            self.network = Network(self)
        return self.network

    def guard_changed(self) -> None:
        """A person decided something about the crash guard; containers that were kept back by it start."""
        unblocked = self.probation.read()
        self.pool.drop()
        self.pool.expect()
        self.publish(Record((("event", "guard"),)))
        if unblocked:
            self.errand.run()

    def shutdown(self) -> None:
        """Stop every container in order and end; a second call does not wait for them."""
        if self._leaving:
            self.loop.stop()
            return
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
        self.errand.stop()
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if not all(i.state == "stopped" for i in self.instances.values()):
            return
        if self.network is None:
            self.loop.stop()
        elif not self._leaving:
            self._leaving = True
            self.network.end(self.loop.stop)
