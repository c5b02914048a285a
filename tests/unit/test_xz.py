"""xz of one and of several blocks, as the xz program writes it, and damaged."""

from __future__ import annotations

import io
import os
import random
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from nspawn.images import unpack, xz
from nspawn.images.decode import Input
from nspawn.images.tarheaders import Refused

_PLENTY = 64 << 20
_CONTENT = random.Random(5).randbytes(900_000) + bytes(3_000_000) + b"text " * 200_000
_BLOCKS = ("-T2", "--block-size=512KiB")
#: Nothing of one test keeps another waiting.
pytestmark = pytest.mark.timeout(60)


def packed(*options: str, content: bytes = _CONTENT) -> bytes:
    """What the xz program makes of it."""
    return subprocess.run(
        ["xz", "-c1", *options], input=content, stdout=subprocess.PIPE, check=True, timeout=60
    ).stdout


def unpacked(data: bytes, cores: int, memory: int = _PLENTY, step: int = 50_000) -> bytes:
    source = io.BytesIO(data)
    piece = xz.opened(Input(lambda: source.read(step)), cores, memory)
    return b"".join(iter(piece, b""))


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-T1", "--block-size=512KiB"),
        _BLOCKS,
        (*_BLOCKS, "--check=crc32"),
        (*_BLOCKS, "--check=sha256"),
        (*_BLOCKS, "--check=none"),
        (*_BLOCKS, "--x86", "--lzma2=dict=1MiB"),
        ("-T2", "--block-size=3MiB"),
    ],
)
def test_what_xz_writes_is_read(options: tuple[str, ...], cores: int) -> None:
    data = packed(*options)
    assert unpacked(data, cores) == _CONTENT
    assert (
        unpacked(data, cores, step=7 if len(data) < 3_000_000 and cores == 2 and not options else 4099)
        == _CONTENT
    )


@pytest.mark.parametrize("cores", [1, 4])
def test_streams_and_padding(cores: int) -> None:
    one, two, none = packed(*_BLOCKS), packed(content=b"end"), packed(content=b"")
    assert unpacked(one + two + bytes(8) + none + one + bytes(4), cores) == _CONTENT + b"end" + _CONTENT
    assert unpacked(none, cores) == b""
    for wrong in (bytes(3), b"garbage, and more of it", one[:-1], one[:6], bytes(4) + b"x"):
        with pytest.raises(Refused):
            unpacked(one + wrong, cores)


def test_several_threads_are_used_only_where_it_pays() -> None:
    def blocks(data: bytes) -> xz.Block:
        source = Input(io.BytesIO(data[12:]).read)
        block = xz.next_block(source)
        assert block is not None
        return block

    told, whole, small = (
        blocks(packed(*_BLOCKS)),
        blocks(packed()),
        blocks(packed("-T2", "--block-size=64KiB")),
    )
    assert told.told
    assert (told.size, told.dictionary) == (512 << 10, 512 << 10) or told.dictionary == 1 << 20
    assert xz.worthwhile(told, _PLENTY)
    assert not xz.worthwhile(told, told.cost())
    assert not whole.told
    assert not xz.worthwhile(whole, _PLENTY)
    assert not xz.worthwhile(small, _PLENTY)


def test_blocks_too_big_for_the_memory_are_decoded_alone() -> None:
    """The first is small, and what follows does not fit."""
    sizes = "600KiB,3MiB,600KiB,0"
    data = packed("-T2", f"--block-list={sizes}")
    assert unpacked(data, 4, memory=10 << 20) == _CONTENT


def test_memory_in_use_is_bounded() -> None:
    """What is on its way never passes the budget, however slowly it is taken."""
    source = io.BytesIO(packed(*_BLOCKS, content=bytes(30_000_000)))
    head = source.read(12)
    blocks = xz.Blocks(Input(lambda: source.read(5000)), head, 4, 6 << 20)
    used = []
    total = 0
    for piece in blocks.pieces():
        used.append(blocks._budget._used)
        total += len(piece)
    assert total == 30_000_000
    assert max(used) <= 6 << 20
    assert blocks._budget._used == 0


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize("options", [(), _BLOCKS])
def test_damage_anywhere_is_found(options: tuple[str, ...], cores: int) -> None:
    data = packed(*options, content=_CONTENT[:700_000])
    chance = random.Random(7)
    places = {0, 6, 8, 12, 13, 14, 20, len(data) - 1, len(data) - 5, len(data) - 9, len(data) - 13}
    places |= {chance.randrange(len(data)) for _ in range(12)} | set(range(len(data) - 60, len(data), 9))
    for place in sorted(places):
        altered = bytearray(data)
        altered[place] ^= 1 << chance.randrange(8)
        with pytest.raises(Refused):
            unpacked(bytes(altered), cores)
    for length in (5, 11, 12, 20, 1000, len(data) - 30, len(data) - 12, len(data) - 4, len(data) - 1):
        with pytest.raises(Refused):
            unpacked(data[:length], cores)


def test_a_block_that_is_not_in_the_index_is_refused() -> None:
    """Lies that only the index tells: one block taken away, all else as it was."""
    data = packed(*_BLOCKS, content=bytes(3_000_000))
    source = Input(io.BytesIO(data[12:]).read)
    block = xz.next_block(source)
    assert block is not None
    assert block.compressed is not None
    length = len(block.header) + block.compressed + -block.compressed % 4 + 8
    with pytest.raises(Refused, match="index"):
        unpacked(data[:12] + data[12 + length :], 4)


def test_a_dictionary_of_a_gigabyte_is_refused() -> None:
    data = bytearray(packed("-T1", content=b"x" * 1000))
    block = xz.Block(bytes(data[12 : 12 + 4 * (data[12] + 1)]))
    at = 12 + block.header.index(b"\x21\x01") + 2
    data[at] = 38  # 2 GiB
    end = 12 + len(block.header) - 4
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    with pytest.raises(Refused, match="emory"):
        unpacked(bytes(data), 1)


def test_an_error_of_the_source_is_passed_on() -> None:
    data = packed(*_BLOCKS)

    def failing(after: int) -> Callable[[], bytes]:
        parts: Iterator[bytes] = iter([data[:after]])

        def read() -> bytes:
            for part in parts:
                return part
            raise OSError(5, "Input/output error")

        return read

    for cores in (1, 4):
        piece = xz.opened(Input(failing(300_000)), cores, _PLENTY)
        with pytest.raises(OSError, match="Input/output"):
            list(iter(piece, b""))


def test_threads_end_with_their_stream() -> None:
    before = threading.active_count()
    unpacked(packed(*_BLOCKS), 4)
    for _ in range(200):
        if threading.active_count() <= before:
            break
        os.sched_yield()
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 20, (1 << 56) - 1])
def test_numbers_go_there_and_back(value: int) -> None:
    text = xz.packed(value)
    assert xz.varint(b"x" + text, 1) == (value, 1 + len(text))


@pytest.mark.parametrize(
    ("meminfo", "spare"),
    [
        ("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n", 104 << 20),
        ("MemAvailable: 200000 kB\n", 51_200_000),
        ("MemAvailable:     0 kB\n", 0),
        ("MemFree: 1 kB\n", 0),
    ],
)
def test_memory_beside_each_other_is_what_can_be_spared(meminfo: str, spare: int) -> None:
    assert unpack.spare_memory(meminfo) == spare
