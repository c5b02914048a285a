from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import NspawnError, UsageError
from nspawn.layout import Layout
from nspawn.model.record import Record
from nspawn.service import page

if TYPE_CHECKING:
    from pathlib import Path


def layout(tmp_path: Path, text: str | None = None) -> Layout:
    if text is not None:
        (tmp_path / "config.toml").write_text(text)
    return Layout(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "port"), [(None, 8080), ("", 8080), ("[page]\nport = 0\n", 0), ("[page]\nport=81", 81)]
)
def test_the_port_of_the_settings(tmp_path: Path, text: str | None, port: int) -> None:
    assert page.port(layout(tmp_path, text)) == port


@pytest.mark.parametrize(
    "text", ["[[[", "\0", "page = 1", '[page]\nport = "x"', "[page]\nport = 70000", "[page]\nport = true"]
)
def test_wrong_settings_are_told_and_keep_nothing_from_starting(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        page.port(layout(tmp_path, text))
    assert page.addresses_or_none(layout(tmp_path, text)) == []


def test_only_loopback_is_listened_on() -> None:
    assert page.addresses(8080) == ["127.0.0.1:8080", "[::1]:8080"]
    assert page.addresses(0) == []


def test_a_port_is_ours_only_with_our_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert page.find_own(Record((("keeper", os.getpid()),))) == server.getsockname()[1]
        with pytest.raises(NspawnError, match="not served: taken"):
            page.find_own(Record((("keeper", 1 << 22), ("refused", "taken"))))
