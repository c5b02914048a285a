"""The checked-in description and the routes name each other, both ways."""

from __future__ import annotations

import re

from tests.support.web import Web, described


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
