"""The page's process: started when somebody connects, gone when nobody does."""

from __future__ import annotations

import os

from nspawn.container.activated import Activated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner


class WebProcess(Activated):
    """listeners: listening sockets, all for the page."""

    __slots__ = ()

    def __init__(self, spawner: Spawner, listeners: list[int]) -> None:
        super().__init__(spawner, "web", "the page's process")
        self.listeners = listeners
        self.end_stale()
        self.listen()

    @property
    def address(self) -> str:
        """Where a browser finds the page; "" without one."""
        import _socket

        for descriptor in self.listeners:
            end = _socket.socket(fileno=os.dup(descriptor))
            try:
                return f"http://localhost:{end.getsockname()[1]}"
            except OSError:
                continue
            finally:
                end.close()
        return ""

    def _environment(self) -> dict[str, str]:
        scratch = f"{self._owner.layout.run}/tmp"
        os.makedirs(scratch, 0o700, exist_ok=True)
        return super()._environment() | {"HOME": self._owner.layout.root, "TMPDIR": scratch}
