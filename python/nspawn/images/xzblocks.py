"""The process that compresses by xz on all processors: standard input to standard output.

Python's lzma has one thread for a stream.  So each piece is compressed by itself, and the blocks are put into
one stream, their sizes in their headers, as `xz -T0` writes it: a reader may decode them at once, too.
The format: https://tukaani.org/xz/xz-file-format.txt

Arguments: how many at once.
"""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

PIECE = 4 << 20
#: Much less time than the default, and 17 instead of 94 MB each, for a few percent more bytes.
PRESET = 2
_FLAGS = b"\0\4"  # CRC64
_CHECK = 8
_EDGE = 12  # bytes of the stream's header and of its footer
#: Written at once: who waits for a slow reader counts what has been written (proc(5), wchar).
_AT_ONCE = 1 << 16


def block(data: bytes) -> tuple[bytes, int]:
    """One block of the format, and its unpadded size."""
    alone = lzma.compress(data, check=lzma.CHECK_CRC64, preset=PRESET)
    index_size = (int.from_bytes(alone[-8:-4], "little") + 1) * 4
    index = alone[-_EDGE - index_size : -_EDGE]
    old = alone[_EDGE : -_EDGE - index_size]
    old_header = (old[0] + 1) * 4
    compressed = _read_number(index, 2)[0] - old_header - _CHECK
    # Behind the flags: the one filter, LZMA2, with a byte of properties.
    fields = b"\xc0" + _number(compressed) + _number(len(data)) + old[2:5]
    size = (1 + len(fields) + 4 + 3) // 4 * 4
    header = bytes((size // 4 - 1,)) + fields
    header = header.ljust(size - 4, b"\0")
    header += zlib.crc32(header).to_bytes(4, "little")
    return header + old[old_header:], size + compressed + _CHECK


def head() -> bytes:
    return b"\xfd7zXZ\0" + _FLAGS + zlib.crc32(_FLAGS).to_bytes(4, "little")


def tail(sizes: list[tuple[int, int]]) -> bytes:
    """The index and the footer.  sizes: (unpadded, of the content) of every block."""
    index = b"\0" + _number(len(sizes)) + b"".join(_number(one) + _number(two) for one, two in sizes)
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    end = (len(index) // 4 - 1).to_bytes(4, "little") + _FLAGS
    return index + zlib.crc32(end).to_bytes(4, "little") + end + b"YZ"


def _number(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _read(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view[:_AT_ONCE]) :]


def main() -> int:
    """The exit status: 0, or 1 with the reason on standard error."""
    at_once = max(1, int(sys.argv[1]))
    waiting: deque[tuple[Future[tuple[bytes, int]], int]] = deque()
    sizes: list[tuple[int, int]] = []

    def take() -> None:
        future, size = waiting.popleft()
        data, unpadded = future.result()
        sizes.append((unpadded, size))
        _write(data)

    try:
        with ThreadPoolExecutor(at_once) as pool:
            _write(head())
            while data := _read(PIECE):
                if len(waiting) >= at_once:
                    take()
                waiting.append((pool.submit(block, data), len(data)))
                del data
            while waiting:
                take()
        _write(tail(sizes))
    except BrokenPipeError:
        return 1
    except OSError as error:
        os.write(2, f"{error.strerror or error}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())
