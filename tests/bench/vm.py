"""The installed module on the virtual phone: from a reboot to the page and to a container that runs."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.report import Column, Goal, Part, Table
from tests.bench.samples import spread
from tests.support.phone import vm
from tests.support.phone.vm_build import assemble
from tests.support.phone.vm_module import WITNESS, Module, release

_KERNEL = "6.1"
_LIMIT = 45.0  # seconds, for both
_NAME = "box"
_GOAL = "reboot to container running and page answering, on the virtual phone"


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """One flash, one reboot into it, one that counts. pairs, seed: not used."""
    del pairs, seed
    try:
        hardware = assemble(folder, _KERNEL, "magisk", files={"now.zip": release()}, selinux=True)
        with vm.powered(vm.Phone(hardware, folder / "console")) as phone:
            module = Module(phone=phone)
            module.booted()
            begin = time.monotonic()
            module.flash("now.zip")
            flashed = time.monotonic() - begin
            module.reboot()
            module.must("create", _NAME, "--image", "builtin", "--autostart", "--command", WITNESS)
            page, running = _reboot(module)
    except (AssertionError, OSError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Part(goals=[Goal(name=_GOAL, limit=_LIMIT, unit="s", why_not=why)])
    both = max(page, running)
    return Part(
        goals=[Goal(name=_GOAL, limit=_LIMIT, unit="s", figure=spread([both]))],
        tables=[
            Table(
                title="The module on the virtual phone",
                columns=[Column(title="what"), Column(title="time", unit="s")],
                rows=[
                    ["flash", spread([flashed])],
                    ["power to the page's answer (GET /health)", spread([page])],
                    ["power to the container's command", spread([running])],
                ],
                notes=[
                    (
                        f"Once: qemu emulates arm64 with two processors and {vm.MEMORY} MB, so a real phone "
                        f"is many times as fast. Debian's kernel {_KERNEL}, SELinux enforcing, Magisk; the "
                        "kernel's own start counts."
                    )
                ],
            )
        ],
    )


def _reboot(module: Module) -> tuple[float, float]:
    """Seconds from the power to the page's answer, and to the container's command."""
    module.phone.reboot()
    status, _body = module.phone.get("/health")
    page = time.monotonic() - module.phone.powered_at
    assert status == 200, f"the page answered {status}"
    module.wait_started(_NAME)
    return page, time.monotonic() - module.phone.powered_at
