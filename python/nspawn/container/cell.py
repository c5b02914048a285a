"""A cell: a cloned child whose mounts are assembled, waiting to be told what to run.

Every start goes through one.  The spawner keeps one ready ahead of requests; a foreground start makes one
and tells it at once.  The child ends by exec, which closes the channel: silence is success.
"""

from __future__ import annotations

import errno
import os
import select

from nspawn.container import hostname, program, stage
from nspawn.errors import NspawnError
from nspawn.kernel import libc, process, unix, users
from nspawn.kernel.cgroup import Group, Hierarchy
from nspawn.kernel.clone import clone
from nspawn.model import commandline, mounts
from nspawn.model.record import Record, error_record, raise_error
from nspawn.model.runspec import Bind, RunSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

    from nspawn.container.host import Host
else:
    import _signal  # the part of `signal` without enum

_RT_TABLES = "/data/misc/net/rt_tables"


class Cell:
    """The parent's side.  pid; channel: its socket; group: its cgroup; flags: its namespaces.

    told: whether it knows what to run.
    """

    __slots__ = ("channel", "flags", "group", "pid", "told")

    def __init__(self, pid: int, channel: unix.Socket, group: Group, flags: int) -> None:
        self.pid = pid
        self.channel = channel
        self.group = group
        self.flags = flags
        self.told = False

    def suits(self, network: str) -> bool:
        """Whether it can run with this network mode."""
        return (network != "host") == bool(self.flags & libc.CLONE_NEWNET)

    def run(
        self,
        spec: Record,
        descriptors: Sequence[int] = (),
        *,
        terminal: bool = False,
        session: bool = False,
        controlling: bool = False,
        dies_with_parent: bool = False,
        more: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Tell it what to run.

        spec: the fields of a RunSpec, or `word`s of a command line with `cwd` and `term`; the child parses
        them, and errors in them are met by read().
        descriptors: standard input, output and error, or none to keep ours.  terminal: the standard input
        becomes /dev/console.  session: it leads a session of its own; controlling: with the standard input
        as its controlling terminal.  more: of its network (container/attachment.py).
        OSError when the cell is gone.
        """
        # Ours first: the first field of a name is the one that counts.
        data = b"terminal=%d\0session=%d\0controlling=%d\0dies-with-parent=%d\0" % (
            terminal,
            session,
            controlling,
            dies_with_parent,
        )
        for key, value in more:
            data += key.encode() + b"=" + value + b"\0"
        data += spec.encode()
        if len(data) > unix.LARGEST:
            raise NspawnError(
                "the command and its environment are too long",
                f"{len(data)} bytes",
                "Keep them below 160 kB.",
            )
        unix.send(self.channel, data, descriptors)
        self.told = True

    def waits(self) -> bool:
        """Whether the child is there to be told what to run; it may have been killed."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        return not any(events & select.POLLHUP for _descriptor, events in poll.poll(0))

    def read(self, warn: Callable[[str], None]) -> bool:
        """Take one message from it; False at the end, which is exec or death.

        Raises the NspawnError that it met.  BlockingIOError when there is nothing yet (non-blocking).
        """
        try:
            data, _ = unix.receive(self.channel)
        except ConnectionResetError:
            return False
        if not data:
            return False
        record = Record.decode(data)
        warning = record.get("warning")
        if warning is not None:
            warn(record.text("warning"))
        raise_error(record)
        return True


def make(host: Host, network: str, *, name: str, memory: bool) -> Cell:
    """Clone a cell.  name: of its cgroup; memory: count its out-of-memory kills.

    OSError or NspawnError when it cannot be made; nothing remains then.
    """
    flags = host.flags_for(network)
    if network != "host":
        # Before the clone, so that their memory is shared; and later the host's files cannot be read.
        from nspawn.container import resolvconf  # noqa: F401
        from nspawn.kernel import wire  # noqa: F401
    group = Group(host.hierarchy, name)
    ours, theirs = unix.pair()
    try:
        try:
            group.make(memory=memory)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            group.remove()
            group = Group(Hierarchy("", 0), name)  # a cgroup file system that we may not write is none
        try:
            pid, born = clone(_clone_flags(flags), group.descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.ENOSYS):
                raise
            host.narrow()
            flags = host.flags_for(network)
            pid, born = clone(_clone_flags(flags), group.descriptor)
    except BaseException:
        ours.close()
        theirs.close()
        group.remove()
        raise
    if pid == 0:
        ours.close()
        unix.close_others(theirs.fileno())
        _child(host, flags, group, theirs, born=born)
    theirs.close()
    group.close()
    return Cell(pid, ours, group, flags)


def _clone_flags(flags: int) -> int:
    """The cgroup namespace is left to the child: its root is the group one is in when it is made."""
    return flags & ~libc.CLONE_NEWCGROUP


def _child(host: Host, flags: int, group: Group, channel: unix.Socket, *, born: bool) -> NoReturn:
    """Never returns: ends by exec or _exit."""
    failure: NspawnError | None = None
    try:
        _signal.set_wakeup_fd(-1)  # our parent's, closed by now
        for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_DFL)
        _become_container(host, flags, group, channel, born=born)
    except NspawnError as error:
        failure = error
    except OSError as error:
        failure = NspawnError("the container could not be started", str(error))
    except BaseException as error:  # noqa: BLE001 - a defect: still told to the parent, never run past this point
        failure = NspawnError("the container could not be started", f"{type(error).__name__}: {error}")
    finally:
        try:
            if failure is not None:
                unix.send(channel, error_record(failure).encode())
        finally:
            os._exit(failure.status if failure else 1)
    raise AssertionError


def _become_container(host: Host, flags: int, group: Group, channel: unix.Socket, *, born: bool) -> None:
    def warn(text: str) -> None:
        unix.send(channel, Record((("warning", text),)).encode())

    group.enter(tracked=born)
    process.be_killable()
    host.lower_descriptor_limit()
    if host.refused:
        warn(f"skipped: namespaces that the kernel shows and refuses: {', '.join(host.refused)}")
    if flags & libc.CLONE_NEWCGROUP:
        try:
            libc.unshare(libc.CLONE_NEWCGROUP)
        except OSError as error:
            warn(f"skipped: a cgroup namespace ({error.strerror})")
    os.umask(0)
    stage.assemble(host.stage, host.plan(flags), warn)
    if flags & libc.CLONE_NEWNET:
        from nspawn.kernel import wire

        wire.loopback_up()
    os.umask(0o022)
    data, descriptors = unix.receive(channel)
    if not data:
        os._exit(0)  # nobody wants the cell any more
    record = Record.decode(data)
    spec = _spec(record, android=host.android)
    dies_with = channel.fileno() if record.flag("dies-with-parent") else -1
    if dies_with >= 0:
        program.die_with_parent(dies_with)
    # By its path: a descriptor from outside belongs to a mount of another namespace, which cannot be bound.
    rootfs = stage.open_rootfs(spec.rootfs)
    stage.refuse_own_root(rootfs)
    terminal = record.flag("terminal")
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    if record.flag("session"):
        os.setsid()
        if record.flag("controlling"):
            program.take_terminal()
    _enter(host, flags, spec, record, rootfs, terminal=terminal, warn=warn)
    if spec.network == "nat":
        _join_network(record, warn)
    user = users.find(spec.user)
    program.become(spec, user, dies_with=dies_with)


def _spec(record: Record, *, android: bool) -> RunSpec:
    """The spec that a record holds: its fields, or the words of a command line and the folder they mean."""
    words = record.all("word")
    if not words:
        return RunSpec.from_record(record)
    spec = commandline.parse(
        [word.decode("utf-8", "surrogateescape") for word in words],
        record.text("term"),
        mini=record.flag("mini"),
    )
    program.locate(spec, record.text("cwd", "/"), android=android)
    return spec


def _enter(
    host: Host,
    flags: int,
    spec: RunSpec,
    record: Record,
    rootfs: int,
    *,
    terminal: bool,
    warn: Callable[[str], None],
) -> None:
    """From the stage to the container's root, everything mounted.  record: what the cell was told."""
    binds = list(spec.binds)
    if host.android:
        binds[:0] = android_binds(spec.network)
        if spec.network == "host":
            stage.apply(mounts.pings("/proc"), warn)  # Android lets nobody but its own groups
    if terminal:
        try:
            binds.append(Bind(os.ttyname(0), "/dev/console"))
        except OSError as error:  # of another devpts than is mounted here
            warn(f"skipped: the terminal as /dev/console ({error.strerror})")
    root = _mount_root(host, rootfs, spec, warn)
    os.close(rootfs)
    stage.move_in(host.stage, root)
    stage.bind_all(host.stage, root, binds, warn)
    stage.leave_host(root)
    if flags & libc.CLONE_NEWUTS:
        libc.sethostname(spec.hostname)  # without a namespace of its own it would be the host's
    if not spec.read_only:
        hostname.write_files(spec.hostname, warn)
    stage.mask_units(mounts.masked_units(spec.network))
    if spec.read_only:
        libc.mount(None, "/", None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY)
    if spec.network == "nat":
        _tell_of_names(record, warn, read_only=spec.read_only)
    if spec.boot:
        libc.mount(None, "/", None, libc.MS_REC | libc.MS_SHARED)  # what an init expects of its root


def _mount_root(host: Host, rootfs: int, spec: RunSpec, warn: Callable[[str], None]) -> int:
    """Mount the rootfs in the stage, with its volumes; a descriptor of the mounted root."""
    if not spec.volumes:
        return stage.mount_root(host.stage, rootfs, ephemeral=spec.ephemeral)
    from nspawn.container import volumes

    kept = volumes.make(rootfs, spec.volumes, warn)
    root = stage.mount_root(host.stage, rootfs, ephemeral=spec.ephemeral)
    if spec.read_only or spec.ephemeral:
        volumes.bind(rootfs, root, kept, warn)
    return root


def android_binds(network: str) -> list[Bind]:
    """What a phone shows in all its containers: Android's names of routing tables."""
    if network != "host":
        return []
    return [Bind(_RT_TABLES, "/etc/iproute2/rt_tables", read_only=True, optional=True)]


def _tell_of_names(record: Record, warn: Callable[[str], None], *, read_only: bool) -> None:
    """Where the programs in the container ask for names: the servers of its settings, or the gateway."""
    import _socket

    from nspawn.container import resolvconf
    from nspawn.model.slot import Subnet

    servers = [server.decode("ascii", "replace") for server in record.all("net-dns")]
    search = "" if servers else resolvconf.SEARCH  # others know no containers
    if not servers:
        subnet = Subnet.of(record)
        servers.append(_socket.inet_ntop(_socket.AF_INET, subnet.gateway4))
        if record.flag("net-ipv6"):
            servers.append(_socket.inet_ntop(_socket.AF_INET6, subnet.gateway6))
    resolvconf.write(servers, warn, search=search, read_only=read_only)


def _join_network(record: Record, warn: Callable[[str], None]) -> None:
    """Set our end of the wire up, which our parent has made."""
    from nspawn.kernel import wire
    from nspawn.model.slot import Subnet

    end = wire.Wire()
    try:
        end.configure(
            Subnet.of(record),
            record.integer("net-slot"),
            bridged=record.flag("net-bridged"),
            ipv6=record.flag("net-ipv6"),
            default6=record.flag("net-default6"),
            warn=warn,
        )
    except OSError as error:
        raise NspawnError(
            "the container's network cannot be set up", f"{error.filename}: {error.strerror}"
        ) from error
    finally:
        end.close()
