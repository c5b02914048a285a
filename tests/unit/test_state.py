"""The record of a container's run on disk: whole at any moment, whatever lies in its way."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import pytest

from nspawn.container import state
from nspawn.errors import Damaged
from nspawn.kernel import libc
from nspawn.model.record import Record

ROUNDS = 30


def write(path: Path, text: str) -> None:
    state.write_record(str(path), 1, Record((("text", text),)))


def read(path: Path) -> str:
    found = state.read_record(str(path), "the record", 1)
    return "" if found is None else found.text("text")


def refuse(number: int, calls: list[str]) -> object:
    def renameat2(source: str, target: str, flags: int) -> None:
        calls.append(target)
        raise OSError(number, os.strerror(number), target)

    return renameat2


def test_each_write_takes_the_place_of_the_last_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert read(path) == ""
    for text in ("first", "a much longer second " * 50, "third"):
        write(path, text)
        assert read(path) == text
        assert os.listdir(tmp_path) == ["state"]


def test_it_is_exchanged_and_not_renamed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming onto a file makes ext4 write the new one's data at once."""
    path = tmp_path / "state"
    write(path, "old")

    def rename(source: str, target: str) -> None:
        raise AssertionError(f"{source} was renamed")

    monkeypatch.setattr(os, "rename", rename)
    write(path, "new")
    assert read(path) == "new"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_where_files_cannot_be_exchanged_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path, calls = tmp_path / "state", []  # type: ignore[var-annotated]
    monkeypatch.setattr(libc, "renameat2", refuse(number, calls))
    for text in ("old", "new"):
        write(path, text)
        assert read(path) == text
    assert calls == [str(path)] * 2
    assert os.listdir(tmp_path) == ["state"]


def test_other_errors_are_told_and_the_old_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(libc, "renameat2", refuse(errno.EIO, []))
        with pytest.raises(OSError, match="Input/output error"):
            write(path, "new")
    assert read(path) == "old"
    write(path, "newer")
    assert read(path) == "newer"


@pytest.mark.parametrize("left", [b"", b"old and whole, as after an exchange", bytes(5000)])
def test_what_a_write_that_was_cut_short_left_is_harmless(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "state"
    write(path, "old")
    (tmp_path / "state.new").write_bytes(left)
    assert read(path) == "old"
    write(path, "new")
    assert read(path) == "new"
    assert os.listdir(tmp_path) == ["state"]


def test_a_folder_in_its_place_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "state"
    (path / "something").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            write(path, "new")
        assert (path / "something").is_dir()
    with pytest.raises(Damaged, match="cannot be read"):
        read(path)


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"untouched")
    path = tmp_path / "state"
    path.symlink_to(other)
    write(path, "new")
    assert (read(path), other.read_bytes(), path.is_symlink()) == ("new", b"untouched", False)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "renamed"])
def test_killed_at_any_moment_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """A writer that never rests is killed; what is there is one of its records, and the next write works."""
    if not exchange:
        monkeypatch.setattr(libc, "renameat2", refuse(errno.EINVAL, []))
    path = tmp_path / "state"
    write(path, "0")
    for turn in range(ROUNDS):
        pid = os.fork()
        if pid == 0:
            try:
                for number in range(1, 1 << 30):
                    write(path, f"{number} " * 100)
            finally:
                os._exit(1)
        time.sleep(0.003 + 0.0007 * (turn % 7))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        words = read(path).split()
        assert len(set(words)) == 1, "it is no single record"
        write(path, "0")
        assert read(path) == "0"
        assert os.listdir(tmp_path) == ["state"]
