"""Whether the 100th container starts as fast as the first."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.bench import program, rootfs
from tests.bench.program import NotServingError, Server
from tests.bench.report import Column, Goal, Part, Table
from tests.bench.samples import spread

_MANY = 100
_EACH = 5  # starts whose median is one round's figure
_MOST_ROUNDS = 10
_SETTLE = 0.05
_LIMIT = 1.3
_NAME = "start of the 100th container, of the first"
_SLEEP = ("/bin/sleep", "1000000")


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """In each round: some starts with nothing else running, 99 more, some starts beside those.

    seed: not used; at either end several starts are timed, alternating within a round of a few seconds.
    """
    del seed
    tree = rootfs.make(folder / "tiny", "tiny")
    rounds = max(1, min(_MOST_ROUNDS, pairs // 3))
    first: list[float] = []
    last: list[float] = []
    try:
        with program.serving(folder / "state") as server:
            _timed(server, tree)
            for _round in range(rounds):
                first.append(_timed(server, tree))
                for index in range(_MANY - 1):
                    server.start(f"n{index}", tree, *_SLEEP)
                last.append(_timed(server, tree))
                for index in range(_MANY - 1):
                    server.stop(f"n{index}")
    except NotServingError as error:
        return Part(goals=[Goal(name=_NAME, limit=_LIMIT, why_not=str(error))])
    figure = spread([b / a for a, b in zip(first, last, strict=True)])
    table = Table(
        title=f"{_MANY} containers",
        columns=[
            Column(title="start of a named container, request to running"),
            Column(title="time", unit="ms"),
        ],
        rows=[["the first", spread(first)], [f"the {_MANY}th, beside {_MANY - 1}", spread(last)]],
        notes=[f"{rounds} rounds; a figure of a round is the median of {_EACH} starts, each rested before."],
    )
    return Part(goals=[Goal(name=_NAME, limit=_LIMIT, figure=figure)], tables=[table])


def _timed(server: Server, tree: Path) -> float:
    """The median seconds of some starts of one container, stopped in between."""
    times = []
    for _start in range(_EACH):
        time.sleep(_SETTLE)
        begin = time.perf_counter()
        server.start("timed", tree, *_SLEEP)
        times.append(time.perf_counter() - begin)
        server.stop("timed")
    return statistics.median(times)
