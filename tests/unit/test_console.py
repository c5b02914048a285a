"""The console's ring on disk, and the loop that drains it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nspawn.container.console import HALF, Console, Ring, log_files
from nspawn.container.loop import Loop


def contents(path: Path) -> bytes:
    found = b""
    for descriptor in log_files(str(path)):
        found += os.read(descriptor, 4 * HALF)
        os.close(descriptor)
    return found


def test_a_ring_keeps_the_last_two_halves(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    ring = Ring(str(path))
    pieces = [bytes([65 + n]) * (HALF // 4) for n in range(13)]
    for piece in pieces:
        ring.write(piece)
    ring.close()
    kept = contents(path)
    assert HALF <= len(kept) <= 2 * HALF
    assert b"".join(pieces).endswith(kept)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["console.log", "console.log.1"]


def test_a_ring_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    for text in (b"one ", b"two"):
        ring = Ring(str(path))
        ring.write(text)
        ring.close()
    assert contents(path) == b"one two"


def test_a_ring_never_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "console.log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        Ring(str(tmp_path / "console.log"))
    assert not (tmp_path / "victim").exists()


def fail(error: Exception) -> None:
    raise AssertionError from error


def run_until(loop: Loop, done: list[bytes], wanted: bytes) -> None:
    def look() -> None:
        if wanted in b"".join(done) or time.monotonic() > end:
            loop.stop()
        else:
            loop.after(0.01, look)

    end = time.monotonic() + 10
    look()
    loop.run()


def test_output_goes_to_the_ring_and_to_listeners_and_input_comes_back(tmp_path: Path) -> None:
    loop, heard = Loop(fail), list[bytes]()
    console = Console.make(loop, str(tmp_path / "console.log"))
    console.listen(heard.append)
    os.write(console.slave, b"hello")
    console.type(b"typed\n")
    run_until(loop, heard, b"typed")
    assert b"hello" in b"".join(heard)
    assert os.read(console.slave, 100) == b"typed\n"
    console.resize(50, 132)
    assert os.get_terminal_size(console.slave) == (132, 50)
    console.close()
    assert contents(tmp_path / "console.log") == b"".join(heard)


def test_timers_fire_in_order_and_cancelled_ones_do_not() -> None:
    loop, fired = Loop(fail), list[str]()
    loop.after(0.02, loop.stop)
    loop.after(0.01, lambda: fired.append("second"))
    loop.after(0, lambda: fired.append("first"))
    loop.after(0, lambda: fired.append("never")).cancel()
    loop.run()
    assert fired == ["first", "second"]


def test_a_ring_that_cannot_rotate_touches_no_other_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(str(tmp_path / "console.log"))
    ring.write(bytes(HALF))

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    for _ in range(3):
        ring.write(b"lost")
    for descriptor in others:
        os.fstat(descriptor)
        os.close(descriptor)
    monkeypatch.undo()
    ring.write(b"kept")
    ring.close()
    assert (tmp_path / "console.log").read_bytes() == b"kept"


def test_a_defect_in_one_handler_ends_nothing_else() -> None:
    heard, fired = list[str](), list[str]()
    loop = Loop(lambda error: heard.append(str(error)))

    def broken() -> None:
        raise ValueError("broken")

    loop.after(0, broken)
    loop.after(0.01, lambda: fired.append("next"))
    loop.after(0.02, loop.stop)
    loop.run()
    assert (heard, fired) == (["broken"], ["next"])
