"""The kernel's configuration, where it tells it.  On the start path of `nspawn doctor --brief`: slim."""

from __future__ import annotations

import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LARGEST = 4 << 20
_GZIP = 16 + zlib.MAX_WBITS


def paths() -> tuple[str, ...]:
    """Where it may be: CONFIG_IKCONFIG_PROC, which Android requires, and where distributions put it."""
    return ("/proc/config.gz", f"/boot/config-{os.uname().release}")


def read(places: Iterable[str] | None = None) -> Mapping[str, str] | None:
    """`y` or `m` by the option's name without CONFIG_; None where the kernel does not tell."""
    for path in paths() if places is None else places:
        try:
            with open(path, "rb") as file:
                data = file.read(_LARGEST)
            if path.endswith(".gz"):
                data = zlib.decompressobj(_GZIP).decompress(data, _LARGEST)
        except (OSError, zlib.error):
            continue
        found = {
            line[7:-2].decode("ascii", "replace"): chr(line[-1])
            for line in data.split(b"\n")
            if line[:7] == b"CONFIG_" and line[-2:] in (b"=y", b"=m")
        }
        if found:
            return found
    return None
