"""What tests take from the internet, fetched and built before they run where there is none.

    python -m tests.support.prepare

It says what it does, uses the functions of the fixtures themselves, and takes a moment when all is there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.support import rootfs
from tests.support.phone import debs, hybrid, tree, vm_kernel
from tests.support.program import REPOSITORY
from tests.support.zips import TARGETS, build_zip
from tools.bundle import own_target
from tools.emulator import emulator
from tools.kernels import KERNELS

Step = tuple[str, Callable[[], object]]


def zips() -> list[Step]:
    """The zips, with their downloads, and what runs the foreign one."""
    own = own_target()
    steps: list[Step] = [(f"zip for {own.name}", partial(build_zip, own))]
    for target in TARGETS.values():
        if target != own:
            steps.append((f"zip for {target.name}", partial(build_zip, target)))
            steps.append((f"emulator of {target.machine}", partial(emulator, target.machine)))
    return steps


def systems() -> list[Step]:
    """Roots and kernels."""
    cache = rootfs.cache_folder(REPOSITORY)
    return [
        ("Debian", partial(rootfs.debian, cache, rootfs.PLAIN)),
        ("Debian with systemd", partial(rootfs.debian, cache, rootfs.WITH_SYSTEMD)),
        ("Debian with systemd-resolved", partial(rootfs.debian, cache, rootfs.WITH_RESOLVER)),
        *((f"phone of {name}", partial(tree.build, name)) for name in debs.ARCHITECTURES),
        ("qemu of the phone's arm64 programs", hybrid.carrier),
        *((f"Linux {name} of the virtual phone", partial(vm_kernel.kernel, name)) for name in KERNELS),
    ]


def do(steps: Sequence[Step]) -> int:
    """Do steps in turn, each whatever became of those before. Returns how many failed."""
    failed = 0
    for name, work in steps:
        started = time.monotonic()
        try:
            work()
        except Exception as error:  # noqa: BLE001 (the test that needs it tells more)
            failed += 1
            print(f"{name}: {error}", flush=True)
        else:
            print(f"{name}: ready ({time.monotonic() - started:.1f} s)", flush=True)
    return failed


def main() -> int:
    os.umask(0o022)
    if os.geteuid() != 0:
        return do(zips())
    with ThreadPoolExecutor(2) as pool:
        return min(1, sum(pool.map(do, (zips(), systems()))))


if __name__ == "__main__":
    sys.exit(main())
