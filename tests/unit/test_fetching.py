"""The table `images` of config.toml, digests, addresses and proxies, waiting."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from nspawn.errors import NspawnError, UsageError
from nspawn.images import addresses, buffers, pace
from nspawn.images.origins import content_range
from nspawn.model.blob import Blob, parse_digest
from nspawn.model.fetching import Fetching, from_table

HEX = "0123456789abcdef" * 4


def test_the_table_may_be_empty_or_whole() -> None:
    assert from_table({}) == Fetching()
    assert from_table(
        {
            "server": "https://example.org/",
            "mirrors": ["https://a.example/x/", "https://b.example", "https://b.example/"],
            "keep": True,
            "bandwidth": "2M",
            "parallel": 1,
            "retries": 0,
            "connect_timeout": 5,
            "stall_timeout": 2.5,
            "timeout": 0,
        }
    ) == Fetching(
        server="https://example.org",
        mirrors=("https://a.example/x", "https://b.example"),
        keep=True,
        bandwidth=2 << 20,
        parallel=1,
        retries=0,
        connect_timeout=5.0,
        stall_timeout=2.5,
    )


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [(0, 0), (500_000, 500_000), ("500K", 512_000), ("2m", 2 << 20), ("1 MiB/s", 0), ("3MB/s", 3 << 20)],
)
def test_bandwidths(value: object, bytes_: int) -> None:
    if value == "1 MiB/s":  # a blank inside
        with pytest.raises(UsageError, match="is no bandwidth"):
            from_table({"bandwidth": value})
    else:
        assert from_table({"bandwidth": value}).bandwidth == bytes_


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("server", each) for each in (5, "", "x", "ftp://x", "https://", "https://u:p@x", "https://a b")),
        *(("server", each) for each in ("https://ä", "https://x?y", "https://x#y", "https://" + "x" * 500)),
        *(("mirrors", each) for each in ("https://x", [5], ["x"], ["https://x"] * 17)),
        *(("keep", each) for each in (1, "yes", None)),
        *(("bandwidth", each) for each in (-1, 1, 1.5, True, "", "M", "1T", "x", "9" * 20, "²M")),
        *(("parallel", each) for each in (0, 17, True, "3", 1.0)),
        *(("retries", each) for each in (-1, 51)),
        *(("connect_timeout", each) for each in (0, 601, True, "5", float("nan"))),
        *(("stall_timeout", each) for each in (0, float("inf"))),
        *(("timeout", each) for each in (1, -1, 10**9)),
        ("speed", 5),
    ],
)
def test_what_is_wrong_in_the_table_is_named(key: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        from_table({key: value}, "config.toml: images")
    assert str(caught.value).startswith(f"config.toml: images.{key}")


def test_digests() -> None:
    assert parse_digest(f"SHA256:{HEX.upper()}") == f"sha256:{HEX}"
    assert parse_digest(f" {HEX}\n") == f"sha256:{HEX}"
    for wrong in ("", "sha256:", HEX[1:], f"sha256:{HEX}0", f":{HEX}", f"sha256:../{HEX[3:]}", 5, None):
        with pytest.raises(UsageError, match="is no sha256"):
            parse_digest(wrong)
    with pytest.raises(UsageError, match="'sha512' is no hash that we know"):
        parse_digest(f"sha512:{HEX}")
    with pytest.raises(UsageError):
        Blob(digest="x")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://Example.ORG", ("https", "example.org", 443, "/", "https://example.org/")),
        ("https://x:8443/a?b#c", ("https", "x", 8443, "/a?b", "https://x:8443/a?b")),
        ("https://[2001:db8::1]/a", ("https", "2001:db8::1", 443, "/a", "https://[2001:db8::1]/a")),
        ("http://127.9.9.9/a", ("http", "127.9.9.9", 80, "/a", "http://127.9.9.9/a")),
        ("http://[::1]:80/", ("http", "::1", 80, "/", "http://[::1]/")),
        ("https://x/ä b", ("https", "x", 443, "/%C3%A4%20b", "https://x/%C3%A4%20b")),
        ("https://x/a\r\nb", ("https", "x", 443, "/a%0D%0Ab", "https://x/a%0D%0Ab")),
    ],
)
def test_addresses(url: str, found: tuple[str, str, int, str, str]) -> None:
    address = addresses.parse(url)
    assert (address.scheme, address.host, address.port, address.target, address.url) == found


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "//x", "/x", "https://", "https:///x", "https://x:0/", "https://x:99999/", "https://x:y/"),
        *("ftp://x/", "file:///x", "data:,x", "https://u@x/", "https://u:p@x/", "HTTP://example.org"),
        *("http://2130706433/", "http://127.1/", "http://0.0.0.0/", "http://localhost.example/"),
        *("http://10.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/", "http://[fe80::1]/"),
        *("https://a b/", f"https://x/{'y' * 9000}", "https://x@127.0.0.1:1/", "http://127.0.0.1@x/"),
    ],
)  # fmt: skip
def test_what_is_no_address_for_us(url: str) -> None:
    with pytest.raises(UsageError):
        addresses.parse(url)


def test_localhost_must_be_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*numbers: str) -> None:
        entries = [(0, 0, 0, "", (number, 80)) for number in numbers]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)

    answer("::1", "127.0.0.1")
    assert addresses.parse("http://localhost:80/").numeric == "127.0.0.1"
    answer("127.0.0.1", "10.0.0.1")
    with pytest.raises(UsageError, match="is not asked"):
        addresses.parse("http://localhost/")


def test_redirects() -> None:
    here = addresses.parse("https://x/a/b?c")
    assert addresses.follow(here, "../d").url == "https://x/d"
    assert addresses.follow(here, "//y/z").url == "https://y/z"
    for wrong in ("http://127.0.0.1/", "http://x/", "ftp://x/", "file:///etc/passwd", "https://u:p@x/"):
        with pytest.raises(NspawnError, match="x redirects to where we do not go"):
            addresses.follow(here, wrong)
    assert str(addresses.parse("https://x/a?signature=secret")) == "https://x/a"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ""),
        ({"https_proxy": "http://p:3128"}, "http://p:3128"),
        ({"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ({"http_proxy": "http://p:3128"}, ""),
        ({"all_proxy": "https://p"}, "https://p"),
        ({"https_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "http://p"),
        ({"https_proxy": "http://p", "no_proxy": "*"}, ""),
        ({"https_proxy": "http://p", "no_proxy": "a.example, .example.org"}, ""),
        ({"https_proxy": "http://p", "NO_PROXY": "EXAMPLE.org"}, ""),
        ({"https_proxy": "http://p", "no_proxy": "images.example.org:443"}, ""),
        ({"https_proxy": "http://p", "no_proxy": "images.example.org:80,ample.org,10.0.0.0/8"}, "http://p"),
    ],
)
def test_proxies(environ: dict[str, str], found: str) -> None:
    assert addresses.proxy(addresses.parse("https://images.example.org/x"), environ) == found


def test_proxies_of_addresses() -> None:
    some = {"https_proxy": "http://p", "all_proxy": "http://p", "no_proxy": "10.0.0.0/8 [2001:db8::]/32"}
    for url, found in {
        "https://10.1.2.3/": "",
        "https://11.1.2.3/": "http://p",
        "https://127.0.0.1:5/": "",
        "https://localhost/": "",
        "http://127.0.0.1/": "",
    }.items():
        assert addresses.proxy(addresses.parse(url), some) == found, url
    for wrong in ("socks5://p", "ftp://p", "http://"):
        with pytest.raises(UsageError, match="proxy"):
            addresses.proxy(addresses.parse("https://x/"), {"https_proxy": wrong})
    with pytest.raises(UsageError) as caught:
        addresses.proxy(addresses.parse("https://x/"), {"https_proxy": "socks5://user:secret@p"})
    assert "secret" not in str(caught.value)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bandwidth_is_shared_and_kept() -> None:
    clock = Clock()
    limit = pace.Bandwidth(1000, clock)
    assert pace.Bandwidth(0, clock).take(1 << 30) == 0
    taken = 0
    for _ in range(40):
        wait = limit.take(100) + limit.take(50)
        taken += 150
        clock.now += wait / 2
    assert taken / (clock.now - 100.0) <= 1100
    assert limit.piece == 4096
    clock.now += 1000  # a pause gives no right to a flood
    assert limit.take(1000) == pytest.approx(0.75)


def test_a_stall_is_told_from_a_slow_network() -> None:
    stall = pace.Stall(30)
    assert not any(stall.feed(2048, 1) for _ in range(300))
    assert [stall.feed(1, 10) for _ in range(3)][-1]
    assert not any(stall.feed(1, 0.001) for _ in range(300))


def test_waits_grow_and_servers_may_ask_for_more() -> None:
    waits = [pace.delay(number, lambda: 1.0) for number in range(1, 9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pace.delay(1, lambda: 0.0) == 0.25
    assert pace.delay(10**9, lambda: 1.0) == 30
    assert pace.delay(1, lambda: 1.0, 7.0) == 7
    assert pace.delay(1, lambda: 1.0, 1e9) == 120


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("9" * 61, None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert pace.retry_after({"retry-after": text}, 60.0) == seconds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 5-9/10", (5, 10)),
        ("bytes 5-9/*", (5, None)),
        *((each, (-1, None)) for each in ("", "bytes", "bytes 5-9", "items 5-9/10", "bytes 9-5/10")),
        *((each, (-1, None)) for each in ("bytes */10", "bytes -5-9/10", f"bytes 5-{'9' * 19}/10")),
    ],
)
def test_content_range(text: str, found: tuple[int, int | None]) -> None:
    assert content_range(text) == found


def test_memory_gives_what_was_put() -> None:
    memory = buffers.Memory(10)
    pieces: list[Any] = [b"abcd", b"efgh", b"ij"]
    full = []
    for piece in pieces:
        memory.put(piece)
        full.append(memory.is_full)
    assert full == [False, False, True]
    assert [memory.take(3) for _ in range(5)] == [b"abc", b"def", b"ghi", b"j", b""]
    memory.put(b"abcd")
    assert memory.take(10) == b"abcd"
