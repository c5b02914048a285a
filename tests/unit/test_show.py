from __future__ import annotations

import io

import pytest

from nspawn.cli import show
from nspawn.model.progress import Progress
from nspawn.model.settings import Autostart, Settings
from nspawn.service.containers import Container, State


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert show.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (59.9, "59s"), (61, "1m 1s"), (3700, "1h 1m"), (90000, "1d 1h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


def test_columns_are_aligned() -> None:
    assert show.table([["NAME", "STATE"], ["a", "running"], ["long-name", ""]]) == (
        "NAME       STATE\na          running\nlong-name\n"
    )


def test_text_of_containers_cannot_act_on_the_terminal() -> None:
    each = Container(
        name="a",
        settings=Settings(image="\x1b[2J", autostart=Autostart(enabled=True)),
        state=State(exit="\x1b]0;x\x07"),
        rootfs="/x",
    )
    text = show.table(show.container_rows([each])) + show.container_text(each, {})
    assert "\x1b" not in text
    assert "yes" in text


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    bar = show.Bar(stream)
    bar(Progress(phase="unpacking", done=0, total=1000))
    bar(Progress(phase="unpacking", done=1000, total=1000))
    bar.end()
    bar.end()
    assert stream.getvalue().count("\r") == 2
    assert "[####################]  100% of 1000 B" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (90, "fetching and unpacking  [##########          ]   50% of 9.8 KiB  1.0 KiB/s  5s left"),
        (75, "fetching and unpacking  [#####     ]   50% of 9.8 KiB  1.0 KiB/s  5s left"),
        (59, "fetching  [###   ]   50% of 9.8 KiB  1.0 KiB/s  5s left"),
        (50, "fetching   50% of 9.8 KiB  1.0 KiB/s  5s left"),
        (20, "fetching   50% of 9."),
    ],
)
def test_a_narrow_terminal_has_a_shorter_bar(width: int, text: str) -> None:
    progress = Progress(phase="fetching and unpacking", done=5000, total=10000)
    assert show._fitting(progress, 1024.0, 5.0, width) == text


def test_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    bar = show.Bar(stream)
    for done in range(1000):
        bar(Progress(phase="unpacking", done=done, total=1000))
    bar(Progress(phase="saving"))
    bar.end()
    assert stream.getvalue() == "unpacking    0% of 1000 B\nsaving\n"
