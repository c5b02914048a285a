from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from nspawn.web.page import find_files, web_root
from tests.support.web import HOST, Web


def get(web: Web, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = web.client.get(path, headers={"Host": HOST, **headers})
    return answer.status_code, answer.data, dict(answer.headers)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/login", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/css/base.css", "text/css; charset=utf-8"),
        ("/js/main.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/vendor/htm-preact-standalone.js", "text/javascript; charset=utf-8"),
    ],
)
def test_the_page_needs_no_login(web: Web, path: str, kind: str) -> None:
    status, data, headers = get(web, path)
    assert status == 200
    assert data
    assert headers["Content-Type"] == kind


def test_a_file_is_sent_again_only_when_it_changed(web: Web) -> None:
    _, _, headers = get(web, "/js/main.js")
    assert headers["Cache-Control"] == "no-cache"
    status, data, _ = get(web, "/js/main.js", **{"If-None-Match": headers["ETag"]})
    assert (status, data) == (304, b"")


def test_nothing_is_inline(web: Web) -> None:
    page = get(web, "/")[1].decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " on" not in page.replace(" only", "")
    assert page.count("<script") == page.count('<script type="module" src=') == 1
    assert "http:" not in page
    assert "https:" not in page


def test_links_and_unknown_files_are_no_part_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "secret.key").write_text("1")
    (tmp_path / "b.js").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    assert set(find_files(str(tmp_path))) == {"/a.js"}


def first_load() -> set[str]:
    """The files that the page loads before anybody touches it: those of index.html, and what they import."""
    root = Path(web_root())
    found = {"index.html"}
    waiting = re.findall(r'(?:href|src)="([^"]+)"', (root / "index.html").read_text())
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name.endswith(".js"):
            text = (root / name).read_text()
            # `import(...)` waits until it is needed.
            imports = re.findall(
                r'^(?:import|\} from|export .* from)\b[^;(]*?"(\.[^"]+)";', text, re.MULTILINE
            )
            waiting += [os.path.normpath(f"{os.path.dirname(name)}/{path}") for path in imports]
    return found


def test_the_first_load_is_small() -> None:
    root = Path(web_root())
    names = first_load()
    assert {"js/main.js", "js/pages/containers.js", "js/html.js", "vendor/htm-preact-standalone.js"} <= names
    assert "js/pages/host.js" not in names
    assert sum(len(gzip.compress((root / name).read_bytes(), 9)) for name in names) < 60_000
    # All of it, with what is loaded later.
    assert (
        sum(len(gzip.compress(Path(path).read_bytes(), 9)) for path in find_files(str(root)).values())
        < 100_000
    )
