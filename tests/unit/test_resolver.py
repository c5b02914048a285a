"""Our own processes' look-ups by a fake of Android's resolver."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nspawn.android import resolver
from nspawn.android.resolver import NoProxy, Resolver, _addresses, _Answer
from tests.support.fakednsproxyd import FakeDnsproxyd, fake_dnsproxyd


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDnsproxyd]:
    with fake_dnsproxyd(tmp_path) as found:
        found.addresses[0, "www.example"] = ["203.0.113.9", "2001:db8::9"]
        found.addresses[0, "xn--bcher-kva.example"] = ["203.0.113.10"]
        found.addresses[0, "link.example"] = ["fe80::1%7"]
        yield found


@pytest.fixture
def names(fake: FakeDnsproxyd, tmp_path: Path) -> Resolver:
    return Resolver({"NSPAWN_PHONE": str(tmp_path)}, servers=lambda: ())


def addresses(found: list[tuple[object, object, object, object, tuple[str, int]]]) -> list[tuple[str, int]]:
    return [entry[4][:2] for entry in found]


def test_a_name_is_asked_of_the_default_network(names: Resolver, fake: FakeDnsproxyd) -> None:
    found = names.getaddrinfo("www.example", 443, type=socket.SOCK_STREAM)
    assert found == [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.9", 443)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::9", 443, 0, 0)),
    ]
    assert fake.requests == ["getaddrinfo www.example ^ 0 0 1 0 0"]


def test_a_family_and_all_types_are_given_as_asked_for(names: Resolver) -> None:
    found = names.getaddrinfo("www.example", 53, socket.AF_INET6)
    assert {entry[0] for entry in found} == {socket.AF_INET6}
    assert {entry[1] for entry in found} == {socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW}
    assert set(addresses(found)) == {("2001:db8::9", 53)}


def test_names_of_other_scripts_and_a_zone_are_understood(names: Resolver) -> None:
    assert addresses(names.getaddrinfo("b\u00fccher.example", 80, type=1)) == [("203.0.113.10", 80)]
    assert names.getaddrinfo("link.example", 80, type=1)[0][4] == ("fe80::1%7", 80, 0, 7) or (
        names.getaddrinfo("link.example", 80, type=1)[0][4][3] == 7
    )


def test_the_canonical_name_is_given_once(names: Resolver) -> None:
    found = names.getaddrinfo("www.example", 80, type=1, flags=socket.AI_CANONNAME)
    assert [entry[3] for entry in found] == ["www.example", ""]


def test_addresses_and_localhost_are_nobodys_business(names: Resolver, fake: FakeDnsproxyd) -> None:
    assert addresses(names.getaddrinfo("192.0.2.1", 80, type=1)) == [("192.0.2.1", 80)]
    assert addresses(names.getaddrinfo(b"192.0.2.1", "80", type=1)) == [("192.0.2.1", 80)]
    assert addresses(names.getaddrinfo(None, 80, type=1))
    assert addresses(names.getaddrinfo("localhost", 80, socket.AF_INET, 1)) == [("127.0.0.1", 80)]
    with pytest.raises(socket.gaierror):
        names.getaddrinfo("www.example", 80, flags=socket.AI_NUMERICHOST)
    assert fake.requests == []


def test_errors_are_those_of_glibc(names: Resolver, fake: FakeDnsproxyd) -> None:
    with pytest.raises(socket.gaierror) as caught:
        names.getaddrinfo("missing.example", 80)
    assert caught.value.errno == socket.EAI_NODATA


@pytest.mark.parametrize("name", ["a b", "a^b", "a\0b", "x" * 256, 'a"b', "a\nb", "..."])
def test_a_name_that_the_request_cannot_hold_is_not_sent(
    names: Resolver, fake: FakeDnsproxyd, name: str
) -> None:
    with pytest.raises((socket.gaierror, ValueError)):
        names.getaddrinfo(name, 80)
    assert [request for request in fake.requests if request != "getaddrinfo ... ^ 0 0 1 0 0"] == []


@pytest.mark.parametrize("mode", ["hangup", "garbage"])
def test_a_resolver_in_trouble_is_a_failure_for_now(names: Resolver, fake: FakeDnsproxyd, mode: str) -> None:
    fake.mode = mode
    with pytest.raises(socket.gaierror) as caught:
        names.getaddrinfo("www.example", 80)
    assert caught.value.errno == socket.EAI_AGAIN


def test_single_bytes_are_put_together(names: Resolver, fake: FakeDnsproxyd) -> None:
    fake.mode = "slow"
    assert addresses(names.getaddrinfo("www.example", 80, socket.AF_INET, 1)) == [("203.0.113.9", 80)]


def test_without_the_socket_and_servers_it_is_a_failure_for_now(tmp_path: Path) -> None:
    found = Resolver({"NSPAWN_PHONE": str(tmp_path)}, servers=lambda: ())
    with pytest.raises(socket.gaierror) as caught:
        found.getaddrinfo("www.example", 80)
    assert caught.value.errno == socket.EAI_AGAIN


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from([b"", b"222\0", b"401\0", b"222\0" + struct.pack(">i", 1)]))
def test_any_answer_of_the_resolver_is_addresses_or_an_error(noise: bytes, head: bytes) -> None:
    data = head + noise

    def read(size: int) -> bytes:
        nonlocal data
        part, data = data[:size], data[size:]
        return part

    try:
        assert len(_addresses(_Answer(read))) <= 300
    except (OSError, NoProxy, struct.error):
        pass


def _greet(listener: socket.socket) -> None:
    end, _ = listener.accept()
    end.close()


def test_it_is_installed_on_android_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", before)  # to be put back
    resolver.install({})
    assert socket.getaddrinfo is before
    with fake_dnsproxyd(tmp_path) as fake:
        listener = socket.create_server(("127.0.0.1", 0))
        fake.addresses[0, "here.example"] = ["127.0.0.1"]
        resolver.install({"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "NSPAWN_PHONE": str(tmp_path)})
        thread = threading.Thread(target=_greet, args=(listener,))
        thread.start()
        with listener, socket.create_connection(("here.example", listener.getsockname()[1]), 5):
            thread.join(5)
