"""A short command of another program: its status, and what it said.

Not by subprocess: its import takes longer than most of these commands.
"""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The status of one that did not end in time, as of timeout(1).
LATE = 124
_SIZE = 1 << 16


def run(
    words: list[str], environ: Mapping[str, str], text: str = "", *, seconds: float = 30.0
) -> tuple[int, str]:
    """(exit status, what it said on both outputs); OSError when it does not start.

    text: its input.  After that many seconds it is killed, and its status is LATE.
    """
    stdin = os.memfd_create("input")
    ours, theirs = os.pipe()
    try:
        os.write(stdin, text.encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        actions = [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_DUP2, theirs, 2),
        ]
        pid = os.posix_spawn(words[0], words, environ, file_actions=actions, setsigdef=[signal.SIGPIPE])
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
        os.close(stdin)
    said = None
    try:
        said = _read(ours, seconds)
    finally:
        os.close(ours)
        if said is None:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if said is None:
        return LATE, f"{words[0]} did not end in {seconds:g} s"
    return status, said.decode("utf-8", "replace")


def _read(descriptor: int, seconds: float) -> bytes | None:
    """All of it; None when it does not end in time."""
    poll, parts = select.poll(), list[bytes]()
    poll.register(descriptor, select.POLLIN)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            part = os.read(descriptor, _SIZE)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return None
