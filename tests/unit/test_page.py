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


def test_a_port_is_ours_only_with_our_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours, number = os.getpid(), server.getsockname()[1]
        found = layout(tmp_path, "")
        assert page.find_own(found, Record((("keeper", ours), ("pid", 1 << 22)))) == number
        # The keeper was killed: the spawner goes on with the same socket.
        assert page.find_own(found, Record((("keeper", 0), ("pid", ours)))) == number
        refused = f"127.0.0.1:{number} is not to be had: Address already in use"
        others = Record((("keeper", 1 << 22), ("pid", 1 << 22), ("refused", refused)))
        with pytest.raises(NspawnError, match=f"not served: port {number} is taken by .*{ours}") as caught:
            page.find_own(found, others)
        assert found.config in caught.value.hint
