"""Whether, and after how long, a container that ended is started again."""

from __future__ import annotations

POLICIES = ("no", "on-failure", "always")
#: Seconds of running after which earlier failures are forgiven.
FORGIVEN_AFTER = 60.0


class Policy:
    """name: of POLICIES; delay: seconds before the first restart, doubled each time up to max_delay.

    max_tries: restarts in a row without FORGIVEN_AFTER seconds of running; 0 for any number.
    """

    __slots__ = ("delay", "max_delay", "max_tries", "name")

    def __init__(
        self, name: str = "no", delay: float = 1.0, max_delay: float = 60.0, max_tries: int = 0
    ) -> None:
        self.name = name
        self.delay = delay
        self.max_delay = max_delay
        self.max_tries = max_tries

    def next_delay(self, *, failed: bool, tries: int) -> float | None:
        """Seconds to wait before the restart that follows `tries` others; None for no restart."""
        if self.name == "no" or (self.name == "on-failure" and not failed):
            return None
        if self.max_tries and tries >= self.max_tries:
            return None
        return min(self.delay * 2.0 ** min(tries, 30), self.max_delay)
