from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from nspawn.service.containers import Builtin, Folder, Tarball
from tests.support.web import Web


def wait_for_job(web: Web, number: str) -> dict[str, Any]:
    web.jobs.wait(number, 5)
    found: dict[str, Any] = web.ask("GET", f"/api/v1/jobs/{number}").get_json()
    return found


def create(web: Web, body: object) -> dict[str, Any]:
    answer = web.ask("POST", "/api/v1/containers", body)
    assert answer.status_code == 202, answer.get_json()
    return wait_for_job(web, answer.get_json()["id"])


def test_the_list_is_empty_at_first(web: Web) -> None:
    assert web.ask("GET", "/api/v1/containers").get_json() == {"containers": []}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"kind": "builtin"}, Builtin()),
        ({"kind": "folder", "path": "/srv/rootfs"}, Folder("/srv/rootfs")),
        ({"kind": "tarball", "path": "/srv/a.tar"}, Tarball("/srv/a.tar")),
    ],
)
def test_create_passes_on_the_source(web: Web, source: object, expected: object) -> None:
    job = create(web, {"name": "web", "source": source})
    assert job["state"] == "done"
    assert job["result"]["name"] == "web"
    assert web.containers.calls[0][1].source == expected  # type: ignore[attr-defined]


def test_create_takes_settings_and_can_start(web: Web) -> None:
    body = {"name": "web", "source": {"kind": "builtin"}, "start": True, "settings": {"autostart": True}}
    assert create(web, body)["state"] == "done"
    made = web.ask("GET", "/api/v1/containers/web").get_json()
    assert made["state"]["state"] == "running"
    assert made["settings"]["autostart"]["enabled"] is True


def test_a_failed_create_says_why(web: Web) -> None:
    web.containers.add("web")
    job = create(web, {"name": "web", "source": {"kind": "builtin"}})
    assert job["state"] == "failed"
    assert job["error"]["code"] == "conflict"


def test_a_create_can_be_cancelled(web: Web) -> None:
    web.containers.hold.clear()
    number = web.ask("POST", "/api/v1/containers", {"name": "web", "source": {"kind": "builtin"}}).get_json()[
        "id"
    ]
    assert web.ask("DELETE", f"/api/v1/jobs/{number}").status_code == 200
    assert wait_for_job(web, number)["state"] == "cancelled"
    assert web.ask("GET", "/api/v1/containers/web").status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": "web"}, "source"),
        ({"name": 5, "source": {"kind": "builtin"}}, "name"),
        ({"name": "web", "source": []}, "source"),
        ({"name": "web", "source": {"kind": "magic"}}, "source.kind"),
        ({"name": "web", "source": {"kind": "folder"}}, "source.path"),
        ({"name": "web", "source": {"kind": "folder", "path": "relative"}}, "source.path"),
        ({"name": "web", "source": {"kind": "folder", "path": "/a\0b"}}, "source.path"),
        ({"name": "web", "source": {"kind": "builtin", "path": "/a"}}, "source.path"),
        ({"name": "web", "source": {"kind": "builtin"}, "start": 1}, "start"),
        ({"name": "web", "source": {"kind": "builtin"}, "sart": True}, "sart"),
        ({"name": "web", "source": {"kind": "builtin"}, "settings": {"user": None}}, "settings.user"),
        ([], "body"),
        (3, "body"),
    ],
)
def test_a_wrong_attribute_is_named_by_its_path(web: Web, body: object, path: str) -> None:
    answer = web.ask("POST", "/api/v1/containers", body)
    assert answer.status_code == 400
    assert f"request's {path} " in answer.get_json()["error"]["what"]
    assert not web.containers.calls


@pytest.mark.parametrize(
    "data", [b"{", b"\xff", b"nan", b"[" * 60_000, b'{"name": "\\ud800"}', b'{"name": NaN}']
)
def test_what_is_not_json_is_refused(web: Web, data: bytes) -> None:
    assert web.ask("POST", "/api/v1/containers", data).status_code == 400


def test_a_large_body_is_refused(web: Web) -> None:
    answer = web.ask("POST", "/api/v1/containers", b" " * 70_000)
    assert answer.status_code == 413
    assert answer.get_json()["error"]["code"] == "too_large"


def test_an_upload_is_the_body(web: Web) -> None:
    content = bytes(range(256)) * 1000
    answer = web.client.post(
        "/api/v1/containers/web/upload?start=1",
        headers={
            "Host": "localhost:8080",
            "X-Nspawn": "1",
            "Content-Type": "application/octet-stream",
            **web.bearer,
        },
        input_stream=io.BytesIO(content),
        content_length=len(content),
    )
    assert answer.status_code == 202, answer.get_json()
    assert wait_for_job(web, answer.get_json()["id"])["state"] == "done"
    assert web.containers.uploaded == content
    assert web.containers.get("web").state == "running"


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("web/upload", "application/json"),
        ("web/upload?start=yes", "application/octet-stream"),
        ("web/upload?boot=2", "application/octet-stream"),
    ],
)
def test_an_upload_is_refused_when_it_is_none(web: Web, path: str, type_: str) -> None:
    answer = web.ask("POST", f"/api/v1/containers/{path}", b"x", Content_Type=type_)
    assert answer.status_code in (400, 415)
    assert not web.containers.calls


def test_an_empty_upload_is_refused(web: Web) -> None:
    answer = web.ask("POST", "/api/v1/containers/web/upload", Content_Type="application/octet-stream")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("verb", "body", "call"),
    [
        ("start", None, ("start", "web")),
        ("start", {}, ("start", "web")),
        ("restart", None, ("restart", "web")),
        ("freeze", None, ("freeze", "web")),
        ("thaw", None, ("thaw", "web")),
        ("stop", None, ("stop", "web", None)),
        ("stop", {"seconds": 2}, ("stop", "web", 2.0)),
        ("stop", {"seconds": None}, ("stop", "web", None)),
        ("kill", None, ("kill", "web", "SIGKILL")),
        ("kill", {"signal": "SIGHUP"}, ("kill", "web", "SIGHUP")),
    ],
)
def test_verbs_call_one_use_case(web: Web, verb: str, body: object, call: object) -> None:
    web.containers.add("web")
    answer = web.ask("POST", f"/api/v1/containers/web/{verb}", body)
    assert answer.status_code == 200
    assert answer.get_json()["name"] == "web"
    assert web.containers.calls == [call]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("start", {"x": 1}),
        ("freeze", {"x": 1}),
        ("thaw", {"x": 1}),
        ("stop", {"seconds": -1}),
        ("stop", {"seconds": 1e9}),
        ("stop", {"seconds": True}),
        ("stop", {"seconds": "5"}),
        ("kill", {"signal": 9}),
        ("kill", {"signal": "rm -rf"}),
    ],
)
def test_verbs_refuse_wrong_input(web: Web, verb: str, body: object) -> None:
    web.containers.add("web")
    assert web.ask("POST", f"/api/v1/containers/web/{verb}", body).status_code == 400
    assert web.containers.get("web").state == "stopped"


def test_settings_change_by_dotted_key(web: Web) -> None:
    web.containers.add("web")
    changes = {"autostart.enabled": True, "restart.delay": 2.5, "binds": ["/a:/b"], "hostname": "box"}
    answer = web.ask("PATCH", "/api/v1/containers/web", changes)
    assert answer.status_code == 200, answer.get_json()
    assert web.containers.calls == [
        (
            "update",
            "web",
            {
                "autostart.enabled": "true",
                "restart.delay": "2.5",
                "binds": json.dumps(["/a:/b"]),
                "hostname": "box",
            },
        )
    ]
    assert answer.get_json()["settings"]["hostname"] == "box"


@pytest.mark.parametrize("changes", [{}, {"nothing": "x"}, {"autostart.order": "first"}])
def test_wrong_settings_are_refused(web: Web, changes: object) -> None:
    web.containers.add("web")
    assert web.ask("PATCH", "/api/v1/containers/web", changes).status_code == 400


def test_delete_and_rename(web: Web) -> None:
    web.containers.add("web", state="running")
    assert web.ask("DELETE", "/api/v1/containers/web").status_code == 409
    web.containers.stop("web")
    assert web.ask("POST", "/api/v1/containers/web/rename", {"name": "next"}).get_json()["name"] == "next"
    assert web.ask("DELETE", "/api/v1/containers/next").get_json() == {"removed": "next"}
    assert web.ask("GET", "/api/v1/containers/next").status_code == 404


def test_the_log_is_text_that_no_browser_takes_for_a_page(web: Web) -> None:
    web.containers.add("web")
    answer = web.ask("GET", "/api/v1/containers/web/log")
    assert answer.data == b"<b>one</b>\ntwo\n"
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert web.ask("GET", "/api/v1/containers/web/log?limit=4").data == b"two\n"


@pytest.mark.parametrize("limit", ["0", "-1", "x", "9999999999", "", "٣"])
def test_a_wrong_limit_is_refused(web: Web, limit: str) -> None:
    web.containers.add("web")
    assert (
        web.client.get(
            "/api/v1/containers/web/log",
            query_string={"limit": limit},
            headers={"Host": "localhost:8080", **web.bearer},
        ).status_code
        == 400
    )


def test_a_mistake_shows_a_number_and_no_more(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[Any]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(web.containers, "list", broken)
    answer = web.ask("GET", "/api/v1/containers")
    assert answer.status_code == 500
    error = answer.get_json()["error"]
    assert error["code"] == "internal"
    assert "secret" not in answer.text
    number = error["why"].split()[-1]
    assert number in caplog.text
    assert "secret detail" in caplog.text


def test_the_machine(web: Web) -> None:
    assert web.ask("GET", "/api/v1/host").get_json() == {"kernel": "6.1"}
    readings = web.ask("GET", "/api/v1/host/readings").get_json()
    assert readings["memory"]["total"] > readings["memory"]["available"] > 0
    assert sorted(readings["power"]) == ["battery", "problem", "rules", "thermal"]
    assert web.ask("GET", "/api/v1/settings").get_json()["streams"] == {"open": 0, "most": 16}
    assert web.client.get("/health", headers={"Host": "localhost:8080"}).get_json() == {
        "status": "ok",
        "name": "nspawn",
    }


def test_jobs(web: Web) -> None:
    assert web.ask("GET", "/api/v1/jobs").get_json() == {"jobs": []}
    assert web.ask("GET", "/api/v1/jobs/none").status_code == 404
    assert web.ask("DELETE", "/api/v1/jobs/none").status_code == 404
    web.containers.hold.clear()
    body = {"name": "web", "source": {"kind": "builtin"}}
    assert web.ask("POST", "/api/v1/containers", body).status_code == 202
    assert web.ask("POST", "/api/v1/containers", body).status_code == 409
    web.containers.hold.set()
    until = time.monotonic() + 5
    while web.jobs.busy and time.monotonic() < until:
        time.sleep(0.01)
    assert [job["state"] for job in web.ask("GET", "/api/v1/jobs").get_json()["jobs"]] == ["done"]
