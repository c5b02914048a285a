"""The wake lock: Android does not suspend while a container that asked for it runs.

By name in /sys/power/wake_lock; the kernel keeps it until the same name is written to wake_unlock, also when
the writer is gone (Documentation/ABI/testing/sysfs-power).
"""

from __future__ import annotations

import os

from nspawn.layout import phone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner

_NAME = b"nspawn"
_TAKE, _RELEASE = "/sys/power/wake_lock", "/sys/power/wake_unlock"


class WakeLock:
    """held: whether we have it."""

    __slots__ = ("_complained", "_spawner", "held")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._complained = False
        self.held = _is_held()  # by a spawner before us

    def update(self, *, needed: bool) -> None:
        if needed == self.held:
            return
        path = phone(os.environ, _TAKE if needed else _RELEASE)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, _NAME)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._spawner.log(f"the wake lock has no effect here: {path}: {error.strerror}")
            return
        self.held = needed


def _is_held() -> bool:
    try:
        with open(phone(os.environ, _TAKE), "rb") as file:
            return _NAME in file.read().split()
    except OSError:
        return False
