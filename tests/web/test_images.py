from __future__ import annotations

import io
import json
import threading
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from nspawn.errors import Damaged
from nspawn.model.finish import FinishWish
from nspawn.model.imageref import Distribution, File, Registry, Url
from nspawn.service.containers import FromImage
from tests.support.web import Web, event_reader

KEY = "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " me@here"
SECRET = "correct-horse"


def ended(web: Web, number: str) -> dict[str, Any]:
    web.jobs.wait(number, 5)
    found: dict[str, Any] = web.ask("GET", f"/api/v1/jobs/{number}").get_json()
    return found


def create(web: Web, source: object, **more: object) -> dict[str, Any]:
    answer = web.ask("POST", "/api/v1/containers", {"name": "web", "source": source, **more})
    assert answer.status_code == 202, answer.get_json()
    return ended(web, answer.get_json()["id"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"reference": "debian:13"}, FromImage(reference=Distribution(name="debian", release="13"))),
        (
            {"reference": "debian:13", "variant": "cloud", "arch": "arm64", "keep": True},
            FromImage(
                reference=Distribution(name="debian", release="13", variant="cloud"), arch="arm64", keep=True
            ),
        ),
        (
            {"reference": "docker://nginx:1.27", "password": "x y"},
            FromImage(
                reference=Registry(host="docker.io", repository="library/nginx", tag="1.27"),
                wish=FinishWish(password="x y"),
            ),
        ),
        (
            {"reference": "/srv/a b.tar", "lock_password": True, "ssh_keys": KEY, "skip": ["locale"]},
            FromImage(
                reference=File(path="/srv/a b.tar"),
                wish=FinishWish(lock=True, ssh_keys=(KEY,), skip=frozenset({"locale"})),
            ),
        ),
        (
            {"reference": "debian", "timezone": "America/Argentina/Ushuaia", "locale": "de_DE.UTF-8"},
            FromImage(
                reference=Distribution(name="debian"),
                wish=FinishWish(timezone="America/Argentina/Ushuaia", locale="de_DE"),
            ),
        ),
        (
            {"reference": f"https://example.org/a.tar#sha256={'0' * 64}"},
            FromImage(reference=Url(url="https://example.org/a.tar", sha256="0" * 64)),
        ),
    ],
)
def test_create_passes_on_the_image(web: Web, source: dict[str, object], expected: FromImage) -> None:
    assert create(web, {"kind": "image", **source})["state"] == "done"
    assert web.containers.calls[0][1].source == expected  # type: ignore[attr-defined]


def test_create_tells_which_settings_were_given(web: Web) -> None:
    settings = {"boot": False, "env.A": "b", "ports": [], "network.mode": "nat"}
    create(web, {"kind": "image", "reference": "debian"}, settings=settings)
    assert web.containers.calls[0][1].given == {"boot", "env", "network.ports", "network.mode"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({}, "source.reference"),
        ({"reference": ""}, "names no image"),
        ({"reference": 7}, "source.reference"),
        ({"reference": "builtin"}, "source.reference"),
        ({"reference": "-"}, "source.reference"),
        ({"reference": "./a.tar"}, "source.reference"),
        ({"reference": "~/a.tar"}, "source.reference"),
        ({"reference": "debian:../../etc"}, "names no image"),
        ({"reference": "debian\n"}, "names no image"),
        ({"reference": "http://example.org/a.tar"}, "sha256"),
        ({"reference": "file:///etc/shadow"}, "names no image"),
        ({"reference": "debian", "variant": "../x"}, "source.variant"),
        ({"reference": "/a.tar", "variant": "cloud"}, "source.variant"),
        ({"reference": "debian", "arch": "x\n"}, "source.arch"),
        ({"reference": "debian", "arch": "x" * 101}, "source.arch"),
        ({"reference": "debian", "password": ""}, "empty"),
        ({"reference": "debian", "password": "a\nb"}, "cannot be typed"),
        ({"reference": "debian", "password": "a", "lock_password": True}, "source.lock_password"),
        ({"reference": "debian", "ssh_keys": "ssh-ed25519 no"}, "not a public key"),
        ({"reference": "debian", "ssh_keys": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "private key"),
        ({"reference": "debian", "skip": "locale"}, "source.skip"),
        ({"reference": "debian", "skip": ["rm -rf"]}, "no step"),
        ({"reference": "debian", "timezone": ""}, "no time zone"),
        ({"reference": "debian", "timezone": "Europe/../../etc/passwd"}, "no time zone"),
        ({"reference": "debian", "timezone": "/etc/passwd"}, "no time zone"),
        ({"reference": "debian", "timezone": "UTC\n"}, "no time zone"),
        ({"reference": "debian", "timezone": 1}, "source.timezone"),
        ({"reference": "debian", "locale": "de_DE.UTF-8\n"}, "no locale"),
        ({"reference": "debian", "locale": "../de_DE"}, "no locale"),
        ({"reference": "debian", "locale": "de_DE.ISO-8859-1"}, "no locale"),
        ({"reference": "debian", "locale": "de_DE", "skip": ["locale"]}, "left out"),
        ({"reference": "debian", "keep": "yes"}, "source.keep"),
        ({"reference": "debian", "path": "/a"}, "source.path"),
    ],
)
def test_a_wrong_source_is_refused_at_its_place(web: Web, source: dict[str, object], told: str) -> None:
    answer = web.ask("POST", "/api/v1/containers", {"name": "web", "source": {"kind": "image", **source}})
    assert answer.status_code == 400
    assert told in json.dumps(answer.get_json())
    assert not web.containers.calls


def test_the_password_is_handed_out_once(web: Web) -> None:
    web.containers.password = SECRET
    web.containers.notes = ("it listens at 80/tcp",)
    job = create(web, {"kind": "image", "reference": "debian"})
    assert (job["secret"], job["notes"]) == (True, ["it listens at 80/tcp"])
    assert SECRET not in json.dumps(job)
    path = f"/api/v1/jobs/{job['id']}/secret"
    assert web.ask("GET", path).status_code == 404
    assert web.ask("POST", path, X_Nspawn="").status_code == 403
    assert web.ask("POST", path, Authorization="Bearer x").status_code == 401
    assert web.ask("POST", path).get_json() == {"secret": SECRET}
    again = web.ask("POST", path)
    assert again.status_code == 404
    assert SECRET not in again.get_data(as_text=True)
    assert ended(web, job["id"])["secret"] is False
    assert SECRET not in web.ask("GET", "/api/v1/jobs").get_data(as_text=True)


def test_no_event_holds_the_password(web: Web) -> None:
    web.containers.password = SECRET
    with event_reader(
        web.client.get("/api/v1/events", headers={"Host": "localhost:8080", **web.bearer})
    ) as seen:
        assert next(seen)[0] == "hello"
        create(web, {"kind": "image", "reference": "debian"})
        for kind, data in seen:
            assert SECRET not in json.dumps(data)
            if kind == "job" and data["state"] == "done":
                assert data["secret"] is True
                break


def test_a_job_without_a_password_has_no_secret(web: Web) -> None:
    job = create(web, {"kind": "builtin"})
    assert job["secret"] is False
    assert web.ask("POST", f"/api/v1/jobs/{job['id']}/secret").status_code == 404
    assert web.ask("POST", "/api/v1/jobs/none/secret").status_code == 404


def test_what_cannot_start_still_gives_its_password(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from nspawn.errors import Unsupported

    def refuse(_name: str) -> None:
        raise Unsupported("web cannot start", "no init")

    web.containers.password = SECRET
    monkeypatch.setattr(web.containers, "start", refuse)
    job = create(web, {"kind": "image", "reference": "debian"}, start=True)
    assert job["state"] == "done"
    assert "no init" in job["notes"][0]
    assert web.ask("POST", f"/api/v1/jobs/{job['id']}/secret").get_json() == {"secret": SECRET}


def upload(web: Web, query: str, **headers: str) -> TestResponse:
    return web.client.post(
        f"/api/v1/containers/web/upload?{query}",
        headers={
            "Host": "localhost:8080",
            "X-Nspawn": "1",
            "Content-Type": "application/octet-stream",
            **web.bearer,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        input_stream=io.BytesIO(b"abc"),
        content_length=3,
    )


def encoded(value: object) -> str:
    """As a page does: encodeURIComponent(JSON.stringify(value))."""
    return quote(json.dumps(value, ensure_ascii=False), safe="-_.!~*'()")


def test_an_upload_can_be_an_image(web: Web) -> None:
    answer = upload(web, "image=1&set=boot=false")
    assert answer.status_code == 202
    assert ended(web, answer.get_json()["id"])["state"] == "done"
    asked = web.containers.calls[0][1]
    assert (asked.source.reference, asked.source.size) == (File(path="-"), 3)  # type: ignore[attr-defined]
    assert asked.source.wish == FinishWish()  # type: ignore[attr-defined]
    assert asked.given == {"boot"}  # type: ignore[attr-defined]
    assert web.containers.uploaded == b"abc"


def test_an_uploaded_image_takes_what_a_source_takes(web: Web) -> None:
    options = {
        "password": "päss, w%rd\U0001f511",
        "ssh_keys": f"{KEY}\n",
        "skip": ["groups"],
        "timezone": "Etc/GMT+3",
        "locale": "C.UTF-8",
    }
    answer = upload(web, "image=1", Nspawn_Image_Options=encoded(options))
    assert answer.status_code == 202
    job = ended(web, answer.get_json()["id"])
    assert job["state"] == "done"
    assert "p\\u00e4ss" not in json.dumps(job)
    assert web.containers.calls[0][1].source.wish == FinishWish(  # type: ignore[attr-defined]
        password=options["password"],  # type: ignore[arg-type]
        ssh_keys=(KEY,),
        skip=frozenset({"groups"}),
        timezone="Etc/GMT+3",
        locale="C",
    )


@pytest.mark.parametrize("way", ["create", "upload", "import", "clone"])
def test_what_cannot_start_is_made_all_the_same(web: Web, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    from nspawn.errors import Unsupported

    def refuse(_name: str) -> None:
        raise Unsupported("web cannot start", "no init", "Give it one.")

    monkeypatch.setattr(web.containers, "start", refuse)
    if way == "create":
        body = {"name": "web", "source": {"kind": "builtin"}, "start": True}
        answer = web.ask("POST", "/api/v1/containers", body)
    elif way == "clone":
        web.containers.add("box")
        answer = web.ask("POST", "/api/v1/containers/box/clone", {"name": "web", "start": True})
    else:
        answer = upload(web, f"{way}=1&start=1" if way == "import" else "start=1")
    job = ended(web, answer.get_json()["id"])
    assert (job["state"], job["error"], job["result"]["name"]) == ("done", None, "web")
    assert job["notes"][-1] == "it was not started: web cannot start: no init (Give it one.)"


@pytest.mark.parametrize(
    ("query", "header", "told"),
    [
        ("image=0", encoded({"password": SECRET}), "image=1 only"),
        ("import=1", encoded({"password": SECRET}), "image=1 only"),
        ("image=1", "", "percent-encoded"),
        ("image=1", json.dumps({"password": SECRET}), "percent-encoded"),
        ("image=1", "%7B%2", "percent-encoded"),
        ("image=1", "%FF", "not UTF-8"),
        ("image=1", encoded({"password": SECRET})[:-3], "not JSON"),
        ("image=1", encoded([SECRET]), "an object is expected"),
        ("image=1", encoded({"password": SECRET, "lock_password": True}), "Options.lock_password"),
        ("image=1", encoded({"password": SECRET, "keep": True}), "Options.keep"),
        ("image=1", encoded({"password": SECRET, "reference": "/etc/shadow"}), "Options.reference"),
        ("image=1", encoded({"password": SECRET, "timezone": "../UTC"}), "no time zone"),
        ("image=1", "%5B" * 8192, "is not JSON"),
        ("image=1", "a" * (24 * 1024 + 1), "longer than"),
    ],
)
def test_wrong_options_of_an_upload(web: Web, query: str, header: str, told: str) -> None:
    answer = upload(web, query, Nspawn_Image_Options=header)
    assert answer.status_code == 400
    assert told in answer.get_data(as_text=True)
    assert SECRET not in answer.get_data(as_text=True)
    assert not web.containers.calls


def test_kept_images_are_listed_and_removed(web: Web) -> None:
    assert web.ask("GET", "/api/v1/images").get_json() == {
        "images": [{"id": "0123456789ab", "reference": "debian:trixie"}],
        "problems": ["one cannot be read"],
    }
    assert web.ask("DELETE", "/api/v1/images/none").status_code == 404
    assert web.ask("DELETE", f"/api/v1/images/{'x' * 200}").status_code == 400
    assert web.ask("DELETE", "/api/v1/images/0123456789ab").get_json() == {
        "count": 1,
        "bytes": 7,
        "problems": [],
    }
    assert web.ask("GET", "/api/v1/images").get_json()["images"] == []


def test_the_catalog_is_asked_with_what_was_typed(web: Web) -> None:
    asked = web.ask("GET", "/api/v1/images/catalog?search=deb&arch=arm64&cloud=1").get_json()["products"]
    assert asked == [{"asked": ["deb", "arm64", True]}]
    for query in ("cloud=2", "search=%00", "search=" + "x" * 101, "arch=a%0ab"):
        assert web.ask("GET", f"/api/v1/images/catalog?{query}").status_code == 400


def test_an_image_server_that_is_not_there_is_not_our_mistake(web: Web) -> None:
    web.images.offline = True
    answer = web.ask("GET", "/api/v1/images/catalog")
    assert answer.status_code == 502
    assert answer.get_json()["error"]["code"] == "unreachable"


def test_an_image_server_that_is_late_does_not_keep_a_thread(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nspawn.web.images._LONGEST_WAIT", -1.0)
    web.images.late = True
    answer = web.ask("GET", "/api/v1/images/catalog")
    assert answer.status_code == 502
    assert "in time" in answer.get_json()["error"]["why"]


def test_verify_and_prune_are_jobs(web: Web) -> None:
    number = web.ask("POST", "/api/v1/images/verify", {}).get_json()["id"]
    assert ended(web, number)["result"] == {"damaged": ["sha256:" + "0" * 64]}
    number = web.ask("POST", "/api/v1/images/prune", {"all": True}).get_json()["id"]
    assert ended(web, number)["result"] == {"count": 2, "bytes": 9, "problems": []}
    assert web.images.there is False
    assert web.ask("POST", "/api/v1/images/prune", {"every": True}).status_code == 400


def test_why_nothing_could_be_removed_is_told(web: Web) -> None:
    web.images.problem = Damaged("the record a.json cannot be used", "it is no object")
    number = web.ask("POST", "/api/v1/images/prune", {}).get_json()["id"]
    told = [ended(web, number)["result"]["problems"]]
    told.append(web.ask("DELETE", "/api/v1/images/0123456789ab").get_json()["problems"])
    assert told == [["the record a.json cannot be used: it is no object"]] * 2


INFO = "/api/v1/images/info?reference="


def test_one_kept_image(web: Web) -> None:
    found = web.ask("GET", "/api/v1/images/0123456789ab").get_json()
    assert found == {"id": "0123456789ab", "reference": "debian:trixie"}
    assert web.ask("GET", "/api/v1/images/none").status_code == 404
    assert web.ask("GET", f"/api/v1/images/{'x' * 200}").status_code == 400
    assert web.ask("GET", "/api/v1/images/0123456789ab", Authorization="Bearer x").status_code == 401


def test_what_a_name_leads_to(web: Web) -> None:
    answer = web.ask("GET", f"{INFO}docker://nginx:1.27&arch=arm64")
    assert answer.get_json() == {"reference": "docker.io/library/nginx:1.27", "arch": "arm64"}
    assert web.ask("GET", f"{INFO}debian:13").get_json() == {"reference": "debian:13", "arch": ""}
    assert web.ask("GET", f"{INFO}debian:13", Authorization="Bearer x").status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "",
        "builtin",
        "/etc/shadow",
        "-",
        "./a.tar",
        "~/a.tar",
        "file:///etc/shadow",
        "http://example.org/a.tar",
        "docker://UPPER",
        "debian%0a",
        "debian%00",
        "debian&arch=a%0ab",
        "x" * 10_000,
    ],
)
def test_names_that_are_not_asked_for(web: Web, query: str) -> None:
    answer = web.ask("GET", f"{INFO}{query}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "usage")
    assert web.images.asking.acquire(blocking=False) is False


def test_a_registry_that_is_not_there_or_late(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.images.offline = True
    answer = web.ask("GET", f"{INFO}debian")
    assert (answer.status_code, "no route" in answer.get_json()["error"]["why"]) == (502, True)
    monkeypatch.setattr("nspawn.web.images._LONGEST_WAIT", -1.0)
    web.images.late = True
    answer = web.ask("GET", f"{INFO}debian")
    assert (answer.status_code, "in time" in answer.get_json()["error"]["why"]) == (502, True)


def test_registries_that_are_slow_do_not_keep_all_threads(web: Web) -> None:
    web.images.may.clear()
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(web.ask("GET", f"{INFO}debian").status_code))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert web.images.asking.acquire(timeout=60)
        answer = web.ask("GET", f"{INFO}debian")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    finally:
        web.images.may.set()
        for thread in threads:
            thread.join()
    assert found == [200] * 4
    assert web.ask("GET", f"{INFO}debian").status_code == 200
