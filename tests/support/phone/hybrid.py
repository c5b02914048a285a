"""arm64 programs on this machine: qemu-user, known to the kernel only for as long as it is needed.

The kernel's table is one for the whole machine (binfmt_misc, its documentation), so a lock keeps two benches
apart, and the entry goes whatever happens.  What qemu-user cannot do is told in facts/testbench: clone with
namespaces, iptables, seccomp.
"""

from __future__ import annotations

import fcntl
import platform
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.command import check
from tests.support.phone import debs, tree

_ENTRY = "nspawn-tests-arm64"
_LOCK = Path("/tmp/nspawn-tests-binfmt.lock")
#: An ELF file of 64 bits, little endian, that can be run, for machine 183; other bytes do not matter.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
#: The interpreter is opened now and so works in any root; argv[0] and a program's own rights stay.
_FLAGS = "FPOC"


def carrier(cache: Path = tree.CACHE) -> Path:
    """qemu-aarch64 of the pinned package, for this machine."""
    (pin,) = debs.pins("amd64", debs.CARRIERS)
    folder = cache / f"qemu-{pin.sha256[:12]}"
    if not folder.exists():
        half = cache / f"{folder.name}.half"
        debs.extract("amd64", debs.CARRIERS, cache / "debs", half)
        half.rename(folder)
    return folder / "usr/bin/qemu-aarch64"


@contextmanager
def arm64_runs() -> Iterator[None]:
    """Within this block the kernel starts arm64 programs."""
    if platform.machine() == "aarch64":
        yield
        return
    program = carrier()
    with ExitStack() as undo:
        lock = undo.enter_context(open(_LOCK, "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        check(["mount", "-t", "binfmt_misc", "nspawn-tests", table])
        undo.callback(check, ["umount", table])
        entry = table / _ENTRY
        if entry.exists():  # of a bench that was killed
            entry.write_text("-1")
        (table / "register").write_text(f":{_ENTRY}:M::{_MAGIC}:{_MASK}:{program}:{_FLAGS}")
        undo.callback(entry.write_text, "-1")
        yield
