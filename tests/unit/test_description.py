from __future__ import annotations

from typing import Any

import pytest

from nspawn.model.description import refusal, rewrite, text


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"running": 3, "address": "http://localhost:8080"}, "3 containers running, http://localhost:8080"),
        ({"running": 1}, "1 container running"),
        ({"running": 0, "address": "http://localhost:81"}, "no container runs, http://localhost:81"),
        ({"running": 2, "frozen": 1}, "2 containers running, 1 of them frozen"),
        (
            {"running": 1, "waits": {"a": "waits for an uplink"}, "address": "X"},
            "1 container running, a waits for an uplink, X",
        ),
        (
            {"running": 1, "waits": {"a": "waits for an uplink", "b": "waits for an uplink"}},
            "1 container running, 2 wait for an uplink",
        ),
        (
            {"running": 1, "waits": {"a": "waits for an uplink", "b": "waits for a to start"}},
            "1 container running, 2 wait",
        ),
        (
            {"running": 0, "trouble": "port 8080 is taken by x (process 7)", "address": "X"},
            "no container runs, port 8080 is taken by x (process 7)",
        ),
    ],
)
def test_lines(state: dict[str, Any], line: str) -> None:
    assert text(**state) == line


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        (b"id=a\ndescription=old\nauthor=b\n", "new", b"id=a\ndescription=new\nauthor=b\n"),
        (b"id=a\r\ndescription=old\r\n", "new", b"id=a\r\ndescription=new\r\n"),
        (b"description=old", "new", b"description=new"),
        (b"id=a\nmydescription=x\n", "new", b"id=a\nmydescription=x\n"),
        (b"description=a\ndescription=b\n", "new", b"description=new\ndescription=b\n"),
        (b"description=a\n", 'two\nlines "quoted"', b"description=two lines 'quoted'\n"),
        (b"description=a\n", "x" * 500, b"description=" + b"x" * 200 + b"\n"),
        (b"\xff\xfe\ndescription=a\n", "\u00e9", b"\xff\xfe\ndescription=\xc3\xa9\n"),
    ],
)
def test_only_the_description_changes(before: bytes, line: str, after: bytes) -> None:
    assert rewrite(before, line) == after


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("127.0.0.1:8080 is not to be had: Address already in use", "port 8080 is taken"),
        (
            "127.0.0.1:80 is not to be had: Permission denied",
            "127.0.0.1:80 is not to be had: Permission denied",
        ),
        ("the keeper is gone", "the keeper is gone"),
    ],
)
def test_a_port_that_is_anothers(told: str, line: str) -> None:
    assert refusal(told) == line
