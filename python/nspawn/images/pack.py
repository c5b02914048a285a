"""The process that packs or copies a root file system: started with `-I -S`, rooted in it.

Whatever lies in there, nothing else can be reached: not by a link, not by a name.  A copy's target is reached
only by a descriptor from before.

Arguments: `tar` or `copy`, the descriptor for the progress, and of the target (-1 with `tar`).  Standard
input: a JSON object, {"mounted": paths, "name", "data": of the first member, or "", "time": seconds}.
Standard output: the archive.  Progress: a JSON object a line, {"total"}, {"done"}, and at the end {"counts"}
or {"error"}.
"""

from __future__ import annotations

import codecs
import errno
import importlib.machinery
import json
import os
import sys
import time
from dataclasses import asdict

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from nspawn.images import copier, tarwriter, walk

#: Seconds between two lines of progress.
_PACE = 0.1


class Teller:
    """Writes the progress to the descriptor.  Its reader gone, the process ends: nobody wants the work."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = 0.0
        self._done = 0

    def tell(self, **fields: object) -> None:
        os.write(self._descriptor, json.dumps(fields).encode() + b"\n")

    def tick(self, count: int = 0) -> None:
        """So many bytes of work more."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= _PACE:
            self._last = now
            self.tell(done=self._done)


def _enter_root() -> None:
    """Make the working folder the root; from here on nothing is imported: the files are the tree's."""
    for encoding in ("utf-8", "ascii", "latin-1"):
        codecs.lookup(encoding)
    os.chroot(".")
    os.chdir("/")
    sys.path.clear()
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    os.umask(0)


def _run(what: str, target: int, order: dict[str, object], teller: Teller) -> None:
    mounted = order["mounted"]
    assert isinstance(mounted, list)
    paths = frozenset(mounted)
    _enter_root()
    teller.tell(total=walk.total(paths, teller.tick))
    counts = walk.Counts()
    sink: tarwriter.TarWriter | copier.Copier
    if what == "tar":
        sink = tarwriter.TarWriter(1, counts, teller.tick)
        if order["name"]:
            sink.member(str(order["name"]), str(order["data"]).encode(), int(str(order["time"])))
    else:
        sink = copier.Copier(target, counts, teller.tick)
    # The first member has that name in the archive, and an import takes it away.
    without = str(order["name"]) if what == "tar" else ""
    for entry in walk.walk(paths, counts, without):
        try:
            sink.add(entry)
        except BrokenPipeError:
            raise
        except OSError as error:
            error.filename = entry.name
            raise
    sink.close()
    teller.tell(counts=asdict(counts))


def main() -> int:
    """The exit status: 0, or 1 with the reason in the last line of the progress."""
    what, progress, target = sys.argv[1:]
    teller = Teller(int(progress))
    order = json.load(sys.stdin.buffer)
    try:
        _run(what, int(target), order, teller)
        return 0
    except BrokenPipeError:
        return 1  # the archive's reader is gone, or the progress's: they know why
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        place = f"{ascii(error.filename)[1:-1]}: " if isinstance(error.filename, str) else ""
        teller.tell(error=f"{place}{error.strerror or error}", full=full)
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent has to tell it)
        teller.tell(error=f"{type(error).__name__}: {error}", full=False)
    return 1


if __name__ == "__main__":
    os._exit(main())
