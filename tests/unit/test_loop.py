"""The order in which the event loop calls."""

from __future__ import annotations

import functools
import os

import pytest

from nspawn.container.loop import Loop


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("first_added", ["late", "soon"])
def test_what_nobody_waits_for_comes_last_whatever_was_ready_first(first_added: str) -> None:
    loop = Loop(raised)
    called: list[str] = []
    pipes = {name: os.pipe() for name in ("late", "soon", "other")}

    def handler(name: str, _events: int) -> None:
        os.read(pipes[name][0], 1)
        called.append(name)
        if len(called) == len(pipes):
            loop.stop()

    try:
        for name in sorted(pipes, key=lambda name: name != first_added):
            loop.add(pipes[name][0], functools.partial(handler, name), late=name == "late")
        for name in sorted(pipes, key=lambda name: name != "late"):
            os.write(pipes[name][1], b"x")
        loop.run()
    finally:
        for ends in pipes.values():
            loop.remove(ends[0])
            for end in ends:
                os.close(end)
    assert sorted(called[:2]) == ["other", "soon"]
    assert called[2:] == ["late"]
