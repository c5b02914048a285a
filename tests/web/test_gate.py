"""Rules that hold for every route (docs/threats, and the module `nspawn.web.auth`)."""

from __future__ import annotations

import re

import pytest

from tests.support.web import HOST, ORIGIN, Web, described

#: One request of every kind of route: the documented ones, the page's, and what is none.
ROUTES = [
    ("GET", "/"),
    ("GET", "/login"),
    ("GET", "/js/main.js"),
    ("GET", "/nowhere"),
    ("GET", "/api/v1/nowhere"),
    ("OPTIONS", "/api/v1/containers"),
    *sorted((method, path.replace("{name}", "web").replace("{number}", "1")) for method, path in described()),
]
CHANGES = [route for route in ROUTES if route[0] not in ("GET", "OPTIONS")]
API = [route for route in ROUTES if route[1].startswith("/api/") and route[1] != "/api/v1/login"]


def ask(web: Web, method: str, path: str, **headers: str) -> int:
    wanted = "application/octet-stream" if path.endswith("/upload") else "application/json"
    answer = web.ask(method, path, **{"Content_Type": wanted if method != "GET" else "", **headers})
    answer.close()
    return answer.status_code


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8080",
        "127.0.0.1",
        "localhost:80",
        "127.0.0.1:8081",
        "127.0.0.1.evil:8080",
        "evil@127.0.0.1:8080",
        "0.0.0.0:8080",
        "[::]:8080",
        "localhost:8080.",
        "localhost.:8080",
        " localhost:8080",
        "a,localhost:8080",
    ],
)
def test_a_foreign_host_gets_nothing(web: Web, method: str, path: str, host: str) -> None:
    assert ask(web, method, path, Host=host) == 403
    assert not web.containers.calls


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_origin_that_equals_a_foreign_host_is_foreign(web: Web, method: str, path: str) -> None:
    assert ask(web, method, path, Host="attacker.example:8080", Origin="http://attacker.example:8080") == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "origin",
    [
        "http://attacker.example",
        "null",
        "https://localhost:8080",
        "http://localhost:3000",
        "http://localhost",
        "http://localhost:8080.attacker.example",
        "http://attacker.example:8080",
        "file://",
        "https://mui.kernelsu.org",
    ],
)
def test_a_foreign_origin_gets_nothing(web: Web, method: str, path: str, origin: str) -> None:
    assert ask(web, method, path, Origin=origin) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST:8080"])
def test_our_own_names_are_answered(web: Web, host: str) -> None:
    assert ask(web, "GET", "/api/v1/containers", Host=host) == 200
    assert ask(web, "GET", "/health", Host=host) == 200
    web.containers.add("web")
    assert ask(web, "POST", "/api/v1/containers/web/start", Host=host, Origin=f"http://{host}") == 200


@pytest.mark.parametrize(("method", "path"), API)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_get_nothing(web: Web, method: str, path: str, site: str) -> None:
    assert ask(web, method, path, Sec_Fetch_Site=site) == 403
    assert (
        ask(web, method, path, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
        == 403
    )


def test_a_link_on_another_site_may_open_the_page_but_not_embed_it(web: Web) -> None:
    opened = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(web, "GET", "/login", **opened, Sec_Fetch_Dest="document") == 200
    assert ask(web, "GET", "/", **opened, Sec_Fetch_Dest="iframe") == 403
    assert ask(web, "GET", "/js/main.js", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
    assert ask(web, "POST", "/api/v1/login", **opened, Sec_Fetch_Dest="document") == 403


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_change_needs_our_header(web: Web, method: str, path: str) -> None:
    assert ask(web, method, path, X_Nspawn="") == 403
    assert ask(web, method, path, X_Nspawn="0") == 403


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_change_needs_its_content_type(web: Web, method: str, path: str, kind: str) -> None:
    assert ask(web, method, path, Content_Type=kind) == 415
    # What a form of another site can send: no header of ours either.
    assert ask(web, method, path, Content_Type=kind, X_Nspawn="") == 403
    assert not web.containers.calls


@pytest.mark.parametrize(("method", "path"), API)
@pytest.mark.parametrize(
    "bearer", ["", "Bearer", "Bearer x", "Basic cm9vdDo=", "Bearer ünï", "Bearer " + "x" * 5000]
)
def test_the_interface_needs_a_login(web: Web, method: str, path: str, bearer: str) -> None:
    assert ask(web, method, path, Authorization=bearer) == 401


def test_a_refusal_tells_how_to_log_in(web: Web) -> None:
    answer = web.ask("GET", "/api/v1/containers", Authorization="")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.get_json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Original-URL"]
)
def test_forwarding_headers_give_nothing(web: Web, name: str) -> None:
    headers = {name: "127.0.0.1:8080"}
    assert web.client.get("/api/v1/containers", headers={"Host": HOST, **headers}).status_code == 401
    assert web.client.get("/health", headers={"Host": "evil:8080", **headers}).status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_has_the_headers(web: Web, method: str, path: str) -> None:
    for host in (HOST, "evil"):
        answer = web.ask(method, path, Host=host)
        answer.close()
        headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert re.search(r"default-src 'self'(;|$)", policy)
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in headers
        assert "Set-Cookie" not in headers
        if path.startswith("/api/"):
            assert headers["Cache-Control"] == "no-store"


def test_port_80_is_left_out_by_browsers(web: Web) -> None:
    from nspawn.web.auth import Gate

    gate = Gate(web.access, (80,))
    assert {"localhost", "localhost:80", "[::1]", "127.0.0.1:80"} <= gate.hosts
    assert "http://localhost" in gate.origins
    assert ORIGIN not in gate.origins
