"""Waiting for a property of Android without polling: a small child that sleeps in futex(2).

bionic keeps a count of all changes at offset 4 of properties_serial (struct prop_area), raises it with each
change, and wakes who waits for it there (bionic, system_properties.cpp).  That one has changed is all that it
tells, so each look is a getprop, and looks are kept rare.
"""

from __future__ import annotations

import os
import select
import time

from nspawn.container import child
from nspawn.container.keeper import log
from nspawn.kernel import libc
from nspawn.model.phone import GETPROP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SERIAL = "/dev/__properties__/properties_serial"
_OFFSET = 4
_LENGTH = 4096
_SHORTEST = 0.25  # seconds between two looks, which double up to the longest: a boot sets hundreds
_LONGEST = 2.0
_QUIET = 10.0  # seconds without a change, after which the next look is soon again
_PATIENCE = 5000.0  # milliseconds for an answer of getprop
#: Where there is no count: a look now and then, rather than a container that never starts.
_BLIND, _BLINDEST = 5.0, 300.0


def wait(wanted: Sequence[tuple[str, str]], root: str) -> int:
    """Fork a child that ends, with status 0, when one of these properties has its value; its PID.

    wanted: (name, value); root: of the phone.  The child dies with its parent.
    """
    return child.fork(lambda: _look_until(wanted, root), "properties are not waited for")


def _look_until(wanted: Sequence[tuple[str, str]], root: str) -> None:
    address = _map(f"{root}{SERIAL}")
    pause, blind = _SHORTEST, _BLIND
    while True:
        count = libc.peek(address) if address else 0  # before the look: a change meanwhile is not lost
        if any(getprop(f"{root}{GETPROP}", name) == value for name, value in wanted):
            return
        if not address:
            time.sleep(blind)
            blind = min(blind * 2, _BLINDEST)
            continue
        began = time.monotonic()
        libc.futex_wait(address, count)
        pause = _SHORTEST if time.monotonic() - began > _QUIET else min(pause * 2, _LONGEST)
        time.sleep(pause)


def _map(path: str) -> int:
    """The address of the count, 0 when this phone shows none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        log(f"properties cannot be waited for, so they are looked at now and then: {path}: {error.strerror}")
        return 0
    try:
        if os.fstat(descriptor).st_size < _OFFSET + 4:
            log(f"properties cannot be waited for, so they are looked at now and then: {path} is too short")
            return 0
        return libc.mmap_shared(descriptor, _LENGTH) + _OFFSET
    finally:
        os.close(descriptor)


def getprop(program: str, name: str) -> str:
    """One property; "" when there is nobody to ask, or no answer in time: the spawner asks, too."""
    ours, theirs = os.pipe()
    try:
        pid = os.posix_spawn(
            program,
            [program, name],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1)],
        )
    except OSError:
        os.close(ours)
        return ""
    finally:
        os.close(theirs)
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    try:
        if poll.poll(_PATIENCE):
            text = os.read(ours, 4096)
        else:
            text = b""
            os.kill(pid, 9)
    finally:
        os.close(ours)
    os.waitpid(pid, 0)
    return text.decode("utf-8", "replace").strip()
