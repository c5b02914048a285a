"""A container that does not change while it is looked at: locked, and frozen when it runs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, NotFound, NspawnError, Unsupported
from nspawn.layout import Layout
from nspawn.sites import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nspawn.service.containers import Containers

#: Seconds in which the kernel must have stopped every process; one that waits for a device takes longer.
_FREEZE_TIME = 10.0
#: Seconds for thawing it, while a spawner that died is brought back; the process beside us tries longer.
_THAW_TIME, _THAW_TIME_BESIDE = 30.0, 3600.0
#: Seconds between two tries, at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_THAWER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from nspawn.service.stillness import thaw_when_left; "
    "thaw_when_left(sys.argv[2], sys.argv[3])"
)


@contextmanager
def still(containers: Containers, name: str) -> Iterator[None]:
    """Frozen as long as this lasts, if it runs; the caller holds its lock.

    Raises Conflict at the end when somebody has thawed or ended it meanwhile.
    """
    state = containers.get(name).state
    if not state.active:
        yield
        if containers.get(name).state.active:
            raise _moved(name)
        return
    if state.state != "running":
        raise Conflict(f"{name} is {state.state}", hint=f"Wait for it, or stop it first: nspawn stop {name}")
    if state.frozen:
        yield
        if containers.get(name).state.frozen != state.frozen:
            raise _moved(name)
        return
    with _thawer(containers.layout, name) as thawed:
        try:
            containers.freeze(name)
        except Unsupported as error:
            raise Unsupported(
                f"{name} cannot be held still", error.why, f"Stop it first: nspawn stop {name}"
            ) from None
        try:
            frozen = containers.get(name).state
            _wait(name, frozen.cgroup)
            yield
            now = containers.get(name).state
            if (now.state, now.pid, now.frozen) != (frozen.state, frozen.pid, frozen.frozen):
                raise _moved(name)
        except BaseException:
            with suppress(NspawnError):  # the first reason counts; the process beside us goes on with it
                _thaw(containers, name, _THAW_TIME)
                thawed()
            raise
        _thaw(containers, name, _THAW_TIME)
        thawed()


def _moved(name: str) -> Conflict:
    return Conflict(
        f"{name} did not hold still",
        "it was started, thawed or ended meanwhile",
        "Try again, and leave it alone as long.",
    )


def _wait(name: str, cgroup: str) -> None:
    """Until the kernel says that all its processes stand still: it freezes them one by one."""
    until = time.monotonic() + _FREEZE_TIME
    while True:
        found = [_frozen(f"{cgroup}/{file}", text) for file, text in _SIGNS]
        if True in found or not any(each is not None for each in found):
            return
        if time.monotonic() > until:
            raise Conflict(
                f"{name} cannot be held still",
                "a process of it does not stop",
                f"Stop it: nspawn stop {name}",
            )
        time.sleep(0.01)


#: Files of cgroup 2 and of the version 1 freezer, and what they say then.
_SIGNS = (("cgroup.events", "frozen 1"), ("freezer.state", "FROZEN"))


def _frozen(path: str, text: str) -> bool | None:
    """None when there is no such file."""
    try:
        with open(path, encoding="ascii", errors="replace") as lines:
            return any(line.strip() == text for line in lines)
    except OSError:
        return None


@contextmanager
def _thawer(layout: Layout, name: str) -> Iterator[Callable[[], None]]:
    """A process that thaws it unless it is told that this is done: ours may be killed, or interrupted twice.

    Frozen for ever, a container would look as if it hung.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", _THAWER, f"{HOME}/python", layout.root, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    sink = process.stdin
    assert sink is not None

    def thawed() -> None:
        with suppress(OSError):
            sink.write(b"done")
            sink.flush()

    try:
        yield thawed
    finally:
        with suppress(OSError):
            sink.close()
        # It may have to try for long, and something has to hear of its end.
        threading.Thread(target=process.wait, name="thawer", daemon=True).start()


def thaw_when_left(root: str, name: str) -> None:
    """Wait for the end of standard input; thaw the container unless it says "done"."""
    if sys.stdin.buffer.read() != b"done":
        from nspawn.service.containers import Containers

        _thaw(Containers(Layout(root)), name, _THAW_TIME_BESIDE)


def _thaw(containers: Containers, name: str, seconds: float) -> None:
    """Also when its spawner is gone: then another one takes it over first.  Raises what is still in the way.

    Only a container that has ended, or is removed, needs no thawing.
    """
    until = time.monotonic() + seconds
    pause = _PAUSE
    while True:
        try:
            containers.thaw(name)
            return
        except (Conflict, NotFound):
            return  # it has ended
        except (NspawnError, OSError) as error:
            if time.monotonic() > until:
                raise NspawnError(
                    f"{name} is still frozen", str(error), f"Try it by hand: nspawn thaw {name}"
                ) from None
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
