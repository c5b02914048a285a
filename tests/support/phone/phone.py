"""An emulated phone in namespaces: Android's places and habits around this machine's kernel.

Real: the kernel, ext4, toybox, mksh, ip, iptables, and the order of things at boot.  Fake: Android's
daemons and the root manager (fakes/), battery, wake locks, boot id.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support import poor_kernel
from tests.support.command import Result, check, run
from tests.support.machine import MARK
from tests.support.phone import sysfs
from tests.support.phone.handset import Handset, Kernel
from tests.support.phone.shells import SHELLS

MANAGERS = ("magisk", "ksu", "apatch")
#: About Linux 4.19: no pidfd_*, clone3, openat2, mount_setattr.
OLD_KERNEL: Kernel = {"older_than": 424, "without": [], "refuse": []}
#: What stock phones lack besides (facts, quirks).
STOCK_KERNEL: Kernel = {"older_than": 424, "without": ["pid", "ipc", "user"], "refuse": []}


class Phone(Handset):
    """A phone of one root manager, and what people and the kernel do with it."""

    def reboot(self) -> None:
        """As a person does it, and wait until init runs again."""
        before = self.boots
        result = self.sh("reboot", must=False)  # init's end is the end of this, however it comes
        self.wait(lambda: self.boots > before and bool(self.pid), 30, f"{result}\nthe next start of init")

    def power_off(self) -> None:
        self._stay_off = True
        self.sh("reboot -p", must=False)
        self._end()

    def complete_boot(self) -> None:
        """Let a boot that is on hold go on."""
        self.order("complete")
        self.wait_boot_completed()

    def unlock(self) -> None:
        """The person at the phone enters the code for the first time."""
        self.order("unlock")
        self.wait_event("unlocked")

    def soft_reboot(self) -> None:
        """Android's framework starts anew, below it nothing does."""
        before = len(self.events)
        self.order("soft-reboot")
        self.wait(lambda: "completed" in [event for _, event in self.events[before:]], 20, "completed")

    def uevent(self, head: str, **values: str) -> None:
        """The kernel tells everybody in the phone about a device.  head: ACTION@DEVPATH."""
        action, _, path = head.partition("@")
        words = [f"ACTION={action}", f"DEVPATH={path}", *(f"{key}={value}" for key, value in values.items())]
        program = Path(__file__).with_name("uevent.py")
        check(["nsenter", "-t", str(self.pid), "-n", sys.executable, program, head, *words])

    def power_supply(self, name: str, **values: str) -> None:
        """Change readings of a battery or charger, and tell it as the kernel does."""
        folder = self._shared / "power_supply" / name
        sysfs.write(folder, values)
        lines = (folder / "uevent").read_text().splitlines()
        told = dict(line.split("=", 1) for line in lines)
        self.uevent(f"change@/devices/fake/power_supply/{name}", SUBSYSTEM="power_supply", **told)

    def temperature(self, celsius: float) -> None:
        (self._shared / "thermal/thermal_zone0/temp").write_text(f"{int(celsius * 1000)}\n")

    def wake_locks(self) -> str:
        """What was last written to /sys/power/wake_lock."""
        return (self._shared / "power/wake_lock").read_text().strip()

    def wake_unlocked(self) -> str:
        """What was last written to /sys/power/wake_unlock."""
        return (self._shared / "power/wake_unlock").read_text().strip()

    def setprop(self, name: str, value: str) -> None:
        self.properties.set(name, value)
        with self._news:
            self._news.notify_all()

    def getprop(self, name: str) -> str:
        return self.properties.get(name)

    # ---- what people do with it

    def sh(
        self,
        command: str,
        shell: str = "adb su",
        *,
        must: bool = True,
        timeout: float = 30.0,
        stdin: bytes = b"",
    ) -> Result:
        """A command in one of the SHELLS.  must: demand status 0."""
        kind = SHELLS[shell]
        kernel = self.kernel or ({"older_than": 1000} if kind.filtered else {})
        words = [
            *("/bin/sh", "-c", f'{self.groups.enter()} exec "$@"', "sh"),
            *_filter(kernel),
            *("nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"),
            *("/system/bin/sh", "-c", kind.script(command, self.manager)),
        ]
        environment = {**kind.environment, "PATH": os.environ["PATH"], MARK: str(self.folder)}
        result = run(words, environment=environment, stdin=stdin, timeout=timeout)
        if must:
            assert result.status == 0, f"{result}\n{self.logs()}"
        return result

    def push(self, source: Path, target: str) -> None:
        """As adb does it."""
        self.sh(f"cat > '{target}'", stdin=source.read_bytes())

    def flash(self, archive: Path, *, must: bool = True, timeout: float = 30.0) -> Result:
        """Install a module as the manager's app does."""
        self.push(archive, "/data/local/tmp/module.zip")
        return self.sh("/system/fake/flash /data/local/tmp/module.zip", must=must, timeout=timeout)

    def curl(self, *arguments: str, must: bool = True) -> Result:
        """From a browser on the phone, so to say: in its network, outside of its files."""
        words = ["nsenter", "-t", str(self.pid), "-n", "curl", "-sS", "-m", "10", *arguments]
        result = run(words)
        if must:
            assert result.status == 0, f"{result}\n{self.logs()}"
        return result

    def processes(self) -> list[int]:
        """All its processes, by this machine's count."""
        mine = os.readlink(f"/proc/{self.pid}/ns/net")
        found = []
        for entry in os.listdir("/proc"):
            try:
                inside = entry.isdigit() and entry != str(os.getpid())
                if inside and os.readlink(f"/proc/{entry}/ns/net") == mine:
                    found.append(int(entry))
            except OSError:
                continue
        return found


def _filter(kernel: Kernel) -> Sequence[str]:
    """A shell's part of a poorer kernel: the filter of init is not handed to what enters from outside."""
    if not kernel:
        return ()
    words = [sys.executable, poor_kernel.__file__]
    if kernel.get("older_than"):
        words += ["--older-than", str(kernel["older_than"])]
    without = kernel.get("without")
    if isinstance(without, list) and without:
        words += ["--without", ",".join(without)]
    return [*words, "--"]
