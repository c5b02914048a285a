"""The process that unpacks an archive, rooted in the target before the first entry.

Whatever an entry is called and wherever links lead, nothing outside the target can be reached (chroot(2)).

Arguments: "rootfs", "layer" or "check", the most bytes and the most entries, then absolute paths of which one
must be an executable file at the end.  Standard input: a line with the compression (tar, gz, bz2, xz), then
the archive.  Standard output: one JSON object, {"entries", "bytes", "skipped"} or {"error", "hint"}.  "check"
reads nothing and makes only the last check.
"""

from __future__ import annotations

import codecs
import importlib.machinery
import json
import os
import resource
import stat
import sys

from nspawn.images import decode
from nspawn.images.tarheaders import AGAIN, CUT, Refused
from nspawn.images.untar import Content, Untar

#: Of this process: an archive that needs more is made to.
_MOST_ADDRESSES = 1 << 30
#: For blocks of xz that are decoded beside each other, when there is plenty; else this part of what is left.
_MOST_BESIDE = 104 << 20
_PART = 4


def _enter_root() -> None:
    """Make the working folder the root; from here on nothing is imported: the files are the archive's."""
    for encoding in ("utf-8", "ascii", "latin-1"):
        codecs.lookup(encoding)
    os.chroot(".")
    os.chdir("/")
    sys.path.clear()
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    os.umask(0)


def _check(programs: list[str]) -> None:
    for path in programs:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return
    raise Refused(
        f"it has none of {', '.join(programs)}", "A root file system with a shell or an init is needed."
    )


def spare_memory(meminfo: str) -> int:
    """Bytes that decoding beside each other may take.  meminfo: what /proc/meminfo says."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return min(_MOST_BESIDE, int(line.split()[1]) * 1024 // _PART)
    return 0


def _spare_memory() -> int:
    try:
        with open("/proc/meminfo") as file:
            return spare_memory(file.read())
    except (OSError, ValueError, IndexError):
        return 0


def _line() -> str:
    """The line before the archive, and nothing of what follows."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise Refused("it ends in the middle", CUT)
        text += byte
    return text.decode().strip()


def _run(arguments: list[str]) -> dict[str, object]:
    kind, most_bytes, most_entries, *programs = arguments
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
    untar = Untar(int(most_bytes), int(most_entries), layer=kind == "layer")
    if kind == "check":
        _enter_root()
    else:
        compression = _line()
        content = Content(decode.opened(compression, len(os.sched_getaffinity(0)), _spare_memory()))
        _enter_root()
        # The end of a compressed stream is told by the stream; some builders of layers leave out the mark.
        untar.unpack(content, whole=compression == "tar" and kind != "layer")
    if programs:
        _check(programs)
    return {"entries": untar.entries, "bytes": untar.bytes, "skipped": untar.skipped}


def main(arguments: list[str]) -> int:
    """The exit status: 0, or 1 with the reason in the answer."""
    try:
        answer = _run(arguments)
    except Refused as error:
        answer = {"error": str(error), "hint": error.hint}
    except MemoryError:
        answer = {"error": "it needs too much memory", "hint": AGAIN}
    except Exception as error:  # noqa: BLE001  (hostile headers: OverflowError, ValueError, ...)
        answer = {"error": f"{type(error).__name__}: {error}", "hint": AGAIN}
    os.write(1, json.dumps(answer).encode())
    return 1 if "error" in answer else 0
