"""What packs and unpacks zstd: the program, or a filter of ours on the library that comes along."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from typing import TYPE_CHECKING

from nspawn.errors import Unsupported

if TYPE_CHECKING:
    import subprocess

_FILTER = f"{os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}/entry/zstd.py"
_MOST_MEMORY = "--memory=128MB"
#: Address space of a filter that unpacks: the window, threads and libraries.
_MOST_ADDRESSES = 512 << 20


def found() -> str:
    """What does it: the program's path, or the library; "" when neither is here."""
    path = shutil.which("zstd")
    if path:
        return path
    from nspawn.kernel import zstd

    return zstd.find()


def command(what: str, *, compress: bool = False) -> list[str]:
    """The command of a filter from standard input to standard output.

    what: does not happen without it, for the error.  Raises Unsupported when there is nothing to do it.
    """
    path = shutil.which("zstd")
    if path:
        return [path, "-q", "-T0", "-c"] if compress else [path, "-dcq", _MOST_MEMORY]
    if not found():
        hint = "Install zstd, or use xz." if compress else "Install zstd, or use gzip or xz."
        raise Unsupported(what, "zstd is needed for it, which is not here", hint)
    return [sys.executable, "-I", "-S", "-B", _FILTER, "compress" if compress else "decompress"]


def confine(filter_: subprocess.Popen[bytes]) -> None:
    """Limit the memory of a filter that unpacks; before it is given anything to read.

    The program takes frames of xz and lzma too, after one of zstd, and its own limit does not hold for those.
    """
    resource.prlimit(filter_.pid, resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
