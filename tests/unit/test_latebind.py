from __future__ import annotations

import os
import signal
import time

import pytest

from nspawn.container import latebind
from nspawn.errors import NspawnError
from nspawn.kernel import libc, process


@pytest.fixture(autouse=True)
def no_mount_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "open_tree", lambda path: os.open(path, os.O_PATH | os.O_CLOEXEC))
    monkeypatch.setattr(latebind, "_SECONDS", 0.2)


def refusal() -> str:
    with pytest.raises(NspawnError) as caught:
        latebind.bind(os.getpid(), process.start_time(os.getpid()), "/", "/sdcard")
    return str(caught.value)


def test_files_that_do_not_answer_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "setns", lambda _namespace, _flag: time.sleep(100))
    began = time.monotonic()
    assert "do not answer" in refusal()
    assert time.monotonic() - began < 5
    os.wait()  # what the keeper does


def test_a_child_that_is_killed_has_mounted_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "setns", lambda _namespace, _flag: os.kill(os.getpid(), signal.SIGKILL))
    assert "killed" in refusal()
