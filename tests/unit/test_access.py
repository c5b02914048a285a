from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import Damaged
from nspawn.layout import Layout
from nspawn.service.access import CODE_SECONDS, SESSION_SECONDS, Access

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(tmp_path: Path, clock: Clock) -> Access:
    return Access(Layout(str(tmp_path / "root")), clock)


def test_the_token_is_made_once_and_for_root_only(access: Access, tmp_path: Path) -> None:
    token = access.token()
    assert len(token) == 43
    assert access.token() == token
    assert stat.S_IMODE((tmp_path / "root/token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
    assert os.listdir(tmp_path / "root") == ["token"]


def test_many_at_once_get_the_same_token(tmp_path: Path) -> None:
    tokens: list[str] = []
    threads = [
        threading.Thread(target=lambda: tokens.append(Access(Layout(str(tmp_path / "r"))).token()))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 20
    assert len(set(tokens)) == 1


def test_only_the_token_is_the_token(access: Access) -> None:
    token = access.token()
    assert access.check_token(token)
    for wrong in ("", "x", token[:-1], token + "x", token.upper(), "\udc80", "ä" * 43):
        assert not access.check_token(wrong)


def test_rotation_ends_everything(access: Access) -> None:
    token, session, code = access.token(), access.issue_session(), access.issue_code()
    assert access.rotate() != token
    assert not access.check_token(token)
    assert not access.check_session(session)
    assert not access.redeem_code(code)


@pytest.mark.parametrize("content", [b"", b"\0" * 43, b"short", b"x" * 40 + b"\xff", b"a b" * 20])
def test_a_damaged_token_lets_nobody_in(access: Access, tmp_path: Path, content: bytes) -> None:
    session = access.issue_session()
    (tmp_path / "root/token").write_bytes(content)
    with pytest.raises(Damaged):
        access.check_token(content.decode("latin-1"))
    with pytest.raises(Damaged):
        access.check_session(session)
    assert len(access.rotate()) == 43


def test_a_linked_token_is_not_read(access: Access, tmp_path: Path) -> None:
    token = access.token()
    (tmp_path / "root/token").rename(tmp_path / "other")
    (tmp_path / "root/token").symlink_to(tmp_path / "other")
    with pytest.raises(Damaged):
        access.check_token(token)


def test_a_code_works_once(access: Access) -> None:
    code = access.issue_code()
    assert access.redeem_code(code)
    assert not access.redeem_code(code)


def test_a_code_is_redeemed_by_one_of_many(access: Access) -> None:
    code = access.issue_code()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(access.redeem_code(code))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 19 + [True]


def test_a_code_expires(access: Access, clock: Clock) -> None:
    code, other = access.issue_code(), access.issue_code()
    clock.now += CODE_SECONDS - 1
    assert access.redeem_code(code)
    clock.now += 1
    assert not access.redeem_code(other)


def test_codes_do_not_pile_up_nor_tell_themselves(access: Access, clock: Clock, tmp_path: Path) -> None:
    codes = [access.issue_code() for _ in range(100)]
    names = os.listdir(tmp_path / "root/run/codes")
    assert len(names) == 32
    assert not set(codes) & set(names)
    assert access.redeem_code(codes[-1])
    clock.now += CODE_SECONDS
    access.issue_code()
    assert len(os.listdir(tmp_path / "root/run/codes")) == 1


@pytest.mark.parametrize("code", ["", "x", "../../token", "x" * 101, "\0" * 20, "ä" * 20, "\udc80" * 20])
def test_made_up_codes_are_refused(access: Access, code: str) -> None:
    assert not access.redeem_code(code)


def test_a_session_lasts_until_it_expires(access: Access, clock: Clock, tmp_path: Path) -> None:
    session = access.issue_session()
    assert access.check_session(session)
    assert Access(Layout(str(tmp_path / "root")), clock).check_session(session)
    clock.now += SESSION_SECONDS - 1
    assert access.check_session(session)
    clock.now += 1
    assert not access.check_session(session)


def test_forged_sessions_are_refused(access: Access) -> None:
    session = access.issue_session()
    expires, nonce, signature = session.split(".")
    for forged in (
        f"{int(expires) + 1}.{nonce}.{signature}",
        f"{expires}.{nonce}.{signature[:-1]}",
        f"{expires}.{nonce}.",
        f"{expires}.{nonce}",
        f"{expires}.{nonce}.{signature}.x",
        "..",
        "",
        "x" * 10_000,
        "ä.ä.ä",
        access.token(),
    ):
        assert not access.check_session(forged)
