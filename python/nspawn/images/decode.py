"""Decompression in a thread of its own: zlib, bz2 and lzma release the interpreter while they work.

What is decoded waits in a queue of bounded length, in pieces, for the one that writes files.
"""

from __future__ import annotations

import os
import threading
import zlib
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from nspawn.images.tarheaders import AGAIN, CUT, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Bytes that are read at once, and that a decoder gives at most at once.
CHUNK_IN = 1 << 16
CHUNK_OUT = 1 << 16
#: Pieces that wait at most.
_QUEUE = 64
#: Of a decoder: `xz -9` needs 65 MiB.
MOST_MEMORY = 256 << 20


class Decoder(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was seen."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more without further input."""

    @property
    def unused_data(self) -> bytes:
        """What follows the end."""

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """At most so many bytes."""


class Input:
    """Bytes with a way back.  read: gives some bytes, none at the end."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._data = b""
        self._at = 0

    def some(self) -> bytes:
        """What there is; none at the end."""
        if self._at < len(self._data):
            data = self._data[self._at :]
            self._data, self._at = b"", 0
            return data
        return self._read()

    def back(self, data: bytes) -> None:
        """Give back what was too much."""
        self._data, self._at = data + self._data[self._at :], 0

    def exactly(self, size: int) -> bytes:
        """Refused when there is less."""
        if len(self._data) - self._at < size:
            data = self.some()
            while len(data) < size:
                more = self._read()
                if not more:
                    raise Refused("it ends in the middle", CUT)
                data += more
            self._data, self._at = data, 0
        self._at += size
        return self._data[self._at - size : self._at]

    def zeros(self) -> int:
        """Pass over zeros; how many there were."""
        count = 0
        while data := self.some():
            rest = data.lstrip(b"\0")
            count += len(data) - len(rest)
            if rest:
                self.back(rest)
                break
        return count

    def ended(self) -> bool:
        """Whether nothing is left."""
        data = self.some()
        self.back(data)
        return not data


def stream(source: Input, decoder: Decoder) -> Iterator[bytes]:
    """What one compressed stream holds; what follows it stays in the source."""
    while not decoder.eof:
        data = b""
        if decoder.needs_input:
            data = source.some()
            if not data:
                raise Refused("it ends in the middle", CUT)
        piece = decoder.decompress(data, CHUNK_OUT)
        if piece:
            yield piece
    source.back(decoder.unused_data)


def gunzip(source: Input) -> Iterator[bytes]:
    """All members, and the zeros that may follow them."""
    while True:
        decoder = zlib.decompressobj(31)
        data = b""
        while not decoder.eof:
            data = data or source.some()
            try:
                piece = decoder.decompress(data, CHUNK_OUT)
            except zlib.error as error:
                raise Refused(f"its compression is damaged ({error})", AGAIN) from None
            if not data and not piece and not decoder.eof:
                raise Refused("it ends in the middle", CUT)
            data = decoder.unconsumed_tail
            if piece:
                yield piece
        source.back(decoder.unused_data)
        source.zeros()
        if source.ended():
            return


def bunzip2(source: Input, decoder: Callable[[], Decoder]) -> Iterator[bytes]:
    """All streams."""
    while True:
        try:
            yield from stream(source, decoder())
        except OSError as error:
            raise Refused(f"its compression is damaged ({error})", AGAIN) from None
        if source.ended():
            return


class Pump:
    """Runs the decoder in a thread and hands over its pieces, the last of which is empty."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(_QUEUE):
            self._room.put(None)
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self) -> bytes:
        piece = self._ready.get()
        if isinstance(piece, BaseException):
            raise piece
        self._room.put(None)
        return piece

    def _run(self) -> None:
        wait, put = self._room.get, self._ready.put
        try:
            for piece in self._pieces:
                wait()
                put(piece)
            put(b"")
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is raised where it is awaited)
            put(error)


def standard_input() -> bytes:
    """Some bytes of it."""
    return os.read(0, CHUNK_IN)


def opened(compression: str, cores: int, memory: int) -> Callable[[], bytes]:
    """A function that gives the next piece of what standard input holds; none at the end.

    memory: bytes that may be spent on several decoders at once.  All modules are imported when it returns.
    """
    source = Input(standard_input)
    if compression == "gz":
        return Pump(gunzip(source))
    if compression == "bz2":
        import bz2

        return Pump(bunzip2(source, bz2.BZ2Decompressor))
    if compression == "xz":
        from nspawn.images import xz

        return xz.opened(source, cores, memory)
    return lambda: os.read(0, 1 << 18)
