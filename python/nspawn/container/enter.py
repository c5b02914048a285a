"""Run a command in a running container: join its namespaces, fork, join its cgroup, exec.

Done by the command itself, not by the spawner: the caller's terminal and signals are at hand, and the
spawner stays out of long streams.

Between us and the command stands a process that has joined the namespaces: only its children are in the PID
namespace.  It takes the command's end, whatever happens to us: a container ends when everything in its PID
namespace was reaped (pid_namespaces(7)), and the process 1 that orphans of ours go to may never do that, as
in many a Docker container.  So it is in no cgroup of the container, whose end would be its own, and does not
end before the command.
"""

from __future__ import annotations

import os
import stat

from nspawn.container import program, state, terminal
from nspawn.container.client import Client
from nspawn.errors import Conflict, NotFound, NotRunning, NspawnError
from nspawn.kernel import libc, namespaces, process, unix, users
from nspawn.model.names import parse_container_name
from nspawn.model.record import Record, error_record, raise_error
from nspawn.model.runspec import RunSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from nspawn.layout import Layout
else:
    import _signal  # the part of `signal` without enum

# The mount namespace last: what comes before is reached by paths of the host.
_ORDER = ("cgroup", "ipc", "uts", "net", "time", "pid", "mnt")
#: What the process between us and the command waits for; SIGTERM tells that we are gone.
_HEARD = (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP)


def enter(
    layout: Layout,
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str = "",
    workdir: str = "",
    tty: bool = False,
    term: str = "xterm-256color",
) -> int:
    """Run the command (a shell when empty) in the container; its exit status, 128+n for a signal.

    tty: give it a terminal of the container's own, shown on ours; it needs one on our standard input.
    """
    pid, start_time, groups = _find(layout, name)
    spec = RunSpec(argv=argv, env=env, user=user, workdir=workdir, term=term)
    handles = _open_namespaces(pid)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if process.start_time(pid) != start_time:
        raise Conflict(f"{name} ended just now", hint=f"Start it again: nspawn start {name}.")
    ours, theirs = unix.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        _stand_in(spec, handles, root, theirs, tty=tty)
    theirs.close()
    unix.close_all([*handles, root])
    with ours:
        if _admit(ours, groups):
            if tty:
                _data, descriptors = _first(ours)
                if descriptors:  # else it was killed
                    terminal.run(descriptors[0], child)
                    os.close(descriptors[0])
            _first(ours)
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _find(layout: Layout, name: str) -> tuple[int, int, list[str]]:
    """(PID, start time, cgroup folders) of a running container; by its saved state without a spawner."""
    parse_container_name(name)
    record: Record | None = None
    try:
        found = [each for each in Client(layout).call_many("list") if each.text("name") == name]
        record = found[0] if found else None
    except NotRunning:
        record = state.read(layout, name)
    if record is None and not os.path.isdir(layout.container(name)):
        raise NotFound(f"there is no container {name!r}", hint="See those there are: nspawn list.")
    pid = record.integer("pid") if record else 0
    if (
        record is None
        or record.text("state") not in ("running", "stopping")
        or record.text("boot-id") != process.boot_id()
        or not pid
        or process.start_time(pid) != record.integer("start-time")
    ):
        raise Conflict(f"{name} is not running", hint=f"Start it: nspawn start {name}.")
    if record.text("frozen"):
        raise Conflict(
            f"{name} is frozen", record.text("frozen"), f"What enters it would be too: nspawn thaw {name}."
        )
    return pid, record.integer("start-time"), [os.fsdecode(folder) for folder in record.all("cgroup")]


def _open_namespaces(pid: int) -> list[int]:
    """Descriptors of those namespaces of the process that are not ours."""
    return [
        os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        for kind in _ORDER
        if _known(kind) and not process.in_namespace(kind, pid)
    ]


def _known(kind: str) -> bool:
    return any(kind == name for name, _flag, _option in namespaces.NAMESPACES) and os.path.lexists(
        f"/proc/self/ns/{kind}"
    )


def _first(channel: unix.Socket) -> tuple[bytes, list[int]]:
    """The next message of the child, an error in it raised; b"" is its exec."""
    try:
        data, descriptors = unix.receive(channel)
    except ConnectionResetError:
        return b"", []
    raise_error(Record.decode(data))
    if not data and not descriptors:
        return b"", []
    return data, descriptors


def _admit(channel: unix.Socket, groups: list[str]) -> bool:
    """Put the command's process into the container's cgroups and let it go on; False when it was killed."""
    data, _none = _first(channel)
    pid = Record.decode(data).integer("pid")
    if not pid:
        return False
    for group in groups:
        _join_group(group, pid)
    try:
        unix.send(channel, b"go=1")
    except OSError:
        return False
    return True


def _stand_in(spec: RunSpec, handles: list[int], root: int, channel: unix.Socket, *, tty: bool) -> NoReturn:
    """Join the namespaces, fork into the PID namespace, and stand in for the command until it ends."""
    failure: NspawnError | None = None
    status = 1
    try:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _HEARD)
        program.die_with_parent(channel.fileno(), _signal.SIGTERM)
        unix.close_others(channel.fileno(), root, *handles)
        for handle in handles:
            libc.setns(handle, 0)
        os.fchdir(root)
        os.chroot(".")
        unix.close_all([*handles, root])
        pid = os.fork()
        if pid == 0:
            _run(spec, channel, tty=tty)
        else:
            status = _wait(pid, channel)
    except NspawnError as error:
        failure = error
    except BaseException as error:  # noqa: BLE001
        failure = NspawnError("the container could not be entered", str(error) or type(error).__name__)
    finally:
        try:
            if failure is not None:
                status = failure.status
                unix.send(channel, error_record(failure).encode())
        finally:
            os._exit(status)
    raise AssertionError


def _wait(pid: int, channel: unix.Socket) -> int:
    """Name the process to our parent, and wait for its end; its exit status, 128+n for a signal."""
    try:
        unix.send(channel, Record((("pid", pid),)).encode())
    except OSError:
        pass  # our parent is gone, and with it the command
    channel.close()
    while True:
        number = _signal.sigwait(_HEARD)
        if number == _signal.SIGTERM:
            os.kill(pid, _signal.SIGKILL)
        elif number == _signal.SIGCHLD:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        # The terminal's are the command's and our parent's.


def _join_group(folder: str, pid: int) -> None:
    for path in (folder, f"{folder}/nspawn-exec"):
        try:
            if path != folder:
                os.makedirs(path, 0o755, exist_ok=True)
            with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(pid))
            return
        except ProcessLookupError:
            return  # it was killed: the container has ended
        except OSError:
            continue  # its manager has enabled controllers: processes live in leaves only
    raise NspawnError("the container's cgroup cannot be joined", folder, "It may be ending: try again.")


def _run(spec: RunSpec, channel: unix.Socket, *, tty: bool) -> None:
    program.die_with_parent(channel.fileno())
    # It is in the container's PID namespace already: nothing of the host is open or mounted for it.
    data, _none = unix.receive(channel)
    if not data:
        os._exit(1)  # nobody wants it any more
    if tty:
        master, slave = _open_terminal()
        unix.send(channel, b"terminal=1", (master,))
        os.close(master)
        os.setsid()
        for number in (0, 1, 2):
            os.dup2(slave, number)
        program.take_terminal()
    os.umask(0o022)
    program.become(spec, users.find(spec.user), dies_with=channel.fileno())


def _open_terminal() -> tuple[int, int]:
    """A PTY of the container's own devpts, so that `tty`, tmux and sudo find it under its name."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(master)
    if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) != 5:
        raise NspawnError("the container has no terminals", "its /dev/ptmx is no terminal multiplexer")
    os.set_blocking(master, True)
    return master, terminal.peer_of(master)
