from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from nspawn.errors import Damaged
from tests.support.web import HOST, Web


def ended(web: Web, number: str) -> dict[str, Any]:
    web.jobs.wait(number, 5)
    found: dict[str, Any] = web.ask("GET", f"/api/v1/jobs/{number}").get_json()
    return found


def test_a_clone_is_a_job(web: Web) -> None:
    web.containers.add("box")
    answer = web.ask("POST", "/api/v1/containers/box/clone", {"name": "twin", "start": True})
    assert answer.status_code == 202
    job = ended(web, answer.get_json()["id"])
    assert (job["state"], job["container"], job["notes"]) == ("done", "twin", ["a copy"])
    assert job["result"]["state"]["state"] == "running"
    assert ("clone", "box", "twin") in web.containers.calls


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("none/clone", {"name": "twin"}, 404),
        ("box/clone", {}, 400),
        ("box/clone", {"name": "../x"}, 400),
        ("box/clone", {"name": "twin", "more": 1}, 400),
        ("none/export", {"path": "/a.tar"}, 404),
        ("box/export", {}, 400),
        ("box/export", {"path": "a.tar"}, 400),
        ("box/export", {"path": "/a.tar", "force": "yes"}, 400),
    ],
)
def test_what_is_wrong_is_refused_before_any_job(web: Web, path: str, body: object, status: int) -> None:
    web.containers.add("box")
    assert web.ask("POST", f"/api/v1/containers/{path}", body).status_code == status
    assert web.ask("GET", "/api/v1/jobs").get_json() == {"jobs": []}


def test_an_export_into_a_file_is_a_job(web: Web) -> None:
    web.containers.add("box")
    body = {"path": "/srv/box.tar.xz", "force": True}
    job = ended(web, web.ask("POST", "/api/v1/containers/box/export", body).get_json()["id"])
    assert job["result"]["path"] == "/srv/box.tar.xz"
    assert web.containers.calls == [("export", "box", "/srv/box.tar.xz", True)]


def test_an_export_is_a_download(web: Web) -> None:
    web.containers.add("box")
    web.containers.archive = [bytes([number]) * 100_000 for number in range(30)]
    answer = web.ask("GET", "/api/v1/containers/box/export")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="box.tar.')
    assert answer.data == b"".join(web.containers.archive)
    assert web.ask("GET", "/api/v1/containers/none/export").status_code == 404
    assert web.ask("GET", "/api/v1/containers/box/export", Authorization="").status_code == 401


@pytest.mark.parametrize("failure", [Damaged("it is not whole"), OSError(11, "no process can be made")])
def test_an_export_that_fails_has_no_end(web: Web, failure: Exception) -> None:
    web.containers.add("box")
    web.containers.broken = failure
    answer = web.client.get("/api/v1/containers/box/export", headers={"Host": HOST, **web.bearer})
    pieces = answer.iter_encoded()
    assert next(pieces) == b"an archive"
    with pytest.raises(type(failure)):
        next(pieces)
    answer.close()


def test_a_client_that_goes_ends_the_export(web: Web) -> None:
    web.containers.add("box")
    web.containers.archive = [b"x" * 100_000] * 1000
    before = threading.active_count()
    answer = web.client.get("/api/v1/containers/box/export", headers={"Host": HOST, **web.bearer})
    assert next(answer.iter_encoded()).startswith(b"x")
    answer.close()
    assert threading.active_count() == before


def test_an_upload_can_be_an_export(web: Web) -> None:
    answer = web.client.post(
        "/api/v1/containers/box/upload?import=1&start=1&trusted=1",
        headers={
            "Host": HOST,
            "X-Nspawn": "1",
            "Content-Type": "application/octet-stream",
            **web.bearer,
        },
        input_stream=io.BytesIO(b"abc"),
        content_length=3,
    )
    assert answer.status_code == 202, answer.get_json()
    job = ended(web, answer.get_json()["id"])
    assert (job["state"], job["notes"]) == ("done", ["its ports were left out"])
    assert web.containers.uploaded == b"abc"
    assert web.containers.calls == [("import", "box", 3, True), ("start", "box")]


def test_an_export_has_settings_of_its_own(web: Web) -> None:
    for query in ("import=1&set=boot=true", "import=1&image=1", "import=1&boot=1", "import=2"):
        answer = web.ask(
            "POST",
            f"/api/v1/containers/box/upload?{query}",
            b"abc",
            Content_Type="application/octet-stream",
        )
        assert answer.status_code == 400
    assert not web.containers.calls
