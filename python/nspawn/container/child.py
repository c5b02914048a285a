"""A small child of the spawner: a fork for work that may take its time, where the loop must not wait."""

from __future__ import annotations

import os

from nspawn.container.keeper import log
from nspawn.kernel import libc, unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:
    import _signal


def fork(work: Callable[[], None], what: str) -> int:
    """Do the work in a child that dies with us, and ends with status 0 when it is done; its PID.

    what: for the log, when it fails.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _signal.set_wakeup_fd(-1)
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGCHLD):
            _signal.signal(number, _signal.SIG_DFL)
        libc.prctl(libc.PR_SET_PDEATHSIG, int(_signal.SIGKILL))
        if os.getppid() == parent:
            unix.close_others()
            work()
            status = 0
    except OSError as error:
        log(f"{what}: {error}")
    finally:
        os._exit(status)
