"""What the kernel kept of its last words: /sys/fs/pstore, and /proc/last_kmsg of old kernels.

The part of memory that it is in was read back after a reset: anything may be in it.
"""

from __future__ import annotations

import os
import stat

_PSTORE = "/sys/fs/pstore"
_LAST_KMSG = "/proc/last_kmsg"
#: Bytes of one file that are kept: its end, where a panic is.
_LONGEST = 32 * 1024
_MOST_FILES = 8
#: The likeliest to tell first: a panic's own dump, then the console until the end.
_ORDER = ("dmesg", "console", "pmsg")


def read(folder: str = _PSTORE, last_kmsg: str = _LAST_KMSG) -> list[tuple[str, str]]:
    """(file name, text) of each, the likeliest to tell first; what cannot be read is left out."""
    try:
        names = sorted(os.listdir(folder), key=_rank)
    except OSError:
        names = []
    found = []
    for name in names[:_MOST_FILES]:
        text = _tail(f"{folder}/{name}")
        if text:
            found.append((clean_name(name), text))
    text = _tail(last_kmsg)
    if text:
        found.append((os.path.basename(last_kmsg), text))
    return found


def _rank(name: str) -> tuple[int, str]:
    kind = name.partition("-")[0]
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), name)


def _tail(path: str) -> str:
    """The end of a file as text, "" when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        data = b""
        # Read through: a file of /proc tells no size, and one of pstore that of the compressed record.
        while piece := os.read(descriptor, _LONGEST):
            cut = len(data) + len(piece) > _LONGEST
            data = (data + piece)[-_LONGEST:]
            if cut:
                data = data[data.find(b"\n") + 1 :]
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return clean(data)


def clean(data: bytes) -> str:
    """Plain lines: nothing in it acts on a terminal, hides, or turns the direction of writing."""
    lines = data.replace(b"\r\n", b"\n").decode("utf-8", "replace").split("\n")
    plain = ("".join(_shown(char) for char in line).rstrip() for line in lines)
    return "\n".join(plain).strip("\n")


def clean_name(name: str) -> str:
    return "".join(_shown(char) for char in name)[:255]


def _shown(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else "?"
