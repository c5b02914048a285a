"""The filter on libzstd, against the program zstd."""

from __future__ import annotations

import io
import lzma
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nspawn.errors import Damaged, Unsupported
from nspawn.images import zstandard
from nspawn.images.spool import beginning, spool
from nspawn.kernel import zstd
from tests.support.tars import Archive, extract


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)


def _through(command: list[str], data: bytes, *, status: int = 0) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert status == 0 or done.stderr
    return done.stdout


def _program(*words: str) -> list[str]:
    return ["zstd", "-q", *words, "-c"]


CONTENTS = {
    "nothing": b"",
    "little": b"x",
    "zeros": bytes(5_000_000),
    "noise": random.Random(1).randbytes(1_000_001),
    "text": b"".join(b"line %d\n" % number for number in range(200_000)),
    "a piece": bytes(1 << 17),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_it_reads_what_the_program_writes_and_the_other_way(no_program: None, name: str) -> None:
    data = CONTENTS[name]
    packed = _through(_program(), data)
    ours, own = zstandard.command("it"), zstandard.command("it", compress=True)
    assert ours[0] == own[0] == sys.executable
    assert _through(ours, packed) == data
    assert _through(_program("-d"), _through(own, data)) == data
    assert _through(ours, packed + packed) == data * 2  # frames behind each other


def test_frames_with_large_windows(no_program: None) -> None:
    noise = random.Random(2).randbytes(20 << 20)
    assert _through(zstandard.command("it"), _through(_program("--long=27", "-1"), noise * 2)) == noise * 2
    packed = _through(_program("--long=28", "--ultra", "-1"), bytes(300 << 20))
    assert _through(zstandard.command("it"), packed, status=1) == b""


def test_what_is_damaged(no_program: None) -> None:
    packed = _through(_program(), CONTENTS["text"])
    for wrong in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed + b"x",
        b"no zstd at all",
        b"\x28\xb5\x2f\xfd",
    ):
        _through(zstandard.command("it"), wrong, status=1)
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    _through(zstandard.command("it"), bytes(flipped), status=1)


def test_a_reader_that_leaves(no_program: None) -> None:
    """No message and no trace of the interpreter."""
    packed = _through(_program(), bytes(50_000_000))
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(zstandard.command("it"), input=packed, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_program_is_taken_where_it_is() -> None:
    assert zstandard.found() == zstandard.command("it")[0] == shutil.which("zstd")


def test_without_both(no_program: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert zstandard.found() == zstd.find() == "libzstd.so.1"
    monkeypatch.setattr(zstd, "find", lambda: "")
    assert zstandard.found() == ""
    with pytest.raises(Unsupported, match="it: zstd is needed"):
        zstandard.command("it")


def _hungry() -> bytes:
    """A frame of zstd, then lzma that asks for a dictionary of 1 GiB: the program unpacks both."""
    packed = bytearray(lzma.compress(bytes(20_000), format=lzma.FORMAT_ALONE))
    packed[1:5] = (1 << 30).to_bytes(4, "little")
    return _through(_program(), Archive().shell().data()) + packed


def test_an_archive_cannot_make_the_program_take_memory(needs_root: None, tmp_path: Path) -> None:
    assert len(_through(["zstd", "-dcq"], _hungry())) > 20_000
    with pytest.raises(Damaged):
        extract(_hungry(), tmp_path)


def test_an_image_that_is_copied_cannot_either(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="zstd cannot unpack it"):
        spool(io.BytesIO(_hungry()), _hungry(), str(tmp_path), lambda _step: None, lambda: False)
    begun = beginning(_hungry(), 1 << 20)
    assert begun == Archive().shell().data()
