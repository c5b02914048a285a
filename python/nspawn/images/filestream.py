"""A stream from a file, a pipe or an upload, checked while it is read."""

from __future__ import annotations

import hashlib
import io
import os
import select
import stat
from collections.abc import Callable
from typing import Any, Protocol, Self, cast

from nspawn.errors import Damaged, NspawnError
from nspawn.model.blob import ALGORITHM
from nspawn.model.progress import Asked, Cancelled

_PIECE = 1 << 18
#: Seconds between two looks at whether it is still wanted.
_STEP = 0.1


class Readable(Protocol):
    """What comes in order."""

    def read(self, size: int = -1, /) -> bytes: ...


class FileStream:
    """source: what to read.  name: for errors.  digest, size: what it must be, "" and None when unknown.

    own: the source is closed with the stream.  hint: what to do when it is damaged.  damaged: called then.
    """

    def __init__(
        self,
        source: Readable,
        name: str,
        *,
        digest: str = "",
        size: int | None = None,
        cancelled: Asked = lambda: False,
        own: bool = True,
        hint: str = "",
        damaged: Callable[[], None] | None = None,
    ) -> None:
        self.size = size
        self.done = 0
        self._source = cast("Any", source)
        self._name = name
        self._digest = digest
        self._hash = hashlib.sha256()
        self._cancelled = cancelled
        self._own = own
        self._hint = hint
        self._damaged = damaged
        self._waits: select.poll | None = None
        #: What was read ahead into the buffer of an open pipe, no poll tells.
        self._ahead = False
        try:
            status = os.fstat(self._source.fileno())
        except (OSError, ValueError, AttributeError):
            return  # bytes in memory, or a web server's input
        if stat.S_ISREG(status.st_mode):
            left = status.st_size - self._source.tell()
            if size is None:
                self.size = left
            elif left != size:
                self._wrong_size(left)
        else:
            self._waits = select.poll()
            self._waits.register(self._source.fileno(), select.POLLIN)
            self._ahead = hasattr(source, "read1")

    def read(self, size: int = -1, /) -> bytes:
        """As Stream.read."""
        if self._cancelled():
            raise Cancelled
        try:
            data = self._some(_PIECE if size < 0 else min(size, _PIECE))
        except OSError as error:
            raise NspawnError(f"{self._name} cannot be read", error.strerror or str(error)) from None
        if not data and size:
            self._check()
        self._hash.update(data)
        self.done += len(data)
        if self.size is not None and self.done > self.size:
            self._wrong_size(self.done)
        return data

    def _some(self, size: int) -> bytes:
        if self._waits is None:
            found: bytes = self._source.read(size)
            return found or b""
        if self._ahead and size:
            self._ahead = size < io.DEFAULT_BUFFER_SIZE
            ahead: bytes = self._source.read1(size)
            return ahead
        while not self._waits.poll(_STEP * 1000):
            if self._cancelled():
                raise Cancelled
        return os.read(self._source.fileno(), size)

    def close(self) -> None:
        if self._own:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check(self) -> None:
        if self.size is not None and self.done != self.size:
            self._wrong_size(self.done)
        found = f"{ALGORITHM}:{self._hash.hexdigest()}"
        if self._digest and found != self._digest:
            self._wrong(f"its hash is {found}, not {self._digest}")

    def _wrong_size(self, found: int) -> None:
        self._wrong(f"it has {found} bytes, not {self.size}")

    def _wrong(self, why: str) -> None:
        if self._damaged is not None:
            self._damaged()
        raise Damaged(f"{self._name} is not what it should be", why, self._hint)
