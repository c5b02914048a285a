"""Credentials that are forged, old or guessed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path

import pytest

from nspawn.layout import Layout
from nspawn.service.access import SESSION_SECONDS, Access
from tests.support.web import Web


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def status(web: Web, bearer: str) -> int:
    return web.ask("GET", "/api/v1/containers", Authorization=f"Bearer {bearer}").status_code


def sign(key: str, expires: int) -> str:
    body = f"{expires}.nonce"
    digest = hmac.digest(key.encode(), f"session:{body}".encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_a_session_of_another_key_is_none(web: Web) -> None:
    later = int(time.time()) + 1000
    web.access.token()
    for key in ("", "x", hashlib.sha256(b"").hexdigest()):
        assert status(web, sign(key, later)) == 401


def test_a_session_that_was_changed_is_none(web: Web) -> None:
    session = web.access.issue_session()
    expires, nonce, signature = session.split(".")
    forged = [
        f"{int(expires) + 1}.{nonce}.{signature}",
        f"{expires}.{nonce}x.{signature}",
        f"{expires}.{nonce}.",
        f"{expires}.{nonce}",
        f"{expires}.{signature}",
        session + "A",
        session[:-1],
        session.upper(),
        "..",
        f"-1.{nonce}.{signature}",
    ]
    assert {status(web, each) for each in forged} == {401}
    assert status(web, session) == 200


def test_a_session_ends(web: Web, tmp_path: Path) -> None:
    old = Access(Layout(str(tmp_path)), lambda: time.time() - SESSION_SECONDS - 1)
    web.access.token()
    assert status(web, old.issue_session()) == 401


def test_a_new_token_ends_the_sessions(web: Web) -> None:
    session, token = web.access.issue_session(), web.access.token()
    assert status(web, session) == 200
    web.access.rotate()
    assert {status(web, session), status(web, token)} == {401}


def test_a_code_is_no_bearer(web: Web) -> None:
    assert status(web, web.access.issue_code()) == 401


def test_an_old_code_is_refused(web: Web, tmp_path: Path) -> None:
    old = Access(Layout(str(tmp_path)), lambda: time.time() - 61)
    assert web.ask("POST", "/api/v1/login", {"code": old.issue_code()}).status_code == 401


@pytest.mark.parametrize(
    "code", ["", "../token", "a" * 43, "/etc/passwd", "\u0000" * 20, "ü" * 20, ".", "x" * 5000]
)
def test_codes_that_are_none(web: Web, code: str, tmp_path: Path) -> None:
    assert web.ask("POST", "/api/v1/login", {"code": code}).status_code in (400, 401)
    assert (tmp_path / "token").exists() or code
