"""What tests do with the module in a virtual phone: flash it, ask it, and ask the phone about it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.phone.vm import Answer, Phone, PowerLoss
from tests.support.zips import TARGETS, build_zip

MODULE = "/data/adb/modules/nspawn"
STATE = "/data/adb/nspawn"
#: Where the third disk is shown.
MEDIA = "/mnt/media"

#: Emulated, Python needs seconds to start.
SLOW = 120.0

#: What a container of the tests runs: it tells in which boot it was started last.
WITNESS = "/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >/started; exec sleep 100000'"


def release(version: str = "") -> Path:
    """The zip of this checkout for arm64, built when it is not there."""
    return build_zip(TARGETS["arm64"], version)


@dataclass(kw_only=True)
class Module:
    """The module as somebody at the phone's root shell meets it."""

    phone: Phone

    def booted(self) -> None:
        """Until Android is up."""
        self.phone.wait('[ "$(getprop sys.boot_completed)" = 1 ]', SLOW)

    def reboot(self) -> None:
        self.phone.reboot()
        self.booted()

    def flash(self, name: str) -> str:
        """Install a zip of the third disk, as the root manager's app does: what it says."""
        self.phone.check(
            f"mkdir -p {MEDIA}; [ -e {MEDIA}/{name} ] || mount -t ext4 -o ro /dev/block/by-name/media {MEDIA}"
        )
        return self.phone.check(f"/system/fake/flash {MEDIA}/{name}", SLOW)

    def command(self, *words: str) -> Answer:
        """`nspawn WORDS` in a root shell."""
        return self.phone.sh(f"PATH=$PATH:{MODULE}/bin; nspawn {shlex.join(words)}", SLOW)

    def must(self, *words: str) -> str:
        """The same, and it must succeed: its output."""
        answer = self.command(*words)
        assert answer.status == 0, answer
        return answer.out

    def containers(self) -> dict[str, Any]:
        """By name, as `nspawn list --json` tells."""
        return {one["name"]: one for one in json.loads(self.must("list", "--json"))}

    def api(self, path: str, token: str) -> Any:
        """GET /api/v1/PATH, once the page answers."""
        status, body = self.phone.get(f"/api/v1/{path}", SLOW, {"Authorization": f"Bearer {token}"})
        assert status == 200, body
        return json.loads(body)

    def wait_started(self, name: str) -> None:
        """Until the witness in a container tells that this boot has started it."""
        witness = f"{STATE}/containers/{name}/rootfs/started"
        try:
            self.phone.wait(f'[ "$(cat {witness})" = "$(cat /proc/sys/kernel/random/boot_id)" ] 2>&-', SLOW)
        except AssertionError as error:
            raise PowerLoss(f"{name} was not started\n{self.diagnosis()}") from error

    def checksums(self, name: str) -> str:
        """Of every file of a container that its witness does not write."""
        return self.phone.check(
            f"cd {STATE}/containers/{name} && find . -type f ! -name started ! -name state"
            " ! -name 'console.log*' -print0 | sort -z | xargs -0 sha256sum"
        )

    def diagnosis(self) -> str:
        """What helps to understand a failure."""
        script = (
            f"cat /dev/fake.log; ls -la {MODULE} {STATE} {STATE}/containers; cat {STATE}/run/*.log;"
            " dmesg | tail -20; ps -A -o pid,args"
        )
        return self.phone.sh(script, 30).out
