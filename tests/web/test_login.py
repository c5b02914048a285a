from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.service.access import SESSION_SECONDS
from tests.support.web import Web


def test_the_token_logs_in(web: Web) -> None:
    answer = web.ask("POST", "/api/v1/login", {"token": web.access.token()}, Authorization="")
    assert answer.status_code == 200
    session = answer.get_json()["session"]
    assert web.access.check_session(session)
    assert web.ask("GET", "/api/v1/containers", Authorization=f"Bearer {session}").status_code == 200


def test_the_answer_says_when_the_session_ends(web: Web) -> None:
    answer = web.ask("POST", "/api/v1/login", {"token": web.access.token()}).get_json()
    assert answer["expires"] == pytest.approx(int(answer["session"].partition(".")[0]), abs=2)
    assert SESSION_SECONDS > 0


def test_the_token_itself_is_a_bearer(web: Web) -> None:
    token = web.access.token()
    assert web.ask("GET", "/api/v1/containers", Authorization=f"Bearer {token}").status_code == 200


def test_a_code_logs_in_once(web: Web) -> None:
    code = web.access.issue_code()
    assert web.ask("POST", "/api/v1/login", {"code": code}, Authorization="").status_code == 200
    again = web.ask("POST", "/api/v1/login", {"code": code}, Authorization="")
    assert again.status_code == 401
    assert "nspawn token" in again.get_json()["error"]["hint"]


@pytest.mark.parametrize(
    "body", [{}, {"token": "a", "code": "b"}, {"token": 1}, {"tokn": "a"}, [], "text", {"token": None}]
)
def test_a_login_names_what_is_wrong_with_it(web: Web, body: object) -> None:
    answer = web.ask("POST", "/api/v1/login", body)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "usage"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_guesses_are_throttled_and_a_session_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    web = Web(tmp_path, clock)
    statuses = [web.ask("POST", "/api/v1/login", {"token": f"guess{n}"}).status_code for n in range(30)]
    assert statuses == [401] * 10 + [429] * 20
    refused = web.ask("POST", "/api/v1/login", {"token": web.access.token()})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 6
    assert web.ask("GET", "/api/v1/containers").status_code == 200
    clock.now += int(refused.headers["Retry-After"])
    assert web.ask("POST", "/api/v1/login", {"token": web.access.token()}).status_code == 200


def test_guessed_bearers_are_throttled_apart_from_logins(tmp_path: Path) -> None:
    web = Web(tmp_path, Clock())
    statuses = {
        web.ask("GET", "/api/v1/jobs", Authorization=f"Bearer guess{n}").status_code for n in range(40)
    }
    assert statuses == {401, 429}
    assert web.ask("GET", "/api/v1/jobs").status_code == 200
    assert web.ask("POST", "/api/v1/login", {"token": web.access.token()}).status_code == 200
