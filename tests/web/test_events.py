from __future__ import annotations

import time
from pathlib import Path

import pytest

from nspawn.model.record import Record
from nspawn.web import events
from nspawn.web.events import EventStream, Hub, Mailbox, Streams
from nspawn.web.refusal import Refusal
from tests.support.web import FakeWatch, Web, event_reader


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setattr(events, "PACE", 0.0)
    monkeypatch.setattr(events, "RETRY", 0.05)
    return Web(tmp_path)


def wait_for_watch(web: Web, count: int = 1) -> FakeWatch:
    until = time.monotonic() + 5
    while len(web.watches) < count and time.monotonic() < until:
        time.sleep(0.01)
    return web.watches[count - 1]


def test_a_change_is_told_with_the_container(web: Web) -> None:
    web.containers.add("web", state="running")
    with event_reader(web.ask("GET", "/api/v1/events")) as stream:
        assert next(stream) == ("hello", {})
        wait_for_watch(web).put(Record([("event", "state"), ("name", "web")]))
        kind, data = next(stream)
        assert (kind, data["name"], data["state"]["state"]) == ("container", "web", "running")
        wait_for_watch(web).put(Record([("event", "changed"), ("name", "gone")]))
        assert next(stream) == ("removed", {"name": "gone"})
        # It is told while its folder is still being emptied.
        wait_for_watch(web).put(Record([("event", "removed"), ("name", "web")]))
        assert next(stream) == ("removed", {"name": "web"})


def test_jobs_are_told(web: Web) -> None:
    with event_reader(web.ask("GET", "/api/v1/events")) as stream:
        next(stream)
        web.ask("POST", "/api/v1/containers", {"name": "web", "source": {"kind": "builtin"}})
        job = next(data for kind, data in stream if kind == "job" and data["state"] == "done")
        assert job["container"] == "web"


def test_a_console_has_history_and_then_what_comes(web: Web) -> None:
    web.containers.add("web")
    with event_reader(web.ask("GET", "/api/v1/events?log=web")) as stream:
        logs = (data for kind, data in stream if kind == "log")
        assert next(logs) == {"name": "web", "start": True, "text": ""}
        assert next(logs) == {"name": "web", "text": "history\n"}
        follow = web.containers.follows[0]
        follow.write("é".encode()[:1])
        follow.write("é".encode()[1:] + b"\xff")
        assert next(logs)["text"] == "é\ufffd"
    assert follow.ended.wait(5)


def test_the_last_client_ends_the_watch(web: Web) -> None:
    first, second = web.ask("GET", "/api/v1/events"), web.ask("GET", "/api/v1/events")
    watch = wait_for_watch(web)
    first.close()
    assert not watch.ended.is_set()
    second.close()
    assert watch.ended.wait(5)
    assert len(web.watches) == 1


def test_when_the_spawner_comes_back_everything_is_loaded_anew(web: Web) -> None:
    with event_reader(web.ask("GET", "/api/v1/events")) as stream:
        next(stream)
        wait_for_watch(web).put(None)
        assert next(stream) == ("reset", {})
        wait_for_watch(web, 2).put(Record([("event", "removed"), ("name", "gone")]))
        assert next(stream)[0] == "removed"


@pytest.mark.parametrize("query", ["log=..", "log=none", "log=", "log=a&log=b&log=c&log=d&log=e"])
def test_a_stream_of_no_console_is_refused(web: Web, query: str) -> None:
    answer = web.ask("GET", f"/api/v1/events?{query}")
    assert answer.status_code in (400, 404)
    assert web.ask("GET", "/api/v1/settings").get_json()["streams"]["open"] == 0


def test_streams_are_capped_and_given_back(web: Web) -> None:
    opened = [web.ask("GET", "/api/v1/events") for _ in range(events.MOST_STREAMS)]
    refused = web.ask("GET", "/api/v1/events")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "10"
    assert web.ask("HEAD", "/api/v1/events").status_code == 200
    assert web.ask("GET", "/api/v1/containers").status_code == 200
    for each in opened:
        each.close()
    again = web.ask("GET", "/api/v1/events")
    assert again.status_code == 200
    again.close()
    assert web.ask("GET", "/api/v1/settings").get_json()["streams"]["open"] == 0


def make_hub() -> Hub:
    return Hub(FakeWatch, lambda name: {"name": name}, lambda: {"blocked": True}, lambda: {"up": True})


def text(box: Mailbox) -> str:
    return box.take(0).decode()


def test_who_comes_back_gets_what_it_missed() -> None:
    hub = make_hub()
    first, second = hub.join(), hub.join()
    hub.publish("container", "container a", {"n": 1})
    seen = hub.last_id
    hub.leave(first)
    hub.publish("container", "container b", {"n": 2})
    again = text(hub.join(seen))
    assert '"n":2' in again
    assert '"n":1' not in again
    assert "event: hello" in again
    hub.leave(second)


@pytest.mark.parametrize("last", ["x", "other-1", "-", "1-2-3", "other-999999999999999999999"])
def test_a_number_of_another_process_loads_anew(last: str) -> None:
    assert "event: reset" in text(make_hub().join(last))


def test_what_nobody_watched_cannot_be_told() -> None:
    hub = make_hub()
    box = hub.join()
    hub.publish("container", "a", {})
    seen = hub.last_id
    hub.leave(box)
    assert "event: reset" in text(hub.join(seen))


def test_only_the_newest_state_waits() -> None:
    hub = make_hub()
    box = hub.join()
    for number in range(10_000):
        hub.publish("job", "job 1", {"number": number})
    waiting = text(box)
    assert waiting.count("event: job") == 1
    assert '"number":9999' in waiting
    hub.leave(box)


def test_a_client_with_too_much_waiting_loads_anew() -> None:
    hub = make_hub()
    box = hub.join()
    for number in range(events.MOST_WAITING + 5):
        hub.publish("container", f"container {number}", {})
    waiting = text(box)
    assert waiting == "event: reset\ndata: {}\n\n"
    hub.leave(box)


def test_console_output_waits_for_a_slow_client_and_ends_with_it() -> None:
    import threading

    box = Mailbox()
    piece = b"x" * 100_000
    for _ in range(3):
        assert box.post_log(piece)
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(box.post_log(piece)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    assert len(box.take(0)) == 300_000
    waiting.join(5)
    assert results == [True]
    box.close()
    assert not box.post_log(piece)


def test_a_stream_ends_with_its_login_and_with_its_client() -> None:
    for gone, allowed in ((True, True), (False, False)):
        ended: list[bool] = []
        stream = EventStream(
            Mailbox(),
            gone=lambda gone=gone: gone,  # type: ignore[misc]
            allowed=lambda allowed=allowed: allowed,  # type: ignore[misc]
            on_close=lambda ended=ended: ended.append(True),  # type: ignore[misc]
            heartbeat=0.01,
        )
        assert all(piece == b": here\n\n" for piece in stream)
        stream.close()
        stream.close()
        assert ended == [True]


def test_the_cap_counts() -> None:
    streams = Streams(1)
    with streams, pytest.raises(Refusal), streams:
        pass
    assert streams.open == 0
