from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import Busy, Conflict, NotFound, UsageError
from nspawn.model.progress import Asked, Cancelled, Meter, Progress, Report
from nspawn.service.jobs import MOST_KEPT, MOST_RUNNING, Job, Jobs, Result

if TYPE_CHECKING:
    from collections.abc import Callable


def until_cancelled(_progress: Report, cancelled: Asked) -> None:
    while not cancelled():
        threading.Event().wait(0.005)
    raise Cancelled


def test_the_result_is_kept() -> None:
    jobs = Jobs()
    job = jobs.start("create", "box", lambda _progress, _cancelled: {"name": "box"})
    job = jobs.wait(job.id, 5)
    assert (job.state, job.result, job.error) == ("done", {"name": "box"}, None)
    assert not jobs.busy


def test_a_failure_is_an_error_a_person_can_read() -> None:
    def work(_progress: Report, _cancelled: Asked) -> None:
        raise UsageError("no such thing", "because", "do that")

    jobs = Jobs()
    job = jobs.wait(jobs.start("create", "box", work).id, 5)
    assert job.state == "failed"
    assert job.error == {"code": "usage", "what": "no such thing", "why": "because", "hint": "do that"}


def test_a_mistake_ends_the_job_too(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs()
    job = jobs.wait(jobs.start("create", "box", lambda _progress, _cancelled: 1 // 0).id, 5)
    assert job.state == "failed"
    assert "ZeroDivisionError" in caplog.text


def test_a_secret_is_handed_out_once_and_is_no_part_of_the_job() -> None:
    told: list[Job] = []
    jobs = Jobs()
    jobs.subscribe(told.append)
    made = Result(value={"name": "box"}, notes=("well",), secret="sesame")
    job = jobs.wait(jobs.start("create", "box", lambda _progress, _cancelled: made).id, 5)
    assert (job.result, job.notes, job.secret) == ({"name": "box"}, ("well",), True)
    assert jobs.take_secret(job.id) == "sesame"
    with pytest.raises(NotFound):
        jobs.take_secret(job.id)
    assert [each.secret for each in told[-2:]] == [True, False]
    assert "sesame" not in repr((made, told, jobs.list()))


def test_cancel() -> None:
    jobs = Jobs()
    job = jobs.start("create", "box", until_cancelled)
    assert jobs.cancel(job.id).cancelling
    assert jobs.wait(job.id, 5).state == "cancelled"
    assert jobs.cancel(job.id).state == "cancelled"


def test_one_job_per_container_and_few_at_once() -> None:
    jobs = Jobs()
    running = [jobs.start("create", f"c{number}", until_cancelled) for number in range(MOST_RUNNING)]
    with pytest.raises(Conflict):
        jobs.start("create", "c0", until_cancelled)
    with pytest.raises(Busy):
        jobs.start("create", "other", until_cancelled)
    for job in running:
        jobs.cancel(job.id)
        assert jobs.wait(job.id, 5).state == "cancelled"


def test_old_jobs_are_forgotten() -> None:
    jobs = Jobs()
    first = jobs.start("create", "box", lambda _progress, _cancelled: None)
    jobs.wait(first.id, 5)
    for _ in range(MOST_KEPT):
        jobs.wait(jobs.start("create", "box", lambda _progress, _cancelled: None).id, 5)
    assert len(jobs.list()) == MOST_KEPT
    with pytest.raises(NotFound):
        jobs.get(first.id)


def test_listeners_hear_every_phase_and_the_end() -> None:
    def work(progress: Callable[[Progress], None], _cancelled: Asked) -> None:
        for phase in ("reading", "writing"):
            for done in range(1000):
                progress(Progress(phase=phase, done=done, total=1000))

    jobs = Jobs()
    heard: list[Job] = []
    unsubscribe = jobs.subscribe(heard.append)
    job = jobs.start("create", "box", work)
    jobs.wait(job.id, 5)
    unsubscribe()
    assert [each.phase for each in heard if each.state == "running"][:2] == ["", "reading"]
    assert heard[-1].state == "done"
    assert len(heard) < 100
    jobs.wait(jobs.start("create", "box", work).id, 5)
    assert heard[-1].id == job.id


def test_the_meter_tells_rate_and_time_left() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    assert meter.measure(Progress(phase="a", done=0, total=100)) == (0.0, None)
    now = 2.0
    assert meter.measure(Progress(phase="a", done=20, total=100)) == (10.0, 8.0)
    assert meter.measure(Progress(phase="b", done=5)) == (0.0, None)
