"""Samples and what is said about them: medians, quartiles, ratios of pairs.

Times are in seconds throughout; only the report turns them into milliseconds.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, quartiles, minimum and number of the values, in the values' own unit."""

    median: float
    low: float
    high: float
    minimum: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value; ValueError without any.

    Quartiles are the inclusive ones: the values are all there is, not a sample of more.
    """
    if not values:
        raise ValueError("no values")
    if len(values) == 1:
        low = high = values[0]
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(
        median=statistics.median(values), low=low, high=high, minimum=min(values), count=len(values)
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours divided by theirs, pair by pair: what disturbs a whole round disturbs both of a pair."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def weighted(series: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> list[float]:
    """Round by round, the sum of the named series, each times its weight."""
    rows = zip(*(series[name] for name in weights), strict=True)
    return [sum(value * weight for value, weight in zip(row, weights.values(), strict=True)) for row in rows]


def interleave(
    subjects: Mapping[str, Callable[[], T]],
    rounds: int,
    *,
    seed: int,
    settle: float = 0.0,
    shuffle: Callable[[list[str]], None] | None = None,
    rehearse: bool = True,
) -> dict[str, list[T]]:
    """Have each subject's turn once per round, in an order shuffled anew for each round.

    A turn is two calls, of which the second is recorded: the first undoes what the subject before left
    (cold caches; runc and crun change the host's mounts, after which a prepared container is made anew).
    settle: pause in seconds after each call, for what a subject does off the critical path.
    seed: of the shuffling; shuffle: replaces it (for tests).  rehearse: False for one call a turn.
    """
    mix = shuffle or random.Random(seed).shuffle
    results: dict[str, list[T]] = {name: [] for name in subjects}
    order = list(subjects)
    for _round in range(rounds):
        mix(order)
        for name in order:
            if rehearse:
                subjects[name]()
                time.sleep(settle)
            results[name].append(subjects[name]())
            time.sleep(settle)
    return results
