"""Requests of the control socket: what each operation does, and what it answers."""

from __future__ import annotations

import os

from nspawn import __version__
from nspawn.container.console import log_files
from nspawn.errors import Conflict, NspawnError, UsageError
from nspawn.kernel import process, unix
from nspawn.model import commandline
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from nspawn.container.peer import Peer
else:
    import _signal


def _ping(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    answer = Record(
        (
            ("ok", 1),
            ("pid", os.getpid()),
            ("keeper", peer.spawner.keeper_pid),
            ("version", __version__),
            ("web", peer.spawner.web.pid),
            ("boot-id", peer.spawner.boot_id),
        )
    )
    for text in peer.spawner.refused:
        answer.add("refused", text)
    for name in peer.spawner.host.refused:
        answer.add("lacks", name)
    peer.reply(answer)


def _list(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    instances, waits = peer.spawner.instances, peer.spawner.errand.waits
    for name in sorted({*instances, *waits}):
        known = instances.get(name)
        record = Record((("name", name), ("state", "stopped"))) if known is None else known.report()
        record.add("waits", waits.get(name, ""))
        peer.reply(record)
    peer.reply(Record((("done", 1),)))


def _start(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    def started(error: NspawnError | None) -> None:
        peer.reply(error_record(error) if error else Record((("ok", 1), *instance.report().fields)))

    instance = peer.spawner.start(record)
    instance.launch.on_start.append(started)


def _stop(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    name = record.text("name")
    known = peer.spawner.instances.get(name)
    # One that was started by hand is in `waits` until the boot program has looked.
    if name in peer.spawner.errand.waits and (known is None or known.state == "stopped"):
        peer.reply(Record((("ok", 1), *peer.spawner.give_up(name).report().fields)))
        return
    instance = peer.spawner.find(name)
    if instance.state == "stopped":
        raise Conflict(f"{instance.name} is not running")
    instance.on_end.append(lambda: peer.reply(Record((("ok", 1), *instance.report().fields))))
    instance.stop(record.number("time") if record.get("time") is not None else None)


def _kill(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    instance = peer.spawner.find(record.text("name"))
    number = record.integer("signal", _signal.SIGKILL)
    if number != _signal.SIGKILL:
        instance.signal(number)
        peer.reply(Record((("ok", 1),)))
        return
    if instance.state == "stopped":
        raise Conflict(f"{instance.name} is not running", hint=f"Start it: nspawn start {instance.name}.")
    instance.on_end.append(lambda: peer.reply(Record((("ok", 1), *instance.report().fields))))
    if instance.state == "backoff":
        instance.stop(0.0)
    else:
        instance.kill_now()


def _watch(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    peer.watching = True
    peer.spawner.pool.expect()  # the page, most often: somebody looks, and may press start
    peer.reply(Record((("ok", 1),)))


def _changed(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    peer.spawner.publish(Record((("event", "changed"), ("name", record.text("name")))))
    if peer.spawner.errand.waits:
        peer.spawner.errand.soon()  # it may be about when something starts
    peer.reply(Record((("ok", 1),)))


def _guard(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    peer.spawner.guard_changed()
    peer.reply(Record((("ok", 1),)))


def _forget(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    name = record.text("name")
    instance = peer.spawner.instances.get(name)
    if instance is not None and instance.state != "stopped":
        raise Conflict(f"{name} is {instance.state}", hint=f"Stop it first: nspawn stop {name}.")
    peer.spawner.instances.pop(name, None)
    peer.spawner.errand.give_up(name)
    peer.spawner.probation.forget(name)
    peer.spawner.publish(Record((("event", "removed"), ("name", name))))
    peer.reply(Record((("ok", 1),)))


def _wake(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    """What the boot program waits for."""
    peer.spawner.errand.wake(record)
    peer.reply(Record((("ok", 1),)))


def _freeze(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    instance = peer.spawner.find(record.text("name"))
    instance.extras.freeze("by hand")
    peer.reply(Record((("ok", 1), *instance.report().fields)))


def _thaw(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    instance = peer.spawner.find(record.text("name"))
    instance.extras.thaw(by_hand=True)
    peer.reply(Record((("ok", 1), *instance.report().fields)))


def _storage(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    """The phone's storage was mounted into a running container, or could not be."""
    instance = peer.spawner.find(record.text("name"))
    if instance.pid == record.integer("pid"):  # else it was started again meanwhile
        instance.extras.storage_came(record.text("source"), record.text("why-not"))
    peer.reply(Record((("ok", 1),)))


def _boot(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    """Have the boot program run."""
    peer.spawner.errand.run()
    peer.reply(Record((("ok", 1),)))


def _net(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    from nspawn.container import netrequests  # most never ask

    if record.text("verb") == "hold":
        pid, _uid = unix.peer(peer.end)
        if not peer.spawner.sees_the_same(pid):
            peer.reply(Record((("elsewhere", 1),)))
            return
        peer.holding = True
    netrequests.answer(peer.spawner.networking(), peer, record, peer.reply)


def _shutdown(peer: Peer, _record: Record, _descriptors: list[int]) -> None:
    peer.reply(Record((("ok", 1),)))
    peer.spawner.shutdown()


def _run(peer: Peer, record: Record, descriptors: list[int]) -> None:
    """A foreground run: its end is answered with exit=STATUS, and our end is its end."""
    pid, _uid = unix.peer(peer.end)
    if not peer.spawner.sees_the_same(pid):
        peer.reply(Record((("elsewhere", 1),)))  # it sees other files than we do
        return
    if len(descriptors) != 3 or peer.run is not None or peer.waiting is not None or peer.spawner.ending:
        raise UsageError("a run needs three descriptors, and a connection of its own")
    words = [word.decode("utf-8", "surrogateescape") for word in record.all("word")]
    network = record.text("network", "host")
    if commandline.may_use_network(words):
        spec = commandline.parse(words, "", mini=record.flag("mini"))
        network = spec.network
        if spec.wish is not None:
            from nspawn.container.netrun import NetRun

            peer.spawner.host.check(network, boot=False)
            peer.waiting = NetRun(peer, record, descriptors, spec)
            peer.waiting.begin()
            return
    peer.spawner.host.check(network, boot=record.flag("boot"))
    peer.tell_cell(peer.take_cell(network), record, descriptors)


def _pass_signal(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    """A signal that the caller of a foreground run got."""
    if peer.run is None:
        return
    number = record.integer("number", _signal.SIGTERM)
    if process.handling(peer.run.pid, number) == "catch":
        peer.spawner.signal(peer.run.pid, number)
    else:
        peer.spawner.signal(peer.run.pid, _signal.SIGKILL)


def _attach(peer: Peer, record: Record, _descriptors: list[int]) -> None:
    """Answer with the ring's files as they are now, then send what comes."""
    instance = peer.spawner.find(record.text("name"))
    if instance.console is None:
        raise Conflict(
            f"{instance.name} has no console now",
            f"it is {instance.state}",
            f"Start it: nspawn start {instance.name}.",
        )
    peer.detach()
    logs = log_files(peer.spawner.layout.console_log(instance.name))
    try:
        answer = Record((("ok", 1), ("state", instance.state)))
        for descriptor in logs:
            answer.add("size", os.fstat(descriptor).st_size)
        peer.reply(answer, tuple(logs))
    finally:
        unix.close_all(logs)
    peer.attach(instance, instance.console)


#: By their names.  The descriptors that came with the request are closed when it has been answered.
OPERATIONS: dict[str, Callable[[Peer, Record, list[int]], None]] = {
    "ping": _ping,
    "list": _list,
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "attach": _attach,
    "watch": _watch,
    "changed": _changed,
    "forget": _forget,
    "wake": _wake,
    "boot": _boot,
    "freeze": _freeze,
    "thaw": _thaw,
    "storage": _storage,
    "guard": _guard,
    "net": _net,
    "shutdown": _shutdown,
    "run": _run,
    "signal": _pass_signal,
}
