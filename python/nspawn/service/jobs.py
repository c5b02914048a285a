"""Long work in the background of one process: progress, cancel, result."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nspawn.errors import Busy, Conflict, NotFound, NspawnError
from nspawn.model.progress import Asked, Cancelled, Meter, Progress, Report

__all__ = ["Cancelled", "Job", "Jobs", "Progress", "Result"]

log = logging.getLogger(__name__)

#: Work at once, and ended jobs that can still be asked for.
MOST_RUNNING = 4
MOST_KEPT = 50
#: Seconds between two reports of the same job.
_PACE = 0.1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work as it is now.  state: running, done, failed or cancelled.

    rate: per second since it began; eta: seconds left, None when unknown.  notes: what a person should know
    of the result.  secret: whether `take_secret` has something to give.
    """

    id: str
    kind: str
    container: str
    state: str = "running"
    phase: str = ""
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    eta: float | None = None
    error: dict[str, str] | None = None
    result: Any = None
    cancelling: bool = False
    notes: tuple[str, ...] = ()
    secret: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.id,
            "kind": self.kind,
            "container": self.container,
            "state": self.state,
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "rate": round(self.rate, 1),
            "eta": None if self.eta is None else round(self.eta, 1),
            "error": self.error,
            "result": self.result,
            "cancelling": self.cancelling,
            "notes": list(self.notes),
            "secret": self.secret,
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What work may give instead of its value alone.  secret: handed out once, by `Jobs.take_secret`; it is
    no part of the job, which goes to every page.
    """

    value: Any
    notes: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)


Work = Callable[[Report, Asked], Any]


class _Run:
    """A job's present value and what steers it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cancelled = threading.Event()
        self.meter = Meter(time.monotonic)
        self.reported = 0.0
        self.secret = ""


class Jobs:
    """All jobs of this process, each in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._runs: dict[str, _Run] = {}
        self._listeners: list[Callable[[Job], None]] = []
        self._ended = threading.Condition(self._lock)

    def start(self, kind: str, container: str, work: Work) -> Job:
        """Begin `work(progress, cancelled)`; its value becomes the result (`as_dict()` of it, if it has one).

        Raises Conflict when the container has a job already, Busy when there are too many.
        """
        with self._lock:
            running = [run.job for run in self._runs.values() if run.job.state == "running"]
            for job in running:
                if job.container == container:
                    raise Conflict(
                        f"{container or 'the store of images'} is busy",
                        f"{job.kind} is still at work",
                        "Wait for it or cancel it.",
                    )
            if len(running) >= MOST_RUNNING:
                raise Busy(f"{len(running)} jobs are at work", hint="Wait for one of them to end.")
            ended = [number for number, run in self._runs.items() if run.job.state != "running"]
            for number in ended[: max(0, len(ended) - MOST_KEPT + 1)]:
                del self._runs[number]
            run = _Run(Job(id=os.urandom(8).hex(), kind=kind, container=container))
            self._runs[run.job.id] = run
        self._tell(run.job)
        threading.Thread(target=self._work, args=(run, work), name=f"job {kind}", daemon=True).start()
        return run.job

    def get(self, number: str) -> Job:
        """The job as it is now; NotFound."""
        with self._lock:
            return self._find(number).job

    def list(self) -> Sequence[Job]:
        """Oldest first."""
        with self._lock:
            return [run.job for run in self._runs.values()]

    def cancel(self, number: str) -> Job:
        """Ask it to end; it undoes what it did and becomes cancelled.  Nothing for one that has ended."""
        with self._lock:
            run = self._find(number)
            run.cancelled.set()
            if run.job.state == "running":
                self._change(run, cancelling=True)
            return run.job

    def wait(self, number: str, seconds: float | None = None) -> Job:
        """The job when it has ended, or as it is after these seconds."""
        with self._ended:
            run = self._find(number)
            self._ended.wait_for(lambda: run.job.state != "running", seconds)
            return run.job

    def take_secret(self, number: str) -> str:
        """What the job's work left for one person, who gets it; nobody does a second time.  NotFound."""
        with self._lock:
            run = self._find(number)
            secret, run.secret = run.secret, ""
        if not secret:
            raise NotFound("there is nothing to show", "it was shown already, or there never was anything")
        self._change(run, secret=False)
        return secret

    @property
    def busy(self) -> bool:
        """Whether any work is going on."""
        with self._lock:
            return any(run.job.state == "running" for run in self._runs.values())

    def subscribe(self, listener: Callable[[Job], None]) -> Callable[[], None]:
        """Call the listener, in any thread, at each change of any job; returns what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def _find(self, number: str) -> _Run:
        try:
            return self._runs[number]
        except KeyError:
            raise NotFound("there is no such job", hint="Ended jobs are forgotten after a while.") from None

    def _work(self, run: _Run, work: Work) -> None:
        def progress(step: Progress) -> None:
            self._progress(run, step)

        try:
            result = work(progress, run.cancelled.is_set)
        except Cancelled:
            self._change(run, state="cancelled", eta=None)
        except NspawnError as error:
            self._change(run, state="failed", error=error.as_dict(), eta=None)
        except Exception:
            log.exception("the job %s of %s failed", run.job.kind, run.job.container)
            mistake = NspawnError(
                f"{run.job.kind} of {run.job.container} failed",
                "a mistake of this program",
                "The log has the details.",
            )
            self._change(run, state="failed", error=mistake.as_dict(), eta=None)
        else:
            given = result if isinstance(result, Result) else Result(value=result)
            run.secret = given.secret
            described = getattr(given.value, "as_dict", None)
            self._change(
                run,
                state="done",
                result=described() if described else given.value,
                notes=given.notes,
                secret=bool(given.secret),
                eta=None,
            )

    def _progress(self, run: _Run, step: Progress) -> None:
        rate, eta = run.meter.measure(step)
        now = time.monotonic()
        with self._lock:
            quiet = step.phase == run.job.phase and now - run.reported < _PACE
            run.job = replace(run.job, phase=step.phase, done=step.done, total=step.total, rate=rate, eta=eta)
            if quiet:
                return
            run.reported = now
        self._tell(run.job)

    def _change(self, run: _Run, **changes: Any) -> None:
        with self._lock:
            run.job = replace(run.job, **changes)
            self._ended.notify_all()
        self._tell(run.job)

    def _tell(self, job: Job) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(job)
            except Exception:
                log.exception("a listener of jobs failed")
