"""/api/v1/network: what a request becomes, and what is refused before it."""

from __future__ import annotations

from typing import Any

import pytest

from nspawn.model.record import Record
from tests.support.web import Web, event_reader

PATH = "/api/v1/network"


def test_its_state_is_told(web: Web) -> None:
    answer = web.ask("GET", PATH)
    assert answer.status_code == 200
    assert answer.get_json()["uplinks"] == [{"name": "wlan0"}]


def test_a_container_is_explained(web: Web) -> None:
    assert web.ask("GET", f"{PATH}/containers/box").status_code == 200
    assert web.ask("GET", f"{PATH}/containers/none").status_code == 404
    assert web.network.calls == [("explain", "box"), ("explain", "none")]


@pytest.mark.parametrize("name", ["..", "a%2Fb", "A", "%00", "x" * 80])
def test_a_name_that_is_none_reaches_nothing(web: Web, name: str) -> None:
    assert web.ask("GET", f"{PATH}/containers/{name}").status_code in (400, 404)
    assert web.network.calls == []


def test_it_is_taken_down_only_when_nobody_uses_it_or_by_force(web: Web) -> None:
    answer = web.ask("POST", f"{PATH}/down")
    assert (answer.status_code, answer.get_json()["error"]["why"]) == (409, "by box")
    answer = web.ask("POST", f"{PATH}/down", {"force": True})
    assert answer.get_json() == {"removed": ["ip link delete nspawn_br1"]}
    assert web.network.calls == [("down", False), ("down", True)]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"force": "yes"}, "force"),
        ({"force": None}, "force"),
        ({"now": True}, "now"),
        ([], "body"),
        (b"{", "body"),
    ],
)
def test_a_bad_request_names_what_is_wrong_and_does_nothing(web: Web, body: Any, named: str) -> None:
    answer = web.ask("POST", f"{PATH}/down", body)
    assert answer.status_code == 400
    assert named in answer.get_json()["error"]["what"]
    assert web.network.calls == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PATH), ("GET", f"{PATH}/containers/box"), ("POST", f"{PATH}/down")]
)
def test_without_a_login_it_says_and_does_nothing(web: Web, method: str, path: str) -> None:
    answer = web.ask(method, path, Authorization="")
    assert answer.status_code == 401
    assert b"wlan0" not in answer.data
    assert web.network.calls == []


def test_a_form_of_another_page_changes_nothing(web: Web) -> None:
    for headers in ({"X_Nspawn": ""}, {"Origin": "http://evil.example"}, {"Content_Type": "text/plain"}):
        assert web.ask("POST", f"{PATH}/down", {"force": True}, **headers).status_code in (400, 403, 415)
    assert web.network.calls == []


def test_a_change_reaches_the_stream(web: Web) -> None:
    with event_reader(web.ask("GET", "/api/v1/events")) as events:
        assert next(events)[0] == "hello"
        web.watches[0].put(Record((("event", "network"), ("mode", "bridge"))))
        assert next(events) == ("network", {"up": True, "free": None, "paths": {}})


def test_an_upload_may_name_settings(web: Web) -> None:
    answer = web.ask(
        "POST",
        "/api/v1/containers/box/upload?set=network.mode%3Dnat&set=network.ports%3D8080:80",
        b"archive",
        Content_Type="application/octet-stream",
    )
    assert answer.status_code == 202
    web.jobs.get(answer.get_json()["id"])
    for bad in ("set=network.mode", "set=network.mode%3Dlan", "set=network.ports%3D80:80", "set=%3Dx"):
        answer = web.ask(
            "POST",
            f"/api/v1/containers/other/upload?{bad}",
            b"archive",
            Content_Type="application/octet-stream",
        )
        assert answer.status_code == 400, bad
