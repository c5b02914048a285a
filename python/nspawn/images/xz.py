"""The xz format: streams of one block by lzma as it is, those of several blocks on all cores.

`xz -T` tells in the header of each block how long it is, so that the next can be found without decoding
this one; the index at the end tells it too, but it comes too late for a stream.  A block becomes a stream
of its own, with a header, an index and a footer made for it: so it is lzma that checks it, including its
CRC.  Facts: "The .xz File Format", version 1.2.1.
"""

from __future__ import annotations

import lzma
import struct
import threading
import zlib
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from nspawn.images.decode import CHUNK_OUT, MOST_MEMORY, Input, Pump, stream
from nspawn.images.tarheaders import AGAIN, CUT, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MAGIC = b"\xfd7zXZ\0"
_LZMA2 = 0x21
#: Bytes of a check, by its number.
_CHECKS = (0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64)
#: Below this a block is not worth a thread.
_LEAST_BLOCK = 1 << 18
#: What a decoder needs besides its dictionary.
_DECODER = 1 << 20
_MOST_THREADS = 8


class Block:
    """A block as its header describes it; sizes are None where they are not told."""

    __slots__ = ("compressed", "dictionary", "header", "size")

    def __init__(self, header: bytes) -> None:
        if zlib.crc32(header[:-4]) != int.from_bytes(header[-4:], "little"):
            raise _damaged("the header of a block")
        self.header = header
        flags = header[1]
        at = 2
        self.compressed: int | None = None
        self.size: int | None = None
        self.dictionary = 0
        try:
            if flags & 0x40:
                self.compressed, at = varint(header, at)
            if flags & 0x80:
                self.size, at = varint(header, at)
            for _filter in range((flags & 3) + 1):
                kind, at = varint(header, at)
                length, at = varint(header, at)
                if kind == _LZMA2:
                    bits = header[at] & 63
                    self.dictionary = (2 | bits & 1) << (bits // 2 + 11)
                at += length
        except IndexError:
            raise _damaged("the header of a block") from None

    @property
    def told(self) -> bool:
        """Whether its sizes are."""
        return self.compressed is not None and self.size is not None

    def cost(self) -> int:
        """Bytes of memory to decode it beside others."""
        return (self.compressed or 0) + (self.size or 0) + self.dictionary + _DECODER


class Budget:
    """Memory that threads share."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until there is room; when nothing is used, there is room for anything."""
        with self._changed:
            while self._used and self._used + size > self._size:
                self._changed.wait()
            self._used += size

    def give(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify()


class Job:
    """A block on its way.

    parts: as it came.  pieces: of the result, in order; an empty one or an exception ends them.
    """

    __slots__ = ("parts", "pieces")

    def __init__(self, parts: Iterable[bytes] = ()) -> None:
        self.parts = deque(parts)
        self.pieces: SimpleQueue[bytes | BaseException] = SimpleQueue()


class Blocks:
    """Decodes the blocks of one stream.

    source: stands behind the stream's header.  memory: for all that is on its way.
    """

    def __init__(self, source: Input, head: bytes, threads: int, memory: int) -> None:
        self._source = source
        self._head = head
        self._check = _CHECKS[head[7] & 15]
        self._budget = Budget(memory)
        self._memory = memory
        self._work: SimpleQueue[tuple[Job, Block] | None] = SimpleQueue()
        self._order: SimpleQueue[Job | BaseException | None] = SimpleQueue()
        self._threads = threads
        self._index = 0  # a sum over what the index must say
        self._count = 0

    def pieces(self) -> Iterator[bytes]:
        """The content, to the end of the stream."""
        for work in (self._read, *[self._decode] * self._threads):
            threading.Thread(target=work, daemon=True).start()
        while (job := self._order.get()) is not None:
            if isinstance(job, BaseException):
                raise job
            while piece := job.pieces.get():
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
                self._budget.give(len(piece))
        for _ in range(self._threads):
            self._work.put(None)

    def _read(self) -> None:
        """Find the blocks and hand them out."""
        try:
            while (block := next_block(self._source)) is not None:
                if block.compressed is None or block.size is None:
                    raise Refused("its blocks are of several kinds", "Pack it again by xz.")
                record = struct.pack("<QQ", self._unpadded(block), block.size)
                self._index = zlib.crc32(record, self._index)
                self._count += 1
                if 2 * block.cost() > self._memory:
                    self._alone(block)
                else:
                    self._beside(block)
            self._close()
            self._order.put(None)
        except BaseException as error:  # noqa: BLE001  (raised where the content is awaited)
            self._order.put(error)

    def _unpadded(self, block: Block) -> int:
        return len(block.header) + (block.compressed or 0) + self._check

    def _rest(self, block: Block) -> int:
        """What follows the header of a block."""
        compressed = block.compressed or 0
        return compressed + -compressed % 4 + self._check

    def _parts(self, block: Block) -> Iterator[bytes]:
        """The block as a stream of its own."""
        yield self._head + block.header
        left = self._rest(block)
        while left:
            data = self._source.some()
            if not data:
                raise Refused("it ends in the middle", CUT)
            if len(data) > left:
                self._source.back(data[left:])
                data = data[:left]
            left -= len(data)
            yield data
        yield tail(self._head, [(self._unpadded(block), block.size or 0)])

    def _beside(self, block: Block) -> None:
        """Decoded by one of the threads, while others decode others."""
        self._budget.take(block.cost())
        job = Job(self._parts(block))
        self._order.put(job)
        self._work.put((job, block))

    def _alone(self, block: Block) -> None:
        """Too big to be held: decoded here, piece by piece."""
        job = Job()
        self._order.put(job)
        for piece in _decoded(self._parts(block)):
            self._budget.take(len(piece))
            job.pieces.put(piece)
        job.pieces.put(b"")

    def _decode(self) -> None:
        while (work := self._work.get()) is not None:
            job, block = work
            left = block.cost()
            try:
                for piece in _decoded(_taken(job.parts)):
                    left -= len(piece)
                    job.pieces.put(piece)
            except BaseException as error:  # noqa: BLE001  (raised where the content is awaited)
                job.pieces.put(error)
                return
            self._budget.give(left)
            job.pieces.put(b"")

    def _close(self) -> None:
        """Compare the index with what was there; then the footer."""
        read = 0
        crc = Crc(self._source, b"\0")
        count = crc.varint()
        if count != self._count:
            raise _damaged("the index")
        for _ in range(count):
            read = zlib.crc32(struct.pack("<QQ", crc.varint(), crc.varint()), read)
        crc.padding()
        if read != self._index or crc.sum != self._source.exactly(4):
            raise _damaged("the index")
        if self._source.exactly(12) != footer(self._head, crc.size + 4):
            raise _damaged("the end")


class Crc:
    """Reads the index, summing it."""

    def __init__(self, source: Input, before: bytes) -> None:
        self._source = source
        self._crc = zlib.crc32(before)
        self.size = len(before)

    def _byte(self) -> int:
        byte = self._source.exactly(1)
        self._crc = zlib.crc32(byte, self._crc)
        self.size += 1
        return byte[0]

    def varint(self) -> int:
        value = shift = 0
        while shift < 63:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise _damaged("the index")

    def padding(self) -> None:
        while self.size % 4:
            if self._byte():
                raise _damaged("the index")

    @property
    def sum(self) -> bytes:
        return self._crc.to_bytes(4, "little")


def opened(source: Input, cores: int, memory: int) -> Callable[[], bytes]:
    """A function that gives the next piece of all streams; none at the end."""
    _head, block = _begin(source)
    if cores > 1 and block is not None and worthwhile(block, memory):
        pieces = _streams(source, cores, memory)
        return lambda: next(pieces, b"")
    return Pump(_streams(source, 1, 0))


def _begin(source: Input) -> tuple[bytes, Block | None]:
    """The header of a stream and its first block, if it has one; the source is left as it was."""
    head = source.exactly(12)
    _check_head(head)
    block = next_block(source)
    source.back(head + (block.header if block is not None else b"\0"))
    return head, block


def _streams(source: Input, cores: int, memory: int) -> Iterator[bytes]:
    while True:
        head, block = _begin(source)
        try:
            if cores > 1 and block is not None and worthwhile(block, memory):
                source.exactly(len(head))
                yield from Blocks(source, head, min(cores, _MOST_THREADS), memory).pieces()
            else:
                yield from stream(source, _decoder())
        except lzma.LZMAError as error:
            raise Refused(f"its compression is damaged ({error})", AGAIN) from None
        if source.zeros() % 4:
            raise _damaged("what follows a stream")
        if source.ended():
            return


def worthwhile(block: Block, memory: int) -> bool:
    """Whether blocks like this one are decoded beside each other."""
    return block.told and (block.size or 0) >= _LEAST_BLOCK and 2 * block.cost() <= memory


def next_block(source: Input) -> Block | None:
    """The header of the next block; None when the index begins, of which the first byte is taken."""
    first = source.exactly(1)
    if first == b"\0":
        return None
    return Block(first + source.exactly(4 * first[0] + 3))


def _check_head(head: bytes) -> None:
    if head[:6] != _MAGIC:
        raise Refused("something else follows its end", AGAIN)
    if head[6] or head[7] > 15 or zlib.crc32(head[6:8]) != int.from_bytes(head[8:12], "little"):
        raise _damaged("the header")


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MOST_MEMORY)


def _taken(parts: deque[bytes]) -> Iterator[bytes]:
    """Each part is let go once it is used."""
    while parts:
        yield parts.popleft()


def _decoded(parts: Iterator[bytes]) -> Iterator[bytes]:
    decoder = _decoder()
    for part in parts:
        piece = decoder.decompress(part, CHUNK_OUT)
        while piece or not (decoder.needs_input or decoder.eof):
            if piece:
                yield piece
            if decoder.eof:
                break
            piece = b"" if decoder.needs_input else decoder.decompress(b"", CHUNK_OUT)
    if not decoder.eof or decoder.unused_data:
        raise _damaged("a block")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            return value, at
        if shift > 56:
            raise IndexError


def packed(value: int) -> bytes:
    """A number of seven bits a byte."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def tail(head: bytes, records: list[tuple[int, int]]) -> bytes:
    """Index and footer of a stream of these blocks: (size without padding, size decoded)."""
    index = b"\0" + packed(len(records))
    for unpadded, size in records:
        index += packed(unpadded) + packed(size)
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    return index + footer(head, len(index))


def footer(head: bytes, index: int) -> bytes:
    """The last twelve bytes of a stream; index: its size."""
    text = (index // 4 - 1).to_bytes(4, "little") + head[6:8]
    return zlib.crc32(text).to_bytes(4, "little") + text + b"YZ"


def _damaged(what: str) -> Refused:
    return Refused(f"its compression is damaged ({what})", AGAIN)
