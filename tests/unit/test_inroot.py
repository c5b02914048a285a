"""Paths below a hostile folder: links mean what they mean inside, and nothing leads out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nspawn.kernel import inroot


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").write_text("the host's")
    inside = tmp_path / "rootfs"
    (inside / "etc").mkdir(parents=True)
    (inside / "usr" / "lib").mkdir(parents=True)
    (inside / "etc" / "hosts").write_text("the container's")
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def where(root: int, path: str, make: str = "") -> str:
    place = inroot.find(root, path, make=make)
    os.close(place.folder)
    return place.path


@pytest.mark.parametrize(
    ("link", "path", "expected"),
    [
        ("", "/etc/hosts", "/etc/hosts"),
        ("", "etc/./hosts", "/etc/hosts"),
        ("", "/etc/../etc/hosts", "/etc/hosts"),
        ("", "/../../etc", "/etc"),
        ("", "/", "/"),
        ("/etc", "/link/hosts", "/etc/hosts"),
        ("etc", "/link/hosts", "/etc/hosts"),
        ("../../../../outside", "/link", "/outside"),
        ("/../../outside", "/link", "/outside"),
        ("usr/lib", "/link/../hosts", "/usr/hosts"),
        ("missing", "/link", "/missing"),
    ],
)
def test_where_a_path_leads(root: int, tmp_path: Path, link: str, path: str, expected: str) -> None:
    if link:
        (tmp_path / "rootfs" / "link").symlink_to(link)
    assert where(root, path) == expected


def test_a_chain_of_links_without_end_is_refused(root: int, tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "a").symlink_to("b")
    (tmp_path / "rootfs" / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links") as found:
        where(root, "/a/x")
    assert found.value.errno == errno.ELOOP


def test_a_file_is_no_folder(root: int) -> None:
    with pytest.raises(NotADirectoryError):
        where(root, "/etc/hosts/x")


@pytest.mark.parametrize(("make", "is_folder"), [("file", False), ("folder", True)])
def test_what_is_missing_is_made_inside(root: int, tmp_path: Path, make: str, is_folder: bool) -> None:
    (tmp_path / "rootfs" / "mnt").symlink_to("../../..")
    assert where(root, "/mnt/a/b", make) == "/a/b"
    made = tmp_path / "rootfs" / "a" / "b"
    assert made.is_dir() == is_folder
    assert made.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "rootfs"]


def test_a_dangling_link_is_made_where_it_points_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "link").symlink_to(tmp_path / "new")
    where(root, "/link", "file")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "rootfs" / str(tmp_path / "new").lstrip("/")).exists()


def test_nothing_is_made_unless_asked(root: int, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        where(root, "/a/b/c")
    assert not (tmp_path / "rootfs" / "a").exists()


PIECES = st.sampled_from(["..", ".", "a", "b", "link", "up", "abs", ""])


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=8), st.sampled_from(["", "folder", "file"]))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str], make: str) -> None:
    base = tmp_path_factory.mktemp("inroot")
    rootfs = base / "rootfs"
    (rootfs / "a" / "b").mkdir(parents=True)
    (rootfs / "link").symlink_to("a/../../..")
    (rootfs / "a" / "up").symlink_to("../../../..")
    (rootfs / "abs").symlink_to("/../a")
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        place = inroot.find(root, "/".join(parts), make=make)
    except OSError:
        pass
    else:
        found = os.readlink(f"/proc/self/fd/{place.folder}")
        os.close(place.folder)
        assert found == str(rootfs) or found.startswith(f"{rootfs}/")
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(root)
    assert [path.name for path in base.iterdir()] == ["rootfs"]
