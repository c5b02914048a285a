"""What of a process is only the picture of a file: parsed from smaps, and let go of for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nspawn.kernel import memory

PYTHON = Path(memory.__file__).parents[2]

TEXT = "401000-6fa000 r-xp 00001000 fe:01 42 /usr/bin/python3"


def area(head: str, anonymous: int = 0, swap: int = 0, *, flags: bool = True) -> list[bytes]:
    """One mapping as the kernel shows it, shortened."""
    lines = [head, "Size: 100 kB", "Rss: 64 kB", "Private_Clean: 64 kB", f"Anonymous: {anonymous:8} kB"]
    lines += ["AnonHugePages: 0 kB", f"Swap: {swap:8} kB", "SwapPss: 0 kB", "THPeligible: 0"]
    return [f"{line}\n".encode() for line in [*lines, *(["VmFlags: rd ex mr"] if flags else [])]]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (area(TEXT), [(0x401000, 0x2F9000)]),
        (area("7f00-9f00 r--p 00000000 fe:01 7 /lib/with a blank.so"), [(0x7F00, 0x2000)]),
        (area("7f00-9f00 r--s 00000000 fe:01 7 /usr/lib/gconv-modules.cache"), [(0x7F00, 0x2000)]),
        # Relocated data: ours, although it can no longer be written, and still ours in zram.
        (area("7f00-9f00 r--p 00100000 fe:01 7 /lib/libc.so.6", anonymous=16), []),
        (area("7f00-9f00 r--p 00100000 fe:01 7 /lib/libc.so.6", swap=16), []),
        (area("7f00-9f00 rw-p 00100000 fe:01 7 /lib/libc.so.6"), []),
        (area("7f00-9f00 r--p 00000000 00:00 0 "), []),
        (area("7f00-9f00 r-xp 00000000 00:00 0 [vdso]"), []),
        (area("7f00-9f00 rw-p 00000000 00:00 0 [heap]"), []),
        # Each mapping for itself; one whose end is not seen is left alone.
        (
            [
                *area(TEXT),
                *area("7f00-9f00 r--p 0 fe:01 7 /lib/a", anonymous=4),
                *area("a000-b000 r--p 0 0 1 /b"),
            ],
            [(0x401000, 0x2F9000), (0xA000, 0x1000)],
        ),
        ([*area(TEXT, flags=False), *area("7f00-9f00 rw-p 0 fe:01 7 /lib/a")], []),
        ([], []),
    ],
)
def test_only_what_shows_a_file_unchanged_is_found(
    lines: list[bytes], expected: list[tuple[int, int]]
) -> None:
    assert memory.unchanged(lines) == expected


RELEASE = """
import sys
sys.path.insert(0, sys.argv[1])
from nspawn.kernel import memory

def pages():
    with open("/proc/self/smaps_rollup") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file if line.endswith("kB\\n")}
    return sizes["Rss"] - sizes["Anonymous"], sizes["Anonymous"]

import ctypes, json, zlib
words = {str(n): str(n) * 3 for n in range(20000)}
before = pages()
for _ in range(3):
    memory.release()
after = pages()
assert json.loads(json.dumps(words)) == words and zlib.decompress(zlib.compress(b"x" * 99999)) == b"x" * 99999
print(*before, *after)
"""


def test_a_process_lets_go_of_files_and_works_on() -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RELEASE, str(PYTHON)], capture_output=True, text=True, check=True
    )
    files, own, files_after, own_after = map(int, run.stdout.split())
    assert files_after < files * 0.7
    assert own_after > own * 0.8  # what is written is kept
