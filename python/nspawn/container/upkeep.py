"""What follows from the containers' states for the phone: wake lock, power rules, storage, description.

Each part is made when it is first needed: most machines need none.
"""

from __future__ import annotations

import os

from nspawn.container.wakelock import WakeLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.instance import Instance
    from nspawn.container.module import Module
    from nspawn.container.powerwatch import PowerWatch
    from nspawn.container.spawner import Spawner


class Upkeep:
    """module: the one that we were installed by, if any."""

    __slots__ = ("_open", "_power", "_spawner", "_wake_lock", "module")

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._open = False
        self._power: PowerWatch | None = None
        self._wake_lock = WakeLock(spawner)
        self.module: Module | None = None

    def open(self) -> None:
        """When the containers that ran before are known."""
        self._open = True
        self._follow()
        folder = os.environ.get("NSPAWN_MODULE", "")
        if folder:
            from nspawn.container.module import Module

            self.module = Module(self._spawner, folder)

    def changed(self, instance: Instance) -> None:
        """A container's state did."""
        if instance.extras.used and self._open:
            self._follow()
        if self.module is not None:
            self.module.soon()
        errand = self._spawner.errand
        if errand.waits and instance.state == "running" and instance.name in errand.waits:
            errand.soon()  # started by hand: what comes after it need not wait

    def _follow(self) -> None:
        running = [each for each in self._spawner.instances.values() if each.pid and each.extras.used]
        self._wake_lock.update(needed=any(i.extras.wake_lock and not i.extras.frozen for i in running))
        self._spawner.errand.watch()
        ruled = any(each.extras.rules is not None for each in running)
        if ruled and self._power is None:
            from nspawn.container.powerwatch import PowerWatch

            try:
                self._power = PowerWatch(self._spawner)
            except OSError as error:
                self._spawner.log(f"the power rules have no effect: {error}")
        elif not ruled and self._power is not None:
            self._power.close()
            self._power = None
        if self._power is not None:
            self._power.look_soon()

    def end(self) -> None:
        """Everything has ended."""
        self._wake_lock.update(needed=False)
        if self.module is not None:
            self.module.end()
