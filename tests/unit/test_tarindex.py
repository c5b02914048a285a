"""The index of a tar that holds images: what its headers may cost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nspawn.errors import Damaged
from nspawn.images import tarindex
from nspawn.images.tarindex import Member
from tests.support.tars import END, filled, header, pax


def scan(data: bytes, folder: Path) -> dict[str, Member]:
    path = folder / "archive"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return tarindex.scan(descriptor)
    finally:
        os.close(descriptor)


class Weighed(bytes):
    """Counts the bytes that are copied out of it, and out of its copies."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, int):
            return found
        Weighed.copied += len(found)
        return Weighed(found)


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    read = os.pread
    monkeypatch.setattr(Weighed, "copied", 0)
    monkeypatch.setattr(os, "pread", lambda file, size, at: Weighed(read(file, size, at)))
    return lambda: Weighed.copied


def test_what_headers_say(tmp_path: Path) -> None:
    long = b"long/" * 100
    data = (
        pax((b"comment", b"x"), (b"path", b"./named"), (b"size", b"3"))
        + header(b"x", size=9)
        + filled(b"abc")
        + header(b"L", b"L", len(long) + 1)
        + filled(long + b"\0")
        + header(b"x", size=0)
        + pax((b"linkpath", b"named"))
        + header(b"again", b"1")
        + END
    )
    found = scan(data, tmp_path)
    assert found["named"] == Member(offset=1536, size=3)
    assert found[long.decode()].size == 0
    assert tarindex.look_up(found, "again") == found["named"]


@pytest.mark.parametrize("key", [b"GNU.sparse.map", b"GNU.sparse.numbytes"])
def test_what_has_holes_is_refused(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(Damaged, match="it has holes"):
        scan(pax((b"path", b"a"), (key, b"0")) + header() + END, tmp_path)


@pytest.mark.parametrize("text", [b"x", b"5 a=b\n", b"9 a=b\n", b"-6 a=b\n", b"6 ab c\n", b"6 a=bc"])
def test_records_that_are_damaged(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(Damaged, match="a header in it is damaged"):
        scan(header(b"pax", b"x", len(text)) + filled(text) + header() + END, tmp_path)


def test_many_records_are_read_once(tmp_path: Path, weighed: Callable[[], int]) -> None:
    records = pax(*((b"a", b"") for _ in range(10_000)))
    assert list(scan(records + header(b"name") + END, tmp_path)) == ["name"]
    assert 0 < weighed() < 4 * len(records)


def test_an_archive_of_headers_is_refused(tmp_path: Path) -> None:
    most = pax((b"comment", b"c" * 65_000))
    assert list(scan((most + header(b"name")) * 200 + END, tmp_path)) == ["name"]
    with pytest.raises(Damaged, match="it consists of headers"):
        scan((most + header(b"name")) * 300 + END, tmp_path)
