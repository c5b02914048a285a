"""A phone with the real module: its commands, its page, its state."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.command import Result
from tests.support.phone.phone import Phone

MODULE = "/data/adb/modules/nspawn"
STATE = "/data/adb/nspawn"
PORT = 8080
#: A container's command that says at once that it runs, and then sleeps.
SLEEPER = "sh -c 'echo up >/started; exec sleep 100000'"


class Server:
    """What a user does with the module on this phone."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone

    def install(self, archive: Path) -> Result:
        """Switch the phone on, flash, and reboot into it."""
        self.phone.boot()
        self.phone.wait_boot_completed()
        result = self.phone.flash(archive)
        self.restart()
        return result

    def settle(self) -> None:
        """Wait until the crash guard has taken back its notes: what is new to the kernel is proven then."""
        path = self.file("guard")
        assert processes.wait_until(
            lambda: not path.exists() or b"note=" not in path.read_bytes(), 15, 0.1
        ), path.read_text()

    def restart(self) -> None:
        """Reboot, and wait for Android and for the page."""
        self.phone.reboot()
        self.phone.wait_boot_completed()
        self.wait_page()

    def boot(self) -> None:
        self.phone.boot()
        self.phone.wait_boot_completed()
        self.wait_page()

    def wait_page(self, seconds: float = 20.0, path: str = "/health") -> tuple[float, int]:
        """When the page began to answer (monotonic), and with which status."""
        with self.watch_page(seconds, path) as answer:
            return answer()

    @contextmanager
    def watch_page(
        self, seconds: float = 20.0, path: str = "/health"
    ) -> Iterator[Callable[[], tuple[float, int]]]:
        """Begin to ask for the page now; call what it gives for wait_page's answer."""
        program = Path(__file__).with_name("answers.py")
        words = ["nsenter", "-t", str(self.phone.pid), "-n", sys.executable, program, PORT, seconds, path]
        with subprocess.Popen(
            [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:

            def answer() -> tuple[float, int]:
                out, error = process.communicate()
                assert process.returncode == 0, f"{error}\n{self.phone.logs()}"
                moment, status = out.split()
                return float(moment), int(status)

            try:
                yield answer
            finally:
                process.kill()

    def nspawn(self, words: str, *, must: bool = True, shell: str = "adb su") -> Result:
        """`nspawn WORDS`, as typed in a root shell."""
        return self.phone.sh(f"nspawn {words}", shell, must=must)

    def json(self, words: str) -> Any:
        return json.loads(self.nspawn(words).out)

    def create(self, name: str, options: str = "--autostart") -> None:
        """A container of the built-in image that tells when it runs."""
        self.nspawn(f'create {name} --image builtin --command "{SLEEPER}" {options}')

    def state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self.json(f"info {name} --json")["state"]
        return state

    def becomes(self, name: str, state: str, seconds: float = 15.0) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def as_wanted() -> bool:
            found.update(self.state(name))
            return bool(found["state"] == state)

        assert processes.wait_until(as_wanted, seconds, 0.1), f"{found}\n{self.phone.logs()}"
        return found

    def file(self, path: str) -> Path:
        """A file of the state folder, from outside."""
        return self.phone.path(f"{STATE}/{path}")

    @property
    def version(self) -> str:
        lines = self.phone.path(f"{MODULE}/module.prop").read_text().splitlines()
        return next(line.removeprefix("version=") for line in lines if line.startswith("version="))
