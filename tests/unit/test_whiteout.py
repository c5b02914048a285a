"""Layers of OCI images, one on the other."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tars import Archive, extract, refused, surroundings

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking keeps owners and makes nodes: it needs root"),
]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """With the lowest layer; what is beside it stays as it was."""
    path = tmp_path / "inside/rootfs"
    path.mkdir(parents=True)
    (tmp_path / "kept").write_text("kept")
    before = surroundings(tmp_path)
    layer = Archive().folder("usr").folder("usr/lib").add("usr/lib/one", b"1").add("usr/lib/two", b"2")
    layer.link("lib", "usr/lib").folder("d").folder("d/deep").add("d/deep/a", b"a").add("d/b", b"b").add(
        "c", b"c"
    )
    extract(layer.link("out", "../../..").data(), path, layer=True)
    yield path
    assert surroundings(tmp_path) == before


def names(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


_LOWEST = [
    "c",
    "d",
    "d/b",
    "d/deep",
    "d/deep/a",
    "lib",
    "out",
    "usr",
    "usr/lib",
    "usr/lib/one",
    "usr/lib/two",
]


@pytest.mark.parametrize(
    ("layer", "gone", "new"),
    [
        (Archive().add(".wh.c"), ["c"], []),
        (Archive().add("./d/.wh.deep"), ["d/deep", "d/deep/a"], []),
        (Archive().add(".wh.d"), ["d", "d/b", "d/deep", "d/deep/a"], []),
        (Archive().add(".wh.lib"), ["lib"], []),
        (Archive().add("lib/.wh.one"), ["usr/lib/one"], []),
        (Archive().add(".wh.nothing").add("no/such/.wh.x").add("c/.wh.x"), [], []),
        (Archive().add("d/.wh..wh..opq"), ["d/b", "d/deep", "d/deep/a"], []),
        (Archive().add("lib/.wh..wh..opq"), ["usr/lib/one", "usr/lib/two"], []),
        # Of this layer nothing goes, in whatever order it comes.
        (Archive().folder("d").add("d/n").add("d/.wh..wh..opq"), ["d/b", "d/deep", "d/deep/a"], ["d/n"]),
        (Archive().add("d/.wh..wh..opq").folder("d").add("d/n"), ["d/b", "d/deep", "d/deep/a"], ["d/n"]),
        (Archive().add("d/deep/n").add("d/.wh..wh..opq"), ["d/b", "d/deep/a"], ["d/deep/n"]),
        (Archive().add("d/deep/n").add(".wh.d"), ["d/b", "d/deep/a"], ["d/deep/n"]),
        (Archive().folder("d/deep").add("d/.wh..wh..opq"), ["d/b", "d/deep/a"], []),
        (Archive().add("lib/n").add("usr/lib/.wh..wh..opq"), ["usr/lib/one", "usr/lib/two"], ["usr/lib/n"]),
        (Archive().add("c", b"new").add(".wh.c"), [], []),
        (Archive().add(".wh..wh..opq").add("n"), _LOWEST, ["n"]),
        (Archive().add(".wh..wh.plnk").folder(".wh..wh.orph").add(".wh..wh.aufs", b"123"), [], []),
        # Another kind of thing takes the place of what was there.
        (Archive().add("d", b"file"), ["d/b", "d/deep", "d/deep/a"], []),
        (Archive().link("d", "usr"), ["d/b", "d/deep", "d/deep/a"], []),
        (Archive().folder("lib").add("lib/n"), [], ["lib/n"]),
        (Archive().folder("c").add("c/n"), [], ["c/n"]),
        (Archive().add("lib/n").link("h", "usr/lib/one", tarfile.LNKTYPE), [], ["h", "usr/lib/n"]),
        (Archive().add("d", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), ["d/b", "d/deep", "d/deep/a"], []),
    ],
)
def test_marks_take_away_what_lower_layers_have(
    target: Path, layer: Archive, gone: list[str], new: list[str]
) -> None:
    extract(layer.data(), target, layer=True)
    assert names(target) == sorted((set(_LOWEST) - set(gone)) | set(new))


def test_attributes_of_a_folder_of_two_layers_are_the_upper_ones(target: Path) -> None:
    extract(
        Archive().folder("d", mode=0o2750, uid=5, gid=6).add("d/n", b"", mode=0o640).data(),
        target,
        layer=True,
    )
    status = (target / "d").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime) == (0o2750, 5, 6, 10**9)
    extract(Archive().add("d/m", b"", mode=0o640).data(), target, layer=True)
    assert (target / "d/m").stat().st_gid == 0


def test_a_layer_that_writes_through_links_stays_inside(target: Path, tmp_path: Path) -> None:
    (target / tmp_path.relative_to("/")).mkdir(parents=True)
    layer = (
        Archive().add("out/kept", b"evil").link("d", str(tmp_path)).add("d/kept", b"evil").add("d/.wh.kept2")
    )
    layer.link("d2", "/../../../..").add("d2/.wh.c").link("d3", "..").add(f"d3{tmp_path}/.wh..wh..opq")
    extract(layer.data(), target, layer=True)
    assert (target / "kept").read_bytes() == b"evil"
    assert (target / tmp_path.relative_to("/") / "kept").read_bytes() == b"evil"
    assert not (target / "c").exists()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "../.wh.kept", "d/../../.wh.kept"])
def test_marks_that_lead_out_are_refused(target: Path, name: str) -> None:
    assert "leads out" in refused(Archive().add(name).data(), target, layer=True)
    assert names(target) == _LOWEST


def test_marks_mean_nothing_in_a_root_file_system(tmp_path: Path) -> None:
    extract(Archive().shell().add(".wh.bin").data(), tmp_path)
    assert names(tmp_path) == [".wh.bin", "bin", "bin/sh"]


def test_many_marks_take_little_time(target: Path) -> None:
    """Each would look through the folder again."""
    layer = Archive()
    for number in range(3000):
        layer.add(f"d/n{number}")
    for _ in range(3000):
        layer.add("d/.wh..wh..opq")
    extract(layer.data(), target, layer=True)
    assert len(names(target / "d")) == 3000


def test_a_layer_needs_neither_a_shell_nor_an_end_mark(target: Path) -> None:
    data = Archive().add("n", b"x").data()
    extract(data[:1024], target, layer=True)
    assert (target / "n").read_bytes() == b"x"
    assert "ends" in refused(data[:900], target, layer=True)
