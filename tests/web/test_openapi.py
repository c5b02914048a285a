"""The checked-in description and the routes name each other, both ways."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.web import Web

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/openapi.yaml"


def described() -> set[tuple[str, str]]:
    """(method, path) of the document; its paths and methods are at known depths, so no parser is needed."""
    found = set()
    path = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line == "components:":
            break
        if match := re.fullmatch(r"  (/\S*):", line):
            path = match[1]
        elif match := re.fullmatch(r"    (get|put|post|patch|delete|head|options):", line):
            found.add((match[1].upper(), path))
    return found


def served(web: Web) -> set[tuple[str, str]]:
    found = set()
    for rule in web.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        if rule.endpoint.startswith("page."):
            continue
        for method in rule.methods or ():
            if method != "HEAD":
                found.add((method, path))
    return found


def test_routes_and_document_agree(web: Web) -> None:
    assert described() == served(web)
    assert len(described()) > 15


def test_no_route_takes_options(web: Web) -> None:
    assert web.ask("OPTIONS", "/api/v1/containers").status_code == 405
