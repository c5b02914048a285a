from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from nspawn.errors import Conflict, Damaged, NotFound, NspawnError, UsageError
from nspawn.layout import Layout
from nspawn.model.settings import NewerVersion, Settings
from nspawn.service import files
from nspawn.service import store as service_store
from nspawn.service.store import Store, confirm

VALUE = Settings(image="builtin", env={"A": "1"}, command=("/bin/x", "a b"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Layout(str(tmp_path / "root")))
    store.prepare()
    os.mkdir(store.layout.container("box"), 0o700)
    store.save("box", VALUE)
    return store


def toml(store: Store) -> Path:
    return Path(store.layout.settings("box"))


def test_folders_are_for_root_only(store: Store) -> None:
    for path in (store.layout.root, store.layout.containers, store.layout.run):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert stat.S_IMODE(toml(store).stat().st_mode) == 0o600


def test_what_is_saved_is_loaded(store: Store) -> None:
    loaded = store.load("box")
    assert (loaded.settings, loaded.damaged, loaded.usable) == (VALUE, None, True)
    assert sorted(os.listdir(store.layout.container("box"))) == ["container.toml", "container.toml.good"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _data: b"", "it is empty"),
        (lambda _data: b"\n\n", "it is empty"),
        (lambda data: b"\0" * len(data), "it holds NUL bytes"),
        (lambda data: data[:-20] + b"\0" * 20, "it holds NUL bytes"),
        (lambda data: data[:40], "it is cut off"),
        (lambda data: data[: data.index(b"\n[env]") + 1], "it is cut off"),
        (lambda data: b"\xff\xfe" + data, "it is not UTF-8"),
        (lambda _data: b"[[[", "it is not TOML"),
        (lambda data: data.replace(b"version = 1\n", b""), "it has no version"),
        (
            lambda data: data.replace(b"stop_time = 10.0", b'stop_time = "soon"'),
            "stop_time: expected a number",
        ),
    ],
)
def test_damage_is_reported_and_the_good_copy_used(store: Store, damage: object, reason: str) -> None:
    assert callable(damage)
    toml(store).write_bytes(damage(toml(store).read_bytes()))
    loaded = store.load("box")
    assert loaded.settings == VALUE
    assert loaded.usable
    assert isinstance(loaded.damaged, Damaged)
    assert reason in loaded.damaged.why
    assert "good copy" in loaded.damaged.why


def test_every_cut_is_noticed(store: Store) -> None:
    whole = toml(store).read_bytes()
    for length in range(len(whole) - 1):
        toml(store).write_bytes(whole[:length])
        loaded = store.load("box")
        assert loaded.damaged
        assert loaded.settings == VALUE


def test_a_missing_file_is_damage_not_a_first_run(store: Store) -> None:
    toml(store).unlink()
    loaded = store.load("box")
    assert loaded.damaged
    assert "it is missing" in loaded.damaged.why
    assert loaded.settings == VALUE


def test_without_a_good_copy_nothing_is_usable(store: Store) -> None:
    toml(store).write_bytes(b"")
    Path(f"{toml(store)}.good").write_bytes(b"\0\0\0")
    loaded = store.load("box")
    assert loaded.damaged
    assert not loaded.usable


def test_a_newer_version_is_left_alone(store: Store) -> None:
    toml(store).write_bytes(b"version = 7\nnew = true\n")
    loaded = store.load("box")
    assert isinstance(loaded.damaged, NewerVersion)
    assert not loaded.usable
    assert toml(store).read_bytes() == b"version = 7\nnew = true\n"


def test_an_edit_by_hand_becomes_the_good_copy_when_it_is_used(store: Store) -> None:
    toml(store).write_bytes(b'version = 1\nimage = "other"\n')
    with store.open("box") as at:
        confirm(at)
    toml(store).write_bytes(b"")
    assert store.load("box").settings == Settings(image="other")


def test_links_and_pipes_are_not_read(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('version = 1\nimage = "secret"\n')
    toml(store).unlink()
    toml(store).symlink_to(secret)
    assert store.load("box").settings == VALUE
    toml(store).unlink()
    os.mkfifo(toml(store))
    assert store.load("box").settings == VALUE
    store.save("box", VALUE)
    assert secret.read_text().count("secret") == 1


def test_a_linked_container_is_none(store: Store, tmp_path: Path) -> None:
    os.symlink(tmp_path, store.layout.container("trap"))
    assert store.names() == ["box"]
    with pytest.raises(NotFound):
        store.load("trap")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a/b", "a\n", "a\0", "x" * 300, "\U0001f600", "A", ".creating-a"]
)
def test_bad_names_reach_no_file(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.load(name)


def test_a_full_disk_leaves_the_old_settings(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = toml(store).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NspawnError, match="No space left"):
        store.save("box", Settings(image="new"))
    monkeypatch.undo()
    assert toml(store).read_bytes() == before
    assert sorted(os.listdir(store.layout.container("box"))) == ["container.toml", "container.toml.good"]


def test_the_lock_excludes_others(store: Store) -> None:
    order = []

    def second() -> None:
        with store.locked("box"):
            order.append("second")

    with store.locked("box"):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.1)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_who_waits_long_for_the_lock_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_store, "_PATIENCE", 0.05)
    with store.locked("box"), pytest.raises(Conflict, match="box is busy"), store.locked("box"):
        pass
    with store.locked("box"):
        pass


def test_the_lock_of_a_removed_container_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_is_there", lambda *_args: False)
    with pytest.raises(Conflict), store.locked("box"):
        pass


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/link").symlink_to(outside)
    (tree / "a/b/file").write_text("x")
    os.mkfifo(tree / "pipe")
    with files.folder(str(tmp_path)) as at:
        files.remove_tree("tree", at)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("tree", dir_fd=here)
    descriptor = os.open("tree", os.O_RDONLY, dir_fd=here)
    for _level in range(3000):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    files.remove_tree("tree", here)
    os.close(here)
    assert os.listdir(tmp_path) == []


def test_a_linked_tree_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("x")
    (tmp_path / "tree").symlink_to("outside")
    with files.folder(str(tmp_path)) as at, pytest.raises(OSError, match="Not a directory"):
        files.remove_tree("tree", at)
    assert (tmp_path / "outside/kept").exists()
