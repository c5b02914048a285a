"""The lock by which processes tell each other that they need the network: who has it alone takes it down."""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.layout import Layout


def opened(layout: Layout) -> int:
    """A descriptor of the file that is locked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(layout.network_users, flags, 0o600)


class UseLock:
    """Never waits: it is for a loop."""

    __slots__ = ("_descriptor", "_layout", "_log")

    def __init__(self, layout: Layout, log: Callable[[str], None]) -> None:
        self._layout = layout
        self._log = log
        self._descriptor = -1

    def share(self) -> bool:
        """Need it; False while another process has it alone, for its last moments."""
        if self._descriptor >= 0:
            return True
        try:
            descriptor = opened(self._layout)
        except OSError as error:  # a full disk: rather without the lock than without a network
            self._log(f"others are not told that the network is needed: {error}")
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def alone(self) -> bool:
        """Whether no other process needs it; then none can until we have let go."""
        if not self.share():
            return False
        if self._descriptor < 0:
            return True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
