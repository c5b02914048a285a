"""/api/v1/guard: what a request becomes, and what is refused before it."""

from __future__ import annotations

from typing import Any

import pytest

from nspawn.model.record import Record
from tests.support.web import Web, event_reader

PATH = "/api/v1/guard"


def test_its_state_is_told(web: Web) -> None:
    answer = web.ask("GET", PATH)
    assert answer.status_code == 200
    assert answer.get_json() == {"blocked": True, "never": []}


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"action": "try-again"}, ("try-again",)),
        ({"action": "never", "feature": "pid"}, ("never", "pid")),
    ],
)
def test_a_decision_is_one_call_and_answers_the_new_state(
    web: Web, body: dict[str, str], call: tuple[str, ...]
) -> None:
    answer = web.ask("POST", PATH, body)
    assert answer.status_code == 200
    assert web.guard.calls == [call]
    assert answer.get_json() == web.guard.as_dict()


def test_what_was_forbidden_can_be_allowed(web: Web) -> None:
    web.ask("POST", PATH, {"action": "never", "feature": "pid"})
    assert web.ask("POST", PATH, {"action": "allow", "feature": "pid"}).get_json()["never"] == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "action"),
        ({"action": "reboot"}, "action"),
        ({"action": 1}, "action"),
        ({"action": None}, "action"),
        ({"action": "never"}, "feature"),
        ({"action": "never", "feature": ["pid"]}, "feature"),
        ({"action": "never", "feature": "p\0d"}, "feature"),
        ({"action": "try-again", "feature": "pid"}, "feature"),
        ({"action": "allow", "feature": "pid", "now": True}, "now"),
        ([], "body"),
        (b"{", "body"),
    ],
)
def test_a_bad_request_names_what_is_wrong_and_decides_nothing(web: Web, body: Any, named: str) -> None:
    answer = web.ask("POST", PATH, body)
    assert answer.status_code == 400
    assert named in answer.get_json()["error"]["what"]
    assert not web.guard.calls


def test_an_error_of_the_guard_is_shown(web: Web) -> None:
    answer = web.ask("POST", PATH, {"action": "never", "feature": "mnt"})
    assert answer.status_code == 400
    assert "mount" in answer.get_json()["error"]["what"]


def test_without_a_login_it_says_and_does_nothing(web: Web) -> None:
    for method in ("GET", "POST"):
        answer = web.ask(method, PATH, {"action": "try-again"}, Authorization="")
        assert answer.status_code == 401
        assert b"blocked" not in answer.data
    assert not web.guard.calls


def test_a_change_reaches_the_stream(web: Web) -> None:
    with event_reader(web.ask("GET", "/api/v1/events")) as events:
        assert next(events)[0] == "hello"
        web.watches[0].put(Record((("event", "guard"),)))
        assert next(events) == ("guard", {"blocked": True, "never": []})
