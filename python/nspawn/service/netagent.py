"""The network's agent: a short-lived process that makes what is there into what the containers need.

One run observes, plans, compares and applies; it is idempotent, and a second one changes nothing.  The
spawner and commands start it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

import nspawn
from nspawn.errors import NspawnError, UsageError
from nspawn.kernel.process import boot_id
from nspawn.layout import PASSED_ON, Layout
from nspawn.model.record import Record, error_record, raise_error
from nspawn.service import netstate
from nspawn.service.netlook import Look, look
from nspawn.service.netruns import Down, Up

__all__ = ["Look", "look", "main", "run_agent"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


def main(words: Sequence[str]) -> int:
    """`up [--refill] [--by-hand] [--dry-run] [--page PORT]`, `down [--force] [--dry-run]`; the exit status.

    On standard output: the outcome as a record, or the error; with --dry-run the lines of what would be done.
    """
    layout = Layout.from_environment(os.environ)
    try:
        return _run(layout, os.environ, words)
    except NspawnError as error:
        _log(str(error))
        _tell(error_record(error))
        return error.status
    except OSError as error:
        _log(str(error))
        _tell(error_record(NspawnError("the network was not changed", str(error))))
        return 1


def _run(layout: Layout, environ: Mapping[str, str], words: Sequence[str]) -> int:
    verb, flags, page = _parse(words)
    run: Up | Down
    if verb == "up":
        run = Up(layout, environ, _log, refill="--refill" in flags, by_hand="--by-hand" in flags, page=page)
    else:
        run = Down(layout, environ, _log, force="--force" in flags)
    if "--dry-run" in flags:
        sys.stdout.write("".join(f"{line}\n" for line in run.lines()))
        return 0
    arrived = time.monotonic()
    os.makedirs(layout.run, 0o700, exist_ok=True)
    with _Alone(layout) as alone:
        outcome = alone.covered(arrived) if verb == "up" and not flags else None
        if outcome is None:
            alone.begin()
            outcome = run.run()
            if verb == "up":
                alone.done()
    _tell(outcome)
    return 0


def _parse(words: Sequence[str]) -> tuple[str, set[str], int | None]:
    verb, *rest = words or [""]
    page = None
    if "--page" in rest:
        at = rest.index("--page")
        text = rest[at + 1] if len(rest) > at + 1 else ""
        page = int(text) if text.isdecimal() and len(text) <= 5 else 65536
        rest = rest[:at] + rest[at + 2 :]
    known = {"up": {"--refill", "--by-hand", "--dry-run"}, "down": {"--force", "--dry-run"}}
    if verb not in known or not set(rest) <= known[verb] or (page is not None and page > 65535):
        raise UsageError(
            f"the network's agent does not know {' '.join(words)[:80]!r}",
            hint="up [--refill] [--by-hand] [--dry-run] [--page PORT], or down [--force] [--dry-run]",
        )
    return verb, set(rest), page


class _Alone:
    """One run at a time; who must wait says so.

    The file tells which process has it, and when the last run began that came to its end.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = -1
        self._began = 0.0

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(f"{self._layout.run}/network.lock", flags, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._read().text("pid") or "?"
            _log(f"waits for the run of process {holder}")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _read(self) -> Record:
        try:
            return Record.decode(os.pread(self._lock, 4096, 0))
        except NspawnError:
            return Record()

    def covered(self, arrived: float) -> Record | None:
        """The outcome of a run that began after we came, and so saw all that we are here for."""
        try:
            record = self._read()
            if record.text("boot-id") != boot_id() or record.number("began") <= arrived:
                return None
        except NspawnError:
            return None
        last = netstate.read(self._layout).record
        if last is None or last.get("error") is not None:
            return None
        _log("another run did it")
        return last

    def begin(self) -> None:
        """Say who has the lock; nothing is finished."""
        self._write(Record((("pid", os.getpid()),)))

    def done(self) -> None:
        """This run came to its end."""
        self._write(Record((("pid", os.getpid()), ("boot-id", boot_id()), ("began", self._began))))

    def _write(self, record: Record) -> None:
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, record.encode(), 0)


def _tell(record: Record) -> None:
    data = record.encode()
    while data:
        data = data[os.write(1, data) :]


def _log(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} network: {text}\n")


def run_agent(layout: Layout, environ: Mapping[str, str], verb: str, *flags: str) -> Record:
    """Run the agent in a process of its own: its outcome, or the error that it ended with."""
    import subprocess

    entry = f"{os.path.dirname(os.path.dirname(nspawn.__file__))}/entry/network.py"
    environment = {"PATH": environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    environment |= {key: environ[key] for key in PASSED_ON if key in environ}
    environment["NSPAWN_ROOT"] = layout.root
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-E", entry, verb, *flags],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    record = Record.decode(result.stdout)
    raise_error(record)
    if result.returncode or not record.fields:
        raise NspawnError("the network was not changed", f"its agent ended with status {result.returncode}")
    return record
