"""What a process that is about to sleep for long gives back to the machine."""

from __future__ import annotations

from nspawn.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def release() -> None:
    """Let go of what can be had again without loss.

    That is the heap's free pages, and the unchanged pages of the files that are mapped: the interpreter and
    its libraries, of which the kernel maps sixteen pages around each that is used once.  They stay in the
    page cache, where the kernel may take them for others sooner than from under a process that maps them.
    What is used again is mapped again, which takes a microsecond a time.
    """
    libc.malloc_trim()
    found = _ours()
    # The interpreter's own code last: whatever runs afterwards maps it again.
    found.sort(key=_length)
    for start, length in found:
        libc.madvise(start, length, libc.MADV_DONTNEED)


def _length(mapping: tuple[int, int]) -> int:
    return mapping[1]


def _ours() -> list[tuple[int, int]]:
    try:
        with open("/proc/self/smaps", "rb") as lines:
            return unchanged(lines)
    except (OSError, ValueError, IndexError):
        return []  # a kernel without CONFIG_PROC_PAGE_MONITOR, or of a shape that nobody knows yet


def unchanged(smaps: Iterable[bytes]) -> list[tuple[int, int]]:
    """(start, length) of the mappings that only show a file, as proc_pid_smaps(5) tells.

    MADV_DONTNEED forgets what was written to a private mapping.  So none that can be written, and none with
    a page of our own, be it swapped: the relocated data (RELRO) of a library is read-only and yet ours.
    """
    found: list[tuple[int, int]] = []
    start = length = 0
    for line in smaps:
        key, _, rest = line.partition(b" ")
        if key in (b"Anonymous:", b"Swap:"):
            if rest.split()[0] != b"0":
                length = 0
        elif key == b"VmFlags:":  # the last line of a mapping, since Linux 3.8
            if length:
                found.append((start, length))
            length = 0
        elif not key.endswith(b":"):
            first, _, end = key.partition(b"-")
            fields = rest.split(None, 4)  # permissions, offset, device, inode, path
            start = int(first, 16)
            shows_file = len(fields) == 5 and fields[4].startswith(b"/") and b"w" not in fields[0]
            length = int(end, 16) - start if shows_file else 0
    return found
