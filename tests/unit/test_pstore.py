"""The kernel's last words: what is read, how much of it, and that none of it can act."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nspawn.kernel import pstore


def read(folder: Path) -> list[tuple[str, str]]:
    return pstore.read(str(folder), str(folder / "last_kmsg"))


def test_the_panic_comes_first(tmp_path: Path) -> None:
    for name in ("pmsg-ramoops-0", "console-ramoops-0", "dmesg-ramoops-1", "dmesg-ramoops-0", "other"):
        (tmp_path / name).write_text(f"{name} says\n")
    assert [name for name, _text in read(tmp_path)] == [
        "dmesg-ramoops-0",
        "dmesg-ramoops-1",
        "console-ramoops-0",
        "pmsg-ramoops-0",
        "other",
    ]


def test_an_old_kernel_has_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "pstore"
    (tmp_path / "last_kmsg").write_text("<0>panic\n")
    assert pstore.read(str(folder), str(tmp_path / "last_kmsg")) == [("last_kmsg", "<0>panic")]


def test_without_any_there_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []


def test_only_the_end_is_kept_and_from_a_line_on(tmp_path: Path) -> None:
    lines = [f"[{number:9}] a line of the console" for number in range(20_000)]
    (tmp_path / "console-ramoops-0").write_text("\n".join(lines) + "\n")
    ((_name, text),) = read(tmp_path)
    assert len(text) <= 32 * 1024
    assert text.endswith(lines[-1])
    assert text.splitlines()[0] in lines


def test_a_flood_of_files_is_bounded(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"dmesg-{number:03}").write_text("x\n")
    assert len(read(tmp_path)) == 8


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[31mred\x1b]0;title\x07", "?[31mred?]0;title?"),
        (b"a\tb\r\nc\rd\x00e\n\n", "a b\nc?d?e"),
        (b"\xff\xfe ok", "\ufffd\ufffd ok"),
        ("\u202eevil\u200b\x9b1m".encode(), "?evil??1m"),
        ("täglich \U0001f600".encode(), "täglich \U0001f600"),
        (b"\n\n  indented\n", "  indented"),
        (b"\x00" * 1000, "?" * 1000),
    ],
)
def test_hostile_bytes_become_plain_text(data: bytes, text: str) -> None:
    assert pstore.clean(data) == text


def test_what_is_no_plain_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dmesg-fifo")
    (tmp_path / "dmesg-folder").mkdir()
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "dmesg-link").symlink_to("secret")
    (tmp_path / "dmesg-\x1b[2J").write_text("named\n")
    assert read(tmp_path) == [("dmesg-?[2J", "named"), ("secret", "secret")]
