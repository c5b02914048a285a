#!/usr/bin/env python3
"""Unpack randomly altered archives: mangle.py ARCHIVE FOLDER SEED COUNT.

Each in a fork that is rooted in a new folder below FOLDER.  Prints how many were taken and how many refused;
anything else than these two goes to standard error with the altered archive's number.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "python"))

from nspawn.images.tarheaders import Refused
from nspawn.images.untar import Content, Untar

_BLOCK = 512
_LONGEST = 10  # seconds


def altered(data: bytes, chance: random.Random) -> bytes:
    """Some bytes, fields or blocks changed; sums of headers made right again, else nothing else was tried."""
    mangled = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        kind = chance.randrange(6)
        at = chance.randrange(len(mangled) // _BLOCK) * _BLOCK
        if kind == 0:
            mangled[chance.randrange(len(mangled))] = chance.randrange(256)
        elif kind == 1:
            field, size = chance.choice(
                [(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (157, 100), (345, 155)]
            )
            mangled[at + field : at + field + size] = chance.randbytes(size)
        elif kind == 2:
            mangled[at + 156] = chance.choice(b"0123456DLKSVMNgxX7\0\xff")
        elif kind == 3:
            mangled[at : at + _BLOCK] = b""
        elif kind == 4:
            other = chance.randrange(len(mangled) // _BLOCK) * _BLOCK
            mangled[at:at] = mangled[other : other + _BLOCK]
        else:
            digits = [place for place, byte in enumerate(mangled) if 48 <= byte < 58]
            mangled[chance.choice(digits)] = chance.choice(b"0123456789-\0")
        if len(mangled) < 2 * _BLOCK:
            return bytes(mangled)
    if chance.random() < 0.2:
        del mangled[chance.randrange(len(mangled)) :]
    for at in range(0, len(mangled) - _BLOCK + 1, _BLOCK):
        if mangled[at + 257 : at + 262] == b"ustar":
            mangled[at + 148 : at + 156] = b" " * 8
            mangled[at + 148 : at + 156] = b"%06o\0 " % sum(mangled[at : at + _BLOCK])
    return bytes(mangled)


def unpack(data: bytes, folder: str, step: int, *, layer: bool) -> int:
    """0 when it was taken, 1 when it was refused, 2 for anything else."""
    signal.alarm(_LONGEST)
    os.chroot(folder)
    os.chdir("/")
    os.umask(0)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(data), step):
            yield data[at : at + step]

    whole = pieces()
    try:
        Untar(10_000_000, 1000, layer=layer).unpack(Content(lambda: next(whole, b"")), whole=not layer)
    except Refused:
        return 1
    except BaseException:  # noqa: BLE001  (that there is none is what is tested)
        traceback.print_exc()
        return 2
    return 0


def main() -> int:
    archive, place, seed, count = sys.argv[1:]
    data = Path(archive).read_bytes()
    chance = random.Random(int(seed))
    taken = refused = 0
    for number in range(int(count)):
        mangled = altered(data, chance)
        step = chance.choice([1, 100, 512, 5000, 1 << 16])
        folder = f"{place}/{number}"
        os.mkdir(folder)
        pid = os.fork()
        if pid == 0:
            os._exit(unpack(mangled, folder, step, layer=bool(number % 2)))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        taken += status == 0
        refused += status == 1
        if status not in (0, 1):
            sys.stderr.write(f"number {number} ended with {status}\n")
        shutil.rmtree(folder)
    print(taken, refused)
    return 0


if __name__ == "__main__":
    sys.exit(main())
