"""What a new spawner does with the containers of the one before it.

While the keeper lives it holds their consoles and states and hears of their ends.  Without it they are found
by the saved states: boot id, PID and start time tell the same process from another.
"""

from __future__ import annotations

import os
import time

from nspawn.container import state
from nspawn.container.console import Console
from nspawn.container.instance import STOP_SECONDS, Instance
from nspawn.errors import NspawnError
from nspawn.kernel import cgroup, libc, process
from nspawn.kernel.cgroup import Group
from nspawn.model.names import is_container_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner
    from nspawn.model.record import Record

_SWEEP_EVERY = 0.02
_SWEEP_TIMES = 250
_LOOK_EVERY = 5.0  # seconds


def adopt(spawner: Spawner, kept: dict[str, int], notes: dict[str, Record], exits: dict[int, int]) -> None:
    """Take over what runs, end what ended, and sweep what belongs to nobody.

    kept: descriptors of the keeper by key; notes: its states by name; exits: wait statuses by PID.
    """
    used = set()
    for name in sorted(os.listdir(spawner.layout.containers)):
        if not is_container_name(name):
            continue
        try:
            record = notes.get(name) or state.read(spawner.layout, name)
            if record is None:
                continue
            instance = Instance.load(spawner, record, name)
        except NspawnError as error:
            spawner.log(error.render())
            continue
        spawner.instances[name] = instance
        if instance.state in state.ACTIVE:
            if record.text("boot-id") == spawner.boot_id:
                used.add(record.text("group"))
            _decide(spawner, instance, record, kept.pop(f"console:{name}", -1), exits.get(instance.pid))
    for key, descriptor in kept.items():
        os.close(descriptor)
        spawner.drop(key)
    for group in cgroup.leftovers(spawner.host.hierarchy):
        if group.startswith(spawner.pool.prefix) and group not in used:
            _sweep(spawner, Group(spawner.host.hierarchy, group), _SWEEP_TIMES)


def _decide(spawner: Spawner, instance: Instance, record: Record, console: int, status: int | None) -> None:
    """What becomes of a container that was active; console: its PTY's master, or -1."""
    group = record.text("group")
    same_boot = record.text("boot-id") == spawner.boot_id
    if same_boot and instance.pid and process.start_time(instance.pid) == instance.start_time:
        _go_on(spawner, instance, group, console)
        return
    if console >= 0:
        os.close(console)
        spawner.drop(f"console:{instance.name}")
    if not same_boot:
        instance.machine_went_down()
    elif instance.state == "backoff":
        instance.wait_on()
    else:
        instance.group = Group(spawner.host.hierarchy, group) if group else None
        _end_later(spawner, instance, status)


def _go_on(spawner: Spawner, instance: Instance, group: str, master: int) -> None:
    """Take over a container that runs."""
    instance.adopted = True
    instance.began = time.monotonic()
    instance.group = Group(spawner.host.hierarchy, group)
    if master >= 0:
        try:
            path = spawner.layout.console_log(instance.name)
            instance.console = Console.adopt(spawner.loop, path, master)
        except OSError as error:
            spawner.log(f"{instance.name}: its console is lost: {error}")
            os.close(master)
    if instance.request.text("network") == "nat":
        try:
            instance.attachment = spawner.networking().attach(instance.request)
            instance.attachment.adopt()
        except NspawnError as error:
            spawner.log(f"{instance.name}: its place in the network is not known: {error}")
    if instance.state == "starting":
        instance.state = "running"
    if instance.state == "stopping":
        instance.timer = spawner.loop.after(STOP_SECONDS, instance.kill_now)
    instance.save()
    spawner.children[instance.pid] = instance.ended
    if _parent_of(instance.pid) != os.getppid():
        # Not even the keeper is the same: the end will be seen, but not its status.
        watch_stranger(spawner, instance)
    spawner.log(f"{instance.name}: process {instance.pid} is adopted")


def _end_later(spawner: Spawner, instance: Instance, status: int | None) -> None:
    if instance.state != "stopping":
        instance.state = "running"
    spawner.loop.after(0, lambda: instance.ended(status))


def _sweep(spawner: Spawner, group: Group, tries: int) -> None:
    """Remove a group that nobody knows once it is empty: what lives in it may be somebody's container."""
    if group.remove():
        return
    if tries:
        spawner.loop.after(_SWEEP_EVERY, lambda: _sweep(spawner, group, tries - 1))
    else:
        spawner.log(f"left alone: processes {group.processes()} in {group.folders[0]}, of no known container")


def _parent_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def watch_stranger(spawner: Spawner, instance: Instance) -> None:
    """Notice the end of a container whose parent is neither we nor a keeper that talks to us."""
    pid = instance.pid

    def gone() -> None:
        if spawner.children.pop(pid, None) is not None:
            instance.ended(None)

    def look() -> None:
        """Before Linux 5.3 nothing tells: the one place that looks again and again."""
        if process.start_time(pid) == instance.start_time:
            spawner.loop.after(_LOOK_EVERY, look)
        else:
            gone()

    try:
        pidfd = libc.pidfd_open(pid)
    except ProcessLookupError:
        spawner.loop.after(0, gone)
        return
    except OSError as error:
        spawner.log(f"{instance.name}: its end will be noticed late (pidfd_open: {error.strerror})")
        spawner.loop.after(_LOOK_EVERY, look)
        return

    def readable(_events: int) -> None:
        spawner.loop.remove(pidfd)
        os.close(pidfd)
        gone()

    spawner.loop.add(pidfd, readable)


def take_network_over(spawner: Spawner) -> None:
    """Of the containers' network that a spawner before us has made.

    It is taken down, unless a container needs it or somebody said that it stays.
    """
    try:
        with open(spawner.layout.network_state, "rb") as file:
            fields = file.read(1 << 20).split(b"\0")
    except OSError:
        return
    by_hand = b"by-hand=1" in fields
    if f"boot-id={spawner.boot_id}".encode() in fields and (by_hand or spawner.network is None):
        spawner.networking().inherit(by_hand=by_hand)
