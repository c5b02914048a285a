"""The spawner as a process of its own: started when it is needed, found when it is there."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import nspawn
from nspawn.android import environment
from nspawn.container.client import Client
from nspawn.errors import NotRunning, NspawnError
from nspawn.kernel import libc
from nspawn.layout import Layout, on_android
from nspawn.service import page
from nspawn.service.store import Store

if TYPE_CHECKING:
    from nspawn.model.record import Record

_SECONDS = 20.0
_IN_CREATE = 0x100
_IN_MOVED_TO = 0x80
_LARGEST_LOG = 1 << 20


def command(layout: Layout, addresses: list[str], *, strict: bool = False, boot: bool = False) -> list[str]:
    """The command line of the keeper, which has the spawner as its child.

    strict: an address that cannot be had is an error instead of a page that is not there.
    boot: the machine has just started: the autostart containers are to be.
    """
    python = os.path.dirname(os.path.dirname(os.path.abspath(nspawn.__file__)))
    return [
        sys.executable,
        "-I",
        "-S",
        f"{python}/entry/keeper.py",
        *(["--strict"] if strict else []),
        *(["--boot"] if boot else []),
        layout.root,
        *addresses,
    ]


def ensure(layout: Layout, client: Client) -> Record:
    """Start the spawner when there is none; its answer to a ping."""
    try:
        return client.call("ping")
    except NotRunning:
        pass
    return _start(layout, client)


def ensure_default(layout: Layout) -> Record:
    """`ensure` with a client of its own."""
    return ensure(layout, Client(layout))


def shutdown(layout: Layout) -> None:
    """Stop all containers in order, and the spawner; returns when it is gone.  NotRunning without one."""
    client = Client(layout)
    keeper = client.call("ping").integer("keeper")
    try:
        pidfd = libc.pidfd_open(keeper)
    except OSError:
        pidfd = -1
    with client.watch() as watch:
        client.call("shutdown")
        while watch.recv() is not None:
            pass
    if pidfd >= 0:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(_SECONDS * 1000)
        os.close(pidfd)


def _start(layout: Layout, client: Client) -> Record:
    """Start it in the background and wait for its socket: inotify(7) tells, nothing is polled."""
    Store(layout).prepare()
    inotify = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        libc.inotify_add_watch(inotify, layout.run, _IN_CREATE | _IN_MOVED_TO)
        child = _spawn(layout)
        try:
            return _wait(layout, client, child, inotify)
        finally:
            # Popen complains of a process that outlives it; this one is meant to.
            child.returncode = child.returncode or 0
    finally:
        os.close(inotify)


def _spawn(layout: Layout) -> subprocess.Popen[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(layout.spawner_log, flags, 0o600)
    try:
        if os.fstat(log).st_size > _LARGEST_LOG:
            os.ftruncate(log, 0)
        child = subprocess.Popen(
            command(layout, page.addresses_or_none(layout)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment.service(os.environ, layout),
            umask=0o077,
            start_new_session=True,
        )
    finally:
        os.close(log)
    if on_android(os.environ):
        _leave_cgroup(child.pid)
    return child


def _leave_cgroup(pid: int) -> None:
    """Out of the group of the app that called us, which Android kills with the app (facts: module)."""
    for path in ("/sys/fs/cgroup/cgroup.procs", "/acct/cgroup.procs", "/dev/memcg/apps/cgroup.procs"):
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(pid))
        except OSError:
            continue


def _wait(layout: Layout, client: Client, child: subprocess.Popen[bytes], inotify: int) -> Record:
    poll = select.poll()
    poll.register(inotify, select.POLLIN)
    try:
        pidfd = libc.pidfd_open(child.pid)
    except OSError:
        pidfd = -1  # before Linux 5.3: its end is noticed by the time limit
    else:
        poll.register(pidfd, select.POLLIN)
    end = time.monotonic() + _SECONDS
    step = 0.005
    try:
        while True:
            try:
                return client.call("ping")
            except NotRunning:
                pass
            ended = child.poll() is not None
            if time.monotonic() > end or (ended and not _other(layout)):
                break
            # The socket's file is there a moment before it listens: hence a short limit besides the event.
            events = poll.poll(step * 1000)
            step = 0.005 if any(number == inotify for number, _mask in events) else min(step * 2, 1.0)
            _empty(inotify)
            if ended:
                time.sleep(step)
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    raise NspawnError(
        "the spawner did not start", _last_line(layout.spawner_log), f"Look at its log: {layout.spawner_log}"
    )


def _other(layout: Layout) -> bool:
    """Whether another process holds the lock: somebody started it at the same time."""
    import fcntl

    try:
        lock = os.open(f"{layout.run}/lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _empty(inotify: int) -> None:
    try:
        while os.read(inotify, 4096):
            pass
    except BlockingIOError:
        pass


def _last_line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
            return file.read().decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
    except OSError:
        return ""
