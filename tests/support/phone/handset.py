"""The hardware, so to say, of an emulated phone: its storage, power, network card and lines to its init.

A power cut drops what was not synced, as a real one (ext4's shutdown ioctl).
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.command import check, run
from tests.support.machine import MARK
from tests.support.phone import sysfs, tree
from tests.support.phone.debs import REPOSITORY
from tests.support.phone.groups import Groups
from tests.support.phone.properties import Properties
from tests.support.processes import wait_until

#: What poor_kernel.program takes.
Kernel = Mapping[str, object]

_numbers = itertools.count()
_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NO_LOG_FLUSH = struct.pack("I", 2)


class NotInTime(AssertionError):
    """The phone did not do what was waited for."""


class Handset:
    """Enter it to have it off; `boot` switches it on.

    folder: where its files are kept.  manager: magisk, ksu, apatch or none.  locked: the storage waits for
    `unlock`, else it opens while the phone boots.  hold: the boot waits for `complete_boot`.
    kernel: what it lacks.  size: of userdata, in bytes.
    """

    def __init__(
        self,
        folder: Path,
        manager: str = "magisk",
        *,
        architecture: str = "amd64",
        locked: bool = False,
        hold: bool = False,
        kernel: Kernel | None = None,
        size: int = 1 << 30,
    ) -> None:
        self.folder = folder
        self.manager = manager
        self.kernel = kernel
        self.locked = locked
        self.hold = hold
        self.tree = tree.build(architecture)
        self.pid = 0
        self.boots = 0
        self.events: list[tuple[float, str]] = []
        self.log = folder / "stage.log"
        self._size = size
        self._shared = folder / "shared"
        self._news = threading.Condition()
        self._stay_off = True
        self._supervisor: threading.Thread | None = None
        self._ended = threading.Event()
        self._cleanup = ExitStack()
        self._name = f"ph{os.getpid() % 10000}x{next(_numbers)}"
        self._network = ""
        self._device = ""
        self._device_lock = threading.Lock()
        self._first_event = 0  # of this boot

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.folder.mkdir(parents=True)
            for name in ("root", "socket"):
                (self.folder / name).mkdir()
            image = self.folder / "userdata.img"
            with open(image, "wb") as file:
                file.truncate(self._size)
            check(["mkfs.ext4", "-q", "-F", "-m", "0", image])
            self.groups = Groups(self._name)
            undo.callback(self.groups.remove)
            undo.callback(self._end)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    # ---- power

    def boot(self) -> None:
        """Switch it on, and wait until init runs."""
        assert not self.pid, "the phone is on"
        self._stay_off = False
        self._ended.clear()
        before = self.boots
        self._supervisor = threading.Thread(target=self._supervise, daemon=True, name=self._name)
        self._supervisor.start()
        self.wait(lambda: self.boots > before and bool(self.pid), 20, "the start of init")

    def power_cut(self) -> None:
        """Everything ends this instant, and what was not synced is lost."""
        self._stay_off = True
        data = os.open(f"/proc/{self.pid}/root/data", os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(data, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(data)
        self._end()

    def _end(self) -> None:
        """Kill init, and with it everything, and wait for the end of that."""
        self._stay_off = True
        pid = self.pid
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self._supervisor:
            assert self._ended.wait(20), f"{self._name} does not end"
            self._supervisor.join(5)
            self._supervisor = None

    def _supervise(self) -> None:
        """One boot after the other, while each ends in a reboot."""
        try:
            while True:
                code = self._one_boot()
                if code != -signal.SIGHUP or self._stay_off:
                    break
        finally:
            self.pid = 0
            self._ended.set()
            with self._news:
                self._news.notify_all()

    def _one_boot(self) -> int:
        shared = self.folder / f"shared.{self.boots}"
        shared.mkdir()
        (shared / "socket").mkdir()
        (shared / "boot_id").write_text(f"{uuid.uuid4()}\n")
        sysfs.make(shared)
        self._shared = shared
        self._first_event = len(self.events)
        self.properties = Properties(shared / "properties")
        with ExitStack() as undo:
            descriptors = []
            for name in ("fake_events", "fake_init"):
                os.mkfifo(shared / "socket" / name, 0o600)
                # Open for both, so that no writer waits and the last one's end is no end of file.
                descriptors.append(os.open(shared / "socket" / name, os.O_RDWR | os.O_CLOEXEC))
                undo.callback(os.close, descriptors[-1])
            listener = threading.Thread(target=self._listen, args=(descriptors[0],), daemon=True)
            listener.start()
            undo.callback(listener.join, 5)
            undo.callback(os.write, descriptors[0], b"off\n")
            self._orders = descriptors[1]
            return self._run_init(shared, undo)

    def _run_init(self, shared: Path, undo: ExitStack) -> int:
        number = self._add_card(undo)
        self._attach_device()
        undo.callback(self._release_device)
        configuration = {
            "tree": str(self.tree),
            "shared": str(shared),
            "root": str(self.folder / "root"),
            "data": self._device,
            "cgroups": [str(folder) for folder in self.groups.folders],
            "kernel": dict(self.kernel or {}),
            "properties": {
                "fake.root": self.manager,
                "fake.address": f"10.77.{number}.2/24",
                "fake.gateway": f"10.77.{number}.1",
                "fake.dns": f"10.77.{number}.1",
                "fake.hold": str(int(self.hold)),
                "fake.locked": str(int(self.locked)),
            },
        }
        (shared / "stage.json").write_text(json.dumps(configuration))
        undo.callback(self.groups.clear)
        with (
            open(self.log, "ab") as log,
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.phone.stage", shared / "stage.json"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, MARK: str(self.folder)},
            ) as stage,
        ):
            assert stage.stdin
            assert stage.stdout
            pid = int(stage.stdout.readline() or 0)
            if pid:
                check(["ip", "link", "set", f"{self._network}w", "netns", str(pid), "name", "wlan0"])
                stage.stdin.write(b"go\n")
                stage.stdin.flush()
                stage.stdout.read()  # its end is the exec of init: before, there is no phone to enter
                with self._news:
                    self.pid = pid
                    self.boots += 1
                    self._news.notify_all()
            code = stage.wait()
            self.pid = 0
            return code

    def _attach_device(self) -> None:
        """When the boot before has let go of the disk: a process that entered the phone may hold its mounts
        for a moment longer than init lived, and a disk that is mounted twice is lost.
        """
        image = self.folder / "userdata.img"
        assert wait_until(lambda: not check(["losetup", "--associated", image]).out, 10), (
            f"{image} stays in use"
        )
        with self._device_lock:
            self._device = check(["losetup", "--find", "--show", image]).out.strip()

    def _release_device(self) -> None:
        """Once it is mounted it goes with the mount, even when the bench is killed.

        By the listener when init tells that it has begun, and at the end of init: one of the two.
        """
        with self._device_lock:
            device, self._device = self._device, ""
            if device:
                check(["losetup", "--detach", device])

    def _add_card(self, undo: ExitStack) -> int:
        """A veth whose other end becomes the phone's wlan0; the number in its network 10.77.N.0/24."""
        for number in range(1, 250):
            self._network = f"phone{number}"
            words = ["ip", "link", "add", self._network, "type", "veth", "peer", f"{self._network}w"]
            if run(words).status:
                continue
            undo.callback(run, ["ip", "link", "delete", self._network])
            check(["ip", "address", "add", f"10.77.{number}.1/24", "dev", self._network])
            check(["ip", "link", "set", self._network, "up"])
            return number
        raise AssertionError("no network card can be made")

    # ---- what happens inside

    def _listen(self, descriptor: int) -> None:
        with open(os.dup(descriptor), buffering=1) as lines:
            for line in lines:
                text = line.strip()
                if text == "off":
                    return
                if text == "network":
                    self._release_device()
                if text.startswith("property "):
                    self.properties.changed()
                with self._news:
                    self.events.append((time.monotonic(), text))
                    self._news.notify_all()

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        with self._news:
            if not self._news.wait_for(lambda: condition() or self._ended.is_set(), seconds) or (
                self._ended.is_set() and not condition()
            ):
                raise NotInTime(f"{what} did not come\n{self.logs()}")

    def wait_event(self, text: str, seconds: float = 20.0) -> float:
        """Wait until this boot's init has told this; when it was, on the monotonic clock."""
        start = self._first_event
        self.wait(lambda: any(event == text for _, event in self.events[start:]), seconds, text)
        return next(at for at, event in self.events[start:] if event == text)

    def wait_property(self, name: str, value: str, seconds: float = 20.0) -> None:
        self.wait(lambda: self.properties.get(name) == value, seconds, f"{name}={value}")

    def wait_boot_completed(self, seconds: float = 30.0) -> None:
        self.wait_event("completed", seconds)

    def order(self, text: str) -> None:
        """Have the fake init do something: complete, unlock, soft-reboot."""
        os.write(self._orders, f"{text}\n".encode())

    def path(self, inside: str) -> Path:
        """A file of the running phone, seen from outside (links in it lead to this machine's files)."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def logs(self) -> str:
        """Everything that could tell what went wrong."""
        parts = [f"stage: {self.log.read_text() if self.log.exists() else ''}"]
        names = (
            "/dev/fake.init.log",
            "/dev/fake.log",
            "/dev/fake.logcat",
            "/data/adb/nspawn/run/service.log",
        )
        for name in names:
            try:
                parts.append(f"{name}:\n{self.path(name).read_text(errors='replace')[-3000:]}")
            except OSError:
                continue
        return "\n".join(parts)
