"""Which test files run beside which, and what several pytests say together. Nothing here runs anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

#: Files that stay together, since they share what is dear to make: the first group in the first shard, and so
#: on. The first shard has the machine's own network: all that needs the internet is in the first group.
GROUPS = (
    ("tests/module/", "tests/integration/test_run_debian.py"),
    ("tests/browser/",),
)
#: What a file that the table does not know is taken to need, in seconds.
UNKNOWN = 4.0

_CLOSING = re.compile(r"=+ (?P<counts>.+) in (?P<seconds>[0-9.]+)s(?: \([0-9:]+\))? =+")
_COUNT = re.compile(r"(\d+) ([a-z]+)")
_BAD = ("FAILED ", "ERROR ")


class Summary(NamedTuple):
    """What a pytest said at its end. failed: with errors of fixtures; bad, skips: its lines about them."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    complete: bool = False
    bad: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()


def read_times(text: str) -> dict[str, float]:
    """The checked-in table: lines of seconds and a file."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(seconds) for seconds, name in lines}


def write_times(times: Mapping[str, float]) -> str:
    """The text of the table."""
    head = "# Seconds that a test file takes; `build.py test --save-times` renews this.\n"
    return head + "".join(f"{seconds:.1f} {name}\n" for name, seconds in sorted(times.items()))


def assign(files: Iterable[str], times: Mapping[str, float], number: int) -> list[list[str]]:
    """The files of each shard, sorted: the longest first, each to the shard that has least so far.

    Files stay whole, groups together. A shard is left out when there is nothing for it.
    """
    shards: list[list[str]] = [[] for _ in range(number)]
    loads = [0.0] * number

    def put(name: str, place: int) -> None:
        shards[place].append(name)
        loads[place] += times.get(name, UNKNOWN)

    free = []
    for name in sorted(files):
        places = [place for place, group in enumerate(GROUPS) if name.startswith(group)]
        if places:
            put(name, places[0] % number)
        else:
            free.append(name)
    for name in sorted(free, key=lambda name: (-times.get(name, UNKNOWN), name)):
        put(name, loads.index(min(loads)))
    return [sorted(shard) for shard in shards if shard]


def parse_summary(output: str) -> Summary:
    """The end of a pytest's output; not complete when it broke off before its closing line."""
    lines = output.splitlines()
    closings = [match for line in lines if (match := _CLOSING.fullmatch(line.strip()))]
    counts: dict[str, int] = {}
    if closings:
        counts = {
            word.removesuffix("s"): int(count) for count, word in _COUNT.findall(closings[-1]["counts"])
        }
    starts = [number for number, line in enumerate(lines) if "= short test summary info =" in line]
    told = lines[starts[-1] :] if starts else []
    return Summary(
        passed=counts.get("passed", 0),
        failed=counts.get("failed", 0) + counts.get("error", 0),
        skipped=counts.get("skipped", 0),
        complete=bool(closings),
        bad=tuple(line for line in told if line.startswith(_BAD)),
        skips=tuple(line for line in told if line.startswith("SKIPPED ")),
    )


def progress(output: str) -> str:
    """How far a pytest is, by the last percentage that it printed."""
    found = re.findall(r"\[ *(\d+%)\]", output)
    return found[-1] if found else "0%"


def closing_line(summaries: Sequence[Summary], seconds: float) -> str:
    """The one line about all shards."""
    passed, failed, skipped = (
        sum(values)
        for values in zip(*((one.passed, one.failed, one.skipped) for one in summaries), strict=True)
    )
    return f"{passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s"
