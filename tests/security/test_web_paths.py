"""Addresses and names that want to be something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.web import HOST, Web

TRAVERSALS = [
    "/../token",
    "/../../etc/passwd",
    "/js/../../token",
    "/js/%2e%2e/%2e%2e/token",
    "/%2e%2e/token",
    "/..%2ftoken",
    "/..%5ctoken",
    "//etc/passwd",
    "/js//main.js",
    "/./index.html",
    "/js/./main.js",
    "/%00",
    "/index.html%00.js",
    "/index.html/",
    "/js",
    "/js/",
    "/css",
    "/~root",
    "/js/main.js/..",
    "/%252e%252e/token",
    "/.git/config",
    "/..;/token",
]


@pytest.fixture
def web(tmp_path: Path) -> Web:
    web = Web(tmp_path)
    web.access.token()
    return web


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_the_page(web: Web, path: str) -> None:
    answer = web.client.get(
        "/", headers={"Host": HOST}, environ_overrides={"PATH_INFO": path, "RAW_URI": path}
    )
    assert answer.status_code in (403, 404)
    assert web.access.token() not in answer.text
    again = web.client.get(path, headers={"Host": HOST})
    assert again.status_code in (403, 404)


NAMES = [
    "..",
    ".",
    "-x",
    "a b",
    "a\nb",
    "a\0b",
    "A",
    "x" * 300,
    "\N{GRINNING FACE}",
    "a%2fb",
    "é",
    "",
    "a;b",
    "$(id)",
    "a'b",
    '"',
    "*",
    "~",
]
VERBS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/start"),
    ("POST", "/stop"),
    ("POST", "/restart"),
    ("POST", "/kill"),
    ("POST", "/rename"),
    ("POST", "/upload"),
    ("GET", "/log"),
]


@pytest.mark.parametrize(("method", "verb"), VERBS)
@pytest.mark.parametrize("name", NAMES)
def test_no_name_but_a_name_is_taken(web: Web, method: str, verb: str, name: str, tmp_path: Path) -> None:
    check(web, method, verb, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["token"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=80), route=st.sampled_from(VERBS))
def test_names_of_any_kind(web: Web, name: str, route: tuple[str, str]) -> None:
    check(web, *route, name)


def check(web: Web, method: str, verb: str, name: str) -> None:
    from nspawn.model.names import is_container_name

    kind = "application/octet-stream" if verb == "/upload" else "application/json"
    path = f"/api/v1/containers/{name}{verb}"
    answer = web.client.open(
        "/",
        method=method,
        headers={"Host": HOST, "X-Nspawn": "1", "Content-Type": kind, **web.bearer},
        data=b'{"name": "other"}',
        environ_overrides={"PATH_INFO": path.encode("utf-8", "surrogatepass").decode("latin-1")},
    )
    if is_container_name(name):
        assert answer.status_code in (202, 400, 404)
    else:
        assert answer.status_code in (400, 404, 405), answer.text
    # Nothing was asked of a container whose name is none.
    assert is_container_name(name) or not web.containers.calls
    web.containers.calls.clear()


@pytest.mark.parametrize("name", NAMES)
def test_no_name_but_a_name_is_created(web: Web, name: str) -> None:
    answer = web.ask("POST", "/api/v1/containers", {"name": name, "source": {"kind": "builtin"}})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "changes",
    [
        {"env.A\nB": "x"},
        {"env": {"A=B": "x"}},
        {"binds": ["/a:/b\n/c"]},
        {"binds": "-x"},
        {"ports": ["80:80; rm"]},
        {"ports": ["1:1", "1:2"]},
        {"hostname": "-a"},
        {"hostname": "a\nb"},
        {"user": "root;id"},
        {"rootfs": "relative"},
    ],
)
def test_hostile_settings_are_refused(web: Web, changes: object) -> None:
    web.containers.add("web")
    assert web.ask("PATCH", "/api/v1/containers/web", changes).status_code == 400
