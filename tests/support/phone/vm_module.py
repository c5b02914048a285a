"""What tests do with the module in a virtual phone: flash it, ask it, and ask the phone about it."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from dataclasses import dataclass
from typing import Any

from tests.support.phone.vm import Answer, Phone

MODULE = "/data/adb/modules/nspawn"
STATE = "/data/adb/nspawn"
#: Where the third disk is shown.
MEDIA = "/mnt/media"

#: Emulated, Python needs seconds to start.
SLOW = 90.0


@dataclass(kw_only=True)
class Module:
    """The module as somebody at the phone's root shell meets it."""

    phone: Phone

    def booted(self, seconds: float = 150) -> None:
        """Until Android is up."""
        self.phone.wait('[ "$(getprop sys.boot_completed)" = 1 ]', seconds)

    def reboot(self) -> None:
        self.phone.reboot()
        self.booted()

    def flash(self, name: str) -> str:
        """Install a zip of the third disk, as the root manager's app does: what it says."""
        self.phone.check(
            f"mkdir -p {MEDIA}; [ -e {MEDIA}/{name} ] || mount -t ext4 -o ro /dev/block/by-name/media {MEDIA}"
        )
        return self.phone.check(f"/system/fake/flash {MEDIA}/{name}", SLOW)

    def command(self, *words: str, seconds: float = SLOW) -> Answer:
        """`nspawn WORDS` in a root shell."""
        folders = f"{MODULE}/system/bin:{MODULE}/bin"
        return self.phone.sh(f"PATH=$PATH:{folders}; nspawn {shlex.join(words)}", seconds)

    def must(self, *words: str, seconds: float = SLOW) -> str:
        answer = self.command(*words, seconds=seconds)
        assert answer.status == 0, answer
        return answer.out

    def containers(self) -> dict[str, Any]:
        """By name, as `nspawn list --json` tells."""
        return {one["name"]: one for one in json.loads(self.must("list", "--json"))}

    def token(self) -> str:
        return self.must("token").strip()

    def api(self, path: str) -> Any:
        """GET /api/v1/PATH, once the page answers."""
        status, body = self.phone.get(f"/api/v1/{path}", 90, {"Authorization": f"Bearer {self.token()}"})
        assert status == 200, body
        return json.loads(body)

    def wait_file(self, path: str, seconds: float = 120) -> None:
        self.phone.wait(f"[ -e {shlex.quote(path)} ]", seconds)

    def diagnosis(self) -> str:
        """What helps to understand a failure."""
        script = (
            f"cat /dev/fake.log; ls -la {MODULE} {STATE} {STATE}/containers {STATE}/run; cat {STATE}/run/*.log;"
            " dmesg | tail -20; ps -A -o pid,args | grep -v '\\['"
        )
        with contextlib.suppress(AssertionError):
            return self.phone.sh(script, 30).out
        return self.phone.last_words()


class Clock:
    """Seconds since the power came on, for the figures that are printed."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self.marks: dict[str, float] = {}

    def mark(self, name: str) -> None:
        self.marks[name] = time.monotonic() - self._phone.powered_at

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.marks.items())
