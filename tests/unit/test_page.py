from __future__ import annotations

import os
import socket
import subprocess
import sys
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


def test_what_else_we_listen_on_is_not_the_page(tmp_path: Path) -> None:
    """Containers ask the spawner's process for names, at the bridge's address."""
    answer = Record((("keeper", 1 << 22), ("pid", os.getpid())))
    with socket.create_server(("127.0.0.2", 0)):
        with pytest.raises(NspawnError, match="the page is not served"):
            page.find_own(layout(tmp_path, ""), answer)
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert page.find_own(layout(tmp_path, ""), answer) == server.getsockname()[1]


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


TAKER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
if os.fork():
    print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_who_took_the_port_is_neither_our_keeper_beside_it_nor_a_child_of_the_taker() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as taker:
        assert taker.stdout
        number = int(taker.stdout.readline())
        refused = Record((("refused", f"127.0.0.1:{number} is not to be had: Address already in use"),))
        # As the keeper does: it gets ::1 although 127.0.0.1 is refused.
        with socket.create_server(("::1", number), family=socket.AF_INET6):
            assert page.trouble(refused).endswith(f" (process {taker.pid})")
        taker.communicate()


def test_who_listens_at_every_address_has_the_port_too() -> None:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host) as server:
            refused = f"127.0.0.1:{server.getsockname()[1]} is not to be had: Address already in use"
            assert page.trouble(Record((("refused", refused),))).endswith(f" (process {os.getpid()})")
