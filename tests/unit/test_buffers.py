"""What lies between the network and the reader."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest

from nspawn.images.buffers import Memory


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 2, 700])
def test_small_pieces_cost_little_more_than_their_bytes(traced: None, size: int) -> None:
    buffer = Memory(1 << 18)
    before = tracemalloc.get_traced_memory()[0]
    number = 0
    while not buffer.is_full:
        buffer.put(number.to_bytes(8, "little")[:1] * size)
        number += 1
    assert tracemalloc.get_traced_memory()[0] - before < 2 << 18


def test_what_is_put_is_taken_in_its_order() -> None:
    dice = random.Random(3)
    buffer = Memory(1 << 20)
    put, taken = bytearray(), bytearray()
    for _ in range(200):
        data = dice.randbytes(dice.choice([0, 1, 2, 511, 65535, 65536, 70000, 200_000]))
        buffer.put(data)
        put += data
        while dice.random() < 0.6:
            size = dice.choice([1, 3, 600, 65536, 100_000, 300_000])
            found = buffer.take(size)
            assert type(found) is bytes
            assert len(found) == min(size, len(put) - len(taken))
            taken += found
    while found := buffer.take(1 << 20):
        taken += found
    assert taken == put
    assert not buffer.is_full
