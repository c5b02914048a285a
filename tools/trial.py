"""The tests and the benchmark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tools import box, places, shards
from tools.lint import lint
from tools.process import BuildError, command_line, say

#: How long each test file takes; tools/shards.py reads and writes it.
TIMES = places.HOME / "tests/durations.txt"
#: Outputs and times of the last run in shards.
WORK = places.CACHE / "shards"
#: Seconds between two lines about how far the shards are.
PULSE = 60.0


def test(*, fast: bool, arguments: Sequence[str], jobs: int | None, save_times: bool) -> int:
    """Lint, then all tests; the closing line comes last. Returns 0 only when both are good.

    jobs: how many shards run at once, None for what this machine can do. With arguments for pytest it is one
    process, outside a box.
    """
    if os.geteuid() != 0:
        say("not root: the tests that start containers will be skipped")
    select = ["-m", "not slow"] if fast else []
    number = 1 if arguments else default_jobs() if jobs is None else jobs
    if number > 1:
        if not box.works():
            raise BuildError("shards need root and namespaces of their own", "Try: build.py test --jobs 1")
        return in_shards(number, select, save_times=save_times)
    bad = lint()
    words = [str(places.PYTHON), "-m", "pytest", *select, *arguments]
    print(f"+ {command_line(words)}", flush=True)
    status = subprocess.run(words, cwd=places.HOME).returncode
    return status or bad


def default_jobs() -> int:
    """Two shards where there are boxes and two processors, else one."""
    return 2 if len(os.sched_getaffinity(0)) >= 2 and box.works() else 1


class Shard:
    """A pytest in a box, from its start. The machine's network is that of the first one."""

    def __init__(self, number: int, files: Sequence[str], select: Sequence[str]) -> None:
        self.number, self.files = number, files
        self.box = f"nspawn-tests-{os.getpid()}-{number}"
        self.output, self.times = WORK / f"{number}.log", WORK / f"{number}.json"
        pytest = [
            str(places.PYTHON),
            "-m",
            "pytest",
            "-p",
            "tests.support.timing",
            "--times",
            str(self.times),
        ]
        words = box.command(self.box, [*pytest, *select, *files], own_network=number > 1)
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                words, cwd=places.HOME, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        network = "a network of its own" if number > 1 else "the machine's network"
        say(f"shard {number}: {len(files)} files, {network}")

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def close(self) -> None:
        """End it when it runs, and clean after it."""
        if self.process.poll() is None:
            self.process.kill()  # unshare's, by which all in the box ends
            self.process.wait()
        for path in box.remove_cgroups(self.box):
            say(f"shard {self.number} left {path}")


def in_shards(number: int, select: Sequence[str], *, save_times: bool) -> int:
    """All tests, spread over boxes that run at once. Returns 0 when every shard and lint are good."""
    started = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.iterdir():
        old.unlink()
    with prepared():
        bad = lint()
    files = [str(path.relative_to(places.HOME)) for path in (places.HOME / "tests").rglob("test_*.py")]
    known = shards.read_times(TIMES.read_text())
    running: list[Shard] = []
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        for place, part in enumerate(shards.assign(files, known, number), 1):
            running.append(Shard(place, part, select))
        wait_for(running)
    finally:
        for shard in running:
            shard.close()
    if save_times:
        if all(shard.times.exists() for shard in running):
            measured = (json.loads(shard.times.read_text()) for shard in running)
            TIMES.write_text(
                shards.write_times({name: took for part in measured for name, took in part.items()})
            )
            say(f"renewed {TIMES.relative_to(places.HOME)}")
        else:
            say("a shard broke off: its times are not known, and the table stays")
    return conclude(running, bad, time.monotonic() - started)


@contextmanager
def prepared() -> Iterator[None]:
    """Meanwhile: fetch and build what tests take from the internet, which most boxes have not."""
    words = [str(places.PYTHON), "-m", "tests.support.prepare"]
    say("fetching and building, beside the checks, what tests take from the internet")
    log = WORK / "prepare.log"
    with log.open("wb") as file:
        process = subprocess.Popen(words, cwd=places.HOME, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    print(f"+ {command_line(words)}\n{log.read_text(errors='replace')}", end="", flush=True)
    if process.returncode:
        say("not all of it is there: the tests that need it will say so")


def wait_for(running: Sequence[Shard]) -> None:
    """Until all have ended; the output of each is printed whole when it has."""
    waiting = list(running)
    started = told = time.monotonic()
    while waiting:
        for shard in [shard for shard in waiting if shard.process.poll() is not None]:
            waiting.remove(shard)
            print(f"\n-- shard {shard.number} --\n{shard.text()}", flush=True)
        now = time.monotonic()
        if waiting and now - told >= PULSE:
            told = now
            states = ", ".join(
                f"shard {shard.number} at {shards.progress(shard.text())}" for shard in waiting
            )
            say(f"{(now - started) / 60:.0f} min: {states}")
        time.sleep(0.2)


def conclude(running: Sequence[Shard], bad: int, seconds: float) -> int:
    """Print what was skipped and what failed, then the closing line. Returns the exit status."""
    summaries = [shards.parse_summary(shard.text()) for shard in running]
    print("-- all shards --")
    for line in [line for one in summaries for line in one.skips]:
        print(line)
    for line in [line for one in summaries for line in one.bad]:
        print(line)
    status = bad
    for shard, one in zip(running, summaries, strict=True):
        code = shard.process.returncode
        if code or not one.complete or not one.passed + one.failed + one.skipped:
            status = status or 1
            how = "" if one.complete else ", without a closing line"
            print(f"shard {shard.number} ended with status {code}{how}: {shard.output}")
    if bad:
        print("the checks before the tests found something: see above")
    print(shards.closing_line(summaries, seconds), flush=True)
    return status


def bench(arguments: Sequence[str]) -> int:
    """Compare with the peers; without --only, docs/benchmark.md and docs/benchmark.json are written."""
    if os.geteuid() != 0:
        raise BuildError("the benchmark starts containers: it needs root", "Run: sudo python3 build.py bench")
    words = [str(places.PYTHON), "tests/bench/run.py", *arguments]
    print(f"+ {command_line(words)}", flush=True)
    return subprocess.run(words, cwd=places.HOME).returncode
