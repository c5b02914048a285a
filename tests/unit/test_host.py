"""What is read off the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.container import state
from nspawn.container.host import kernel_version
from nspawn.errors import Damaged, NspawnError
from nspawn.kernel import users
from nspawn.layout import Layout
from nspawn.model.record import Record


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("4.19.157-perf+", (4, 19)),
        ("6.1.0-44-arm64", (6, 1)),
        ("2.6.78", (2, 6)),
        ("5.10-android12", (5, 10)),
        ("garbage", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_kernels_version_is_read(release: str, expected: tuple[int, int]) -> None:
    assert kernel_version(release) == expected


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({}, "/var/lib/nspawn"),
        ({"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}, "/data/adb/nspawn"),
        ({"ANDROID_ROOT": "/system"}, "/var/lib/nspawn"),
        ({"NSPAWN_ROOT": "/x/"}, "/x"),
        ({"NSPAWN_ROOT": "/x", "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}, "/x"),
    ],
)
def test_where_the_state_is(environ: dict[str, str], root: str) -> None:
    assert Layout.from_environment(environ).root == root


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nbad:x:y\n"
    )
    (tmp_path / "group").write_text("root:x:0:\nann:x:1001:\nlab:x:2000:bob,ann\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, [], "/root")),
        ("ann", (1000, 1001, [2000], "/home/ann")),
        ("1000", (1000, 1001, [2000], "/home/ann")),
        ("ann:lab", (1000, 2000, [], "/home/ann")),
        ("4000", (4000, 0, [], "/")),
        ("4000:5000", (4000, 5000, [], "/")),
    ],
)
def test_a_user_of_the_container_is_found(
    etc: Path, text: str, expected: tuple[int, int, list[int], str]
) -> None:
    user = users.find(text, str(etc))
    assert (user.uid, user.gid, user.groups, user.home) == expected


@pytest.mark.parametrize("text", ["bob", "bad", "ann:nobody", "4294967295", "99999999999", "0:4294967295"])
def test_a_user_that_is_not_there_is_an_error(etc: Path, text: str) -> None:
    with pytest.raises(NspawnError):
        users.find(text, str(etc))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    (tmp_path / "containers" / "box").mkdir(parents=True)
    return found


def test_a_run_state_comes_back(layout: Layout) -> None:
    state.write(layout, "box", Record((("pid", 7),)))
    found = state.read(layout, "box")
    assert found is not None
    assert found.integer("pid") == 7


def test_no_run_state_is_none(layout: Layout) -> None:
    assert state.read(layout, "box") is None


@pytest.mark.parametrize("cut", [0, 1, 10, 15])
def test_a_run_state_that_is_cut_off_is_damaged(layout: Layout, cut: int) -> None:
    state.write(layout, "box", Record((("pid", 7),)))
    path = Path(layout.run_state("box"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Damaged):
        state.read(layout, "box")


@pytest.mark.parametrize("data", [bytes(64), b"\xff" * 64, b"version=2\0pid=1\0end=1", b"version=x\0end=1"])
def test_a_foreign_run_state_is_damaged(layout: Layout, data: bytes) -> None:
    Path(layout.run_state("box")).write_bytes(data)
    with pytest.raises(Damaged):
        state.read(layout, "box")
