"""`nspawn ROOTFS COMMAND` without a spawner: clone, wait, clean up."""

from __future__ import annotations

import os

from nspawn.container import cell as cells
from nspawn.container import stage
from nspawn.container.host import Host
from nspawn.kernel import cgroup, process, unix
from nspawn.kernel.cgroup import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Mapping

    from nspawn.container.guard import Guard
    from nspawn.container.netforeground import Joined
    from nspawn.layout import Layout
    from nspawn.model.runspec import RunSpec
else:
    import _signal

_SI_KERNEL = 0x80
#: Handled while the container runs; SIGCHLD tells its end.
_SIGNALS = (
    _signal.SIGCHLD,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGTTOU,
    _signal.SIGIO,
)
_ENDING = (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT)


def run(spec: RunSpec, layout: Layout, environ: Mapping[str, str], warn: Callable[[str], None]) -> int:
    """Run to the end; the exit status: the command's, or 128 and the signal that ended it.

    With `spec.boot`, a reboot from inside starts it again and a poweroff ends it with 0.  On a terminal the
    container shares it: keys, job control and window size reach it as they reach any child.
    """
    os.close(stage.open_rootfs(spec.rootfs))
    host, guard = _host(layout, environ)
    host.check(spec.network, boot=spec.boot)
    sweep(host.hierarchy)
    if spec.wish is None:
        return _run(spec, host, guard, None, warn)
    from nspawn.container.netforeground import Joined  # only for a network of its own

    with Joined(spec, layout, warn) as network:
        return _run(spec, host, guard, network, warn)


def _run(
    spec: RunSpec, host: Host, guard: Guard | None, network: Joined | None, warn: Callable[[str], None]
) -> int:
    terminal = os.isatty(0)
    give_back = _remember_terminal() if terminal else None
    old = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS)
    try:
        if network is not None:
            network.watch()
        while True:
            status = _once(spec, host, guard, network, terminal=terminal, warn=warn)
            signal = -os.waitstatus_to_exitcode(status)
            # reboot(2) in a PID namespace ends its process 1 by one of these (reboot(2)).
            if spec.boot and signal == _signal.SIGHUP:
                continue
            if spec.boot and signal == _signal.SIGINT:
                return 0
            return 128 + signal if signal > 0 else -signal
    finally:
        if give_back is not None:
            give_back()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old)


def _host(layout: Layout, environ: Mapping[str, str]) -> tuple[Host, Guard | None]:
    """The machine, and where there may be one, the crash guard: not paid for elsewhere."""
    if "ANDROID_ROOT" not in environ and "NSPAWN_GUARD" not in environ:
        return Host(layout, environ), None
    from nspawn.container.guard import Guard

    guard = Guard(layout, environ)
    guard.check()
    if guard.inherited():
        guard.clear_inherited()  # of a run that was killed; the machine was not
    return Host(layout, environ, guard.never), guard


def _remember_terminal() -> Callable[[], None]:
    """What gives the terminal back as it is now; called while SIGTTOU is blocked."""
    import termios  # only on a terminal

    try:
        settings = termios.tcgetattr(0)
        group = os.tcgetpgrp(0)
    except (OSError, termios.error):
        return lambda: None  # a terminal, but not that of our session

    def give_back() -> None:
        try:
            os.tcsetpgrp(0, group)  # an ended shell has left it to its own, dead, process group
            termios.tcsetattr(0, termios.TCSADRAIN, settings)
        except (OSError, termios.error):
            return  # hung up

    return give_back


def _once(
    spec: RunSpec,
    host: Host,
    guard: Guard | None,
    network: Joined | None,
    *,
    terminal: bool,
    warn: Callable[[str], None],
) -> int:
    name = f"{_prefix()}{os.getpid()}-{process.start_time(os.getpid())}"
    proving = guard.prove(host) if guard else []
    try:
        cell = cells.make(host, spec.network, name=name, memory=False)
    except BaseException:
        cgroup.remove_parent(host.hierarchy)
        if guard:
            guard.clear()
        raise
    drain = None
    streams: tuple[int, ...] = ()
    try:
        host.check(spec.network, boot=spec.boot)  # again: the clone may have shown what the kernel refuses
        if spec.boot and not terminal:
            drain, slave = _drained_console()
            streams = (slave, slave, slave)
        cell.run(
            spec.to_record(),
            streams,
            terminal=terminal or bool(streams),
            session=spec.boot,
            dies_with_parent=True,
            more=network.connect(cell.pid) if network is not None else (),
        )
        while cell.read(warn):
            pass
        if guard and proving:
            guard.clear(proven=proving)  # it has them all, and the machine goes on
            proving = []
        status = _wait(cell.pid, network, init=spec.boot)
        cell.pid = 0
        return status
    finally:
        if cell.pid:
            os.kill(cell.pid, _signal.SIGKILL)
            os.waitpid(cell.pid, 0)
        cell.channel.close()
        cell.group.end()
        if guard and proving:
            guard.clear()
        cgroup.remove_parent(host.hierarchy)
        if drain is not None:
            os.close(streams[0])
            os.waitpid(drain, 0)


def _drained_console() -> tuple[int, int]:
    """A console for an init without a terminal: a PTY, and a child that copies what it shows to our output.

    The kernel's own /dev/console, which it would open instead, is the host's.  Returns the child's PID and
    the PTY's slave.  The child ends when the last slave is closed: keep this one until the container has
    ended, for an init closes its console between messages.
    """
    master, slave = os.openpty()
    pid = os.fork()
    if pid:
        os.close(master)
        return pid, slave
    try:
        unix.close_others(master)
        while data := os.read(master, 65536):
            while data:
                data = data[os.write(1, data) :]
    except OSError:
        pass  # EIO: the last slave is closed
    finally:
        os._exit(0)
    raise AssertionError


def _wait(pid: int, network: Joined | None, *, init: bool) -> int:
    """The wait status of the container's first process, to which signals are handed on meanwhile.

    An init takes SIGTERM, SIGHUP and SIGINT for other things than its end: at the first of them it gets the
    signal that it calls for, at the second it is killed.
    """
    asked = False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        info = _signal.sigwaitinfo(_SIGNALS)
        number = info.si_signo
        if number == _signal.SIGIO and network is not None:
            network.look()
        if number in (_signal.SIGCHLD, _signal.SIGTTOU, _signal.SIGIO):
            continue
        # What the terminal sends (SI_KERNEL) reaches a command too, which shares our process group; an init
        # has a session of its own.
        typed = info.si_code == _SI_KERNEL and number in (_signal.SIGINT, _signal.SIGQUIT) and not init
        wanted = process.stop_signal(pid, init=True) if init and number in _ENDING else number
        handling = process.handling(pid, wanted)
        if (init and asked) or handling == "default" or (handling == "ignore" and not typed):
            # A process 1 without a handler never sees the signal: the only answer is to end it.
            os.kill(pid, _signal.SIGKILL)
            os.waitpid(pid, 0)
            return number
        if not typed:
            os.kill(pid, wanted)
        asked = asked or number in _ENDING


def _prefix() -> str:
    """Of our groups' names; with the PID namespace, for the owner's PID means nothing in another."""
    return f"run-{os.stat('/proc/self/ns/pid').st_ino if os.path.lexists('/proc/self/ns/pid') else 0}-"


def sweep(hierarchy: cgroup.Hierarchy) -> None:
    """End and remove the groups of foreground runs whose nspawn was killed."""
    prefix = _prefix()
    for name in cgroup.leftovers(hierarchy):
        if not name.startswith(prefix):
            continue
        owner, _, started = name[len(prefix) :].partition("-")
        if owner.isdecimal() and process.start_time(int(owner)) != int(started or 0):
            Group(hierarchy, name).end()
