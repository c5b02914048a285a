"""Downloads from a server that does what servers, mirrors and networks do wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import socket
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.errors import Damaged, NotFound, NspawnError, Unreachable, UsageError
from nspawn.images import pace
from nspawn.images.blobs import Blobs
from nspawn.images.fetch import Fetcher, Stream, open_file
from nspawn.images.http import Client
from nspawn.model.blob import Blob
from nspawn.model.fetching import Fetching
from nspawn.model.progress import Cancelled
from tests.support.faultserver import Fault, FaultServer, serving

DATA = random.Random(5).randbytes(700_001)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
QUICK = Fetching(connect_timeout=5, stall_timeout=1, retries=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate")


@pytest.fixture
def server(folder: Path) -> Iterator[FaultServer]:
    with serving(folder) as found:
        found.files["/blob"] = DATA
        yield found


@pytest.fixture
def mirror(folder: Path) -> Iterator[FaultServer]:
    with serving(folder) as found:
        found.files["/blob"] = DATA
        yield found


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_FIRST", 0.01)


def client(server: FaultServer, fetching: Fetching = QUICK, **environ: str) -> Client:
    return Client(fetching, environ={"SSL_CERT_FILE": str(server.certificate), **environ})


def fetcher(server: FaultServer, fetching: Fetching = QUICK) -> Fetcher:
    return Fetcher(client(server, fetching), fetching)


def blob(*servers: FaultServer, digest: str = DIGEST, size: int | None = len(DATA)) -> Blob:
    return Blob(digest=digest, size=size, urls=tuple(f"{each.url}/blob" for each in servers))


def drain(stream: Stream, piece: int = 1 << 16) -> bytes:
    with stream:
        parts = []
        while data := stream.read(piece):
            parts.append(data)
        return b"".join(parts)


def test_a_blob_comes_whole_and_checked(server: FaultServer) -> None:
    assert drain(fetcher(server).open(blob(server))) == DATA
    (asked,) = server.asked
    assert asked.headers["user-agent"].startswith("nspawn/")
    assert asked.headers["accept-encoding"] == "identity"
    assert "cookie" not in asked.headers


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=65536),
        Fault(cut=300_000, ranges="ignored", cuts=2),
        Fault(cut=300_000, ranges="wrong", cuts=1),
        Fault(cut=300_000, ranges="unknown", cuts=1),
        Fault(cut=65536, headers={"ETag": '"v1"'}),
        Fault(length=-2),
        Fault(length=-1),
        Fault(length=-2, cut=200_000),
        Fault(statuses=[503, 429], headers={"Retry-After": "0"}),
        Fault(rate=4_000_000),
    ],
    ids=lambda fault: repr({k: v for k, v in vars(fault).items() if v != getattr(Fault(), k)}),
)
def test_what_a_server_does_wrong_for_a_while_costs_nothing_but_time(
    server: FaultServer, fault: Fault
) -> None:
    server.faults["/blob"] = fault
    assert drain(fetcher(server).open(blob(server))) == DATA


def test_a_connection_that_drops_every_64_kib_goes_on_where_it_was(server: FaultServer) -> None:
    server.faults["/blob"] = Fault(cut=65536, headers={"ETag": '"v1"'})
    assert drain(fetcher(server).open(blob(server))) == DATA
    assert server.ranges("/blob") == ["", *(f"bytes={at}-" for at in range(65536, len(DATA), 65536))]
    assert all(each.headers["if-range"] == '"v1"' for each in server.asked[1:])
    assert server.sent == len(DATA)


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (Fault(flip=400_000), Damaged, "its hash is sha256:"),
        (Fault(zeros=True), Damaged, "zeros"),
        (Fault(length=10), Damaged, "it has 10 bytes, not 700001"),
        (Fault(length=-2, surplus=1), Damaged, "more than 700001 bytes came"),
        (Fault(status=404), NotFound, "404"),
        (Fault(status=403), NspawnError, "not for us"),
        (Fault(status=503), Unreachable, "503"),
        (Fault(status=503, headers={"Retry-After": "86400"}), Unreachable, "503"),
        (Fault(cut=1), Unreachable, "broke off"),
        (Fault(headers={"Content-Encoding": "gzip"}), NspawnError, "compressed"),
        (Fault(stall=100_000), Unreachable, "nothing came in time"),
        (Fault(drip=True), Unreachable, "cannot be reached"),
    ],
)
def test_what_a_server_does_wrong_for_good_is_told(
    folder: Path, server: FaultServer, fault: Fault, error: type[NspawnError], told: str
) -> None:
    server.faults["/blob"] = fault
    quick = Fetching(connect_timeout=1, stall_timeout=1, retries=1)
    with pytest.raises(error, match=told) as caught:
        drain(fetcher(server, quick).open(blob(server)))
    assert server.netloc in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(zeros=True),
        Fault(length=10),
        Fault(status=404),
        Fault(status=503),
        Fault(cut=1),
        Fault(headers={"Content-Encoding": "gzip"}),
        Fault(stall=0),
    ],
)
def test_the_next_place_is_taken_when_a_mirror_is_no_good(
    server: FaultServer, mirror: FaultServer, fault: Fault
) -> None:
    mirror.faults["/blob"] = fault
    assert drain(fetcher(server).open(blob(mirror, server))) == DATA
    assert mirror.asked


def test_a_mirror_that_dies_in_the_middle_is_continued_from_the_next(
    server: FaultServer, mirror: FaultServer
) -> None:
    mirror.faults["/blob"] = Fault(stall=100_000)
    assert drain(fetcher(server).open(blob(mirror, server))) == DATA
    assert mirror.ranges("/blob") == ["", "bytes=100000-"]
    assert server.ranges("/blob") == ["bytes=200000-"]


def test_a_mirror_with_wrong_bytes_is_named_and_asked_last_from_then_on(
    server: FaultServer, mirror: FaultServer
) -> None:
    mirror.faults["/blob"] = Fault(flip=600_000)
    fetching = fetcher(server)
    with pytest.raises(Damaged, match=mirror.netloc):
        drain(fetching.open(blob(mirror, server)))
    assert drain(fetching.open(blob(mirror, server))) == DATA
    assert len(mirror.asked) == 1


def test_without_a_hash_the_size_must_be_known(server: FaultServer) -> None:
    unknown = blob(server, digest="", size=None)
    with fetcher(server).open(unknown) as stream:
        assert stream.read(1 << 20)
        assert stream.size == len(DATA)
    server.faults["/blob"] = Fault(length=-1)
    with pytest.raises(NspawnError, match="nobody says how long it is"):
        drain(fetcher(server).open(unknown))


def test_several_come_at_once_and_the_one_that_is_read_never_waits(server: FaultServer) -> None:
    fetching = Fetching(connect_timeout=5, stall_timeout=5, parallel=2)
    shared = fetcher(server, fetching)
    streams = [shared.open(blob(server)) for _ in range(5)]
    assert [drain(stream) for stream in reversed(streams)] == [DATA] * 5


def test_what_nobody_reads_does_not_fill_the_memory(server: FaultServer) -> None:
    server.files["/blob"] = bytes(range(256)) * (40 << 12)  # 40 MiB
    size = len(server.files["/blob"])
    one = Fetching(connect_timeout=5, stall_timeout=5, parallel=1)
    digest = f"sha256:{hashlib.sha256(server.files['/blob']).hexdigest()}"
    with fetcher(server, one).open(blob(server, digest=digest, size=size)) as stream:
        before = -1
        while server.sent != before:  # until it does not grow any more
            before = server.sent
            time.sleep(0.3)
        assert (8 << 20) <= before < (24 << 20)
        assert drain(stream) == server.files["/blob"]


@pytest.mark.parametrize("fault", [Fault(stall=0), Fault(stall=1000), Fault(drip=True), Fault(rate=1000)])
@pytest.mark.parametrize("kept", [False, True])
def test_a_cancel_counts_at_once_whatever_the_server_does(
    server: FaultServer, tmp_path: Path, fault: Fault, kept: bool
) -> None:
    server.faults["/blob"] = fault
    patient = Fetching(connect_timeout=60, stall_timeout=60)
    wanted = threading.Event()
    store = Blobs(str(tmp_path / "images"))
    shared = Fetcher(client(server, patient), patient, wanted.is_set)
    stream = shared.open(blob(server), keep=store if kept else None)
    threading.Timer(0.2, wanted.set).start()
    with pytest.raises(Cancelled):
        drain(stream)
    stream._thread.join(5)  # type: ignore[attr-defined]
    assert not stream._thread.is_alive()  # type: ignore[attr-defined]
    assert not list(tmp_path.rglob("*.part"))


def test_a_small_answer_is_cancelled_too(server: FaultServer) -> None:
    server.faults["/blob"] = Fault(stall=10)
    wanted = threading.Event()
    patient = Fetching(connect_timeout=60, stall_timeout=60)
    found = Client(patient, cancelled=wanted.is_set, environ={"SSL_CERT_FILE": str(server.certificate)})
    threading.Timer(0.2, wanted.set).start()
    with pytest.raises(Cancelled):
        found.get(f"{server.url}/blob")


def test_the_time_for_a_whole_download_is_limited(server: FaultServer) -> None:
    server.faults["/blob"] = Fault(rate=100_000)
    with pytest.raises(NspawnError, match="not fetched in time"):
        drain(fetcher(server, QUICK._replace(timeout=1)).open(blob(server)))


def test_files_and_pipes_are_checked_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert drain(open_file(str(path), digest=DIGEST, size=len(DATA))) == DATA
    assert drain(open_file(io.BytesIO(DATA), digest=DIGEST)) == DATA
    with pytest.raises(Damaged, match="its hash is"):
        drain(open_file(io.BytesIO(DATA[:-1]), digest=DIGEST))
    with pytest.raises(Damaged, match="it has 700001 bytes, not 5"):
        open_file(str(path), size=5)
    with pytest.raises(NotFound, match="no file"):
        open_file(str(tmp_path / "none"))
    path.write_bytes(DATA)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as feeder:
        assert feeder.stdout is not None
        assert drain(open_file(feeder.stdout, digest=DIGEST)) == DATA


def test_a_pipe_that_says_nothing_is_cancelled() -> None:
    read, write = os.pipe()
    wanted = threading.Event()
    threading.Timer(0.2, wanted.set).start()
    with open(write, "wb"), open(read, "rb", buffering=0) as source, pytest.raises(Cancelled):
        open_file(source, cancelled=wanted.is_set).read(10)


# The client


def test_unencrypted_servers_are_asked_on_this_machine_only(folder: Path) -> None:
    with serving(folder, tls=False) as plain:
        plain.files["/x"] = b'{"a": 1}'
        found = client(plain)
        assert found.get_json(f"{plain.url}/x") == {"a": 1}
        assert found.get_json(f"http://localhost:{plain.port}/x") == {"a": 1}
        assert plain.asked[-1].headers["host"] == f"localhost:{plain.port}"
    for url in ("http://10.0.0.1/x", "http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "x"):
        with pytest.raises(UsageError):
            found.get(url)


def test_a_certificate_must_be_of_somebody_we_trust(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NspawnError, match="the certificate is not trusted") as caught:
        Client(QUICK, environ={}).get(f"{server.url}/blob")
    assert not isinstance(caught.value, Unreachable)
    assert not server.asked
    missing = tmp_path / "none.pem"
    with pytest.raises(NspawnError, match=r"the certificates in .* cannot be read"):
        Client(QUICK, environ={"SSL_CERT_FILE": str(missing)}).get(f"{server.url}/blob")
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    with pytest.raises(NspawnError, match=r"the certificate is not trusted: .*example.org"):
        client(server).get(f"https://example.org:{server.port}/blob")


def test_redirects_are_followed_with_care(folder: Path, server: FaultServer, mirror: FaultServer) -> None:
    server.files["/a"] = mirror.files["/a"] = b"good"
    server.faults["/to"] = Fault(status=302, headers={"Location": "/a"})
    server.faults["/away"] = Fault(status=307, headers={"Location": f"{mirror.url}/a?secret=1"})
    server.faults["/loop"] = Fault(status=301, headers={"Location": "/loop"})
    server.faults["/file"] = Fault(status=302, headers={"Location": "file:///etc/passwd"})
    found = client(server)
    own = {"Authorization": "Bearer x", "Cookie": "a=b"}
    assert found.get(f"{server.url}/to", own).body == b"good"
    assert [each.headers.get("authorization") for each in server.asked] == ["Bearer x", "Bearer x"]
    answer = found.get(f"{server.url}/away", own)
    assert (answer.body, answer.url) == (b"good", f"{mirror.url}/a?secret=1")
    assert not mirror.asked[-1].headers.keys() & {"authorization", "cookie"}
    with pytest.raises(NspawnError, match="redirects too often"):
        found.get(f"{server.url}/loop")
    with pytest.raises(NspawnError, match="redirects to where we do not go"):
        found.get(f"{server.url}/file")
    with serving(folder, tls=False) as plain:
        plain.files["/a"] = b"unsafe"
        server.faults["/down"] = Fault(status=302, headers={"Location": f"{plain.url}/a"})
        with pytest.raises(NspawnError, match="is not encrypted"):
            found.get(f"{server.url}/down")
        assert not plain.asked


class Tokens:
    """An `Authorize` whose first token has run out."""

    def __init__(self) -> None:
        self.token, self.challenges = "old", list[str]()

    def headers(self, url: str) -> dict[str, str]:
        assert url.startswith("https://127.0.0.1:")
        return {"Authorization": f"Bearer {self.token}"}

    def refused(self, url: str, challenge: str) -> bool:
        assert url.endswith("/blob")
        self.challenges.append(challenge)
        self.token = "new"
        return True


def test_a_token_that_has_run_out_is_renewed_once(server: FaultServer, mirror: FaultServer) -> None:
    server.faults["/blob"] = Fault(statuses=[401], headers={"WWW-Authenticate": 'Bearer realm="x"'})
    tokens = Tokens()
    environ = {"SSL_CERT_FILE": str(server.certificate)}
    found = Client(QUICK, authorize=tokens, environ=environ)
    assert drain(Fetcher(found, QUICK).open(blob(server))) == DATA
    assert tokens.challenges == ['Bearer realm="x"']
    assert [each.headers["authorization"] for each in server.asked] == ["Bearer old", "Bearer new"]
    server.faults["/blob"] = Fault(status=401)
    assert found.get(f"{server.url}/blob").status == 401
    assert len(tokens.challenges) == 2
    server.faults["/away"] = Fault(status=302, headers={"Location": f"{mirror.url}/blob"})
    found.get(f"{server.url}/away")
    assert "authorization" not in mirror.asked[-1].headers


def test_answers_have_limits(server: FaultServer) -> None:
    found = client(server)
    with pytest.raises(Damaged, match="more than 1000 bytes"):
        found.get(f"{server.url}/blob", limit=1000)
    for text, told in (
        (b"[" * 100_000, "too deeply|not JSON"),
        (b"[" + b"1," * 2_100_000 + b"1]", "more than 2000000 values"),
        (b'{"a": NaN}', "NaN"),
        (b"\xff", "not JSON"),
        (b"<html>", "not JSON"),
    ):
        server.files["/json"] = text
        with pytest.raises(Damaged, match=told):
            found.get_json(f"{server.url}/json")
    server.faults["/json"] = Fault(status=404)
    with pytest.raises(NotFound):
        found.get_json(f"{server.url}/json")
    server.faults["/json"] = Fault(statuses=[500, 502], headers={"X-Y": "z"})
    server.files["/json"] = b"[]"
    assert found.get_json(f"{server.url}/json") == []


def test_a_bomb_of_gzip_ends_at_the_limit(server: FaultServer) -> None:
    server.files["/bomb"] = gzip.compress(bytes(100 << 20))
    server.faults["/bomb"] = Fault(headers={"Content-Encoding": "gzip"})
    with pytest.raises(Damaged, match="more than 1048576 bytes"):
        client(server).get(f"{server.url}/bomb", limit=1 << 20)
    server.files["/bomb"] = gzip.compress(b"[1]")
    assert client(server).get_json(f"{server.url}/bomb") == [1]


def test_gzip_that_unpacks_to_nothing_for_ever_ends_at_the_limit(server: FaultServer) -> None:
    server.files["/bomb"] = b"\x1f\x8b\x08" + bytes(6) + b"\x03"  # the header; then empty blocks
    empty = b"\x00\x00\x00\xff\xff" * 1000
    server.faults["/bomb"] = Fault(length=-1, endless=empty, headers={"Content-Encoding": "gzip"})
    wanted = threading.Event()
    guard = threading.Timer(60, wanted.set)
    guard.start()
    quick = Fetching(connect_timeout=5, stall_timeout=5, retries=0)
    environ = {"SSL_CERT_FILE": str(server.certificate)}
    try:
        with pytest.raises(Damaged, match="more than 1048576 bytes"):
            Client(quick, cancelled=lambda: wanted.is_set() or server.sent > 64 << 20, environ=environ).get(
                f"{server.url}/bomb", limit=1 << 20
            )
    finally:
        guard.cancel()


def test_an_answer_in_small_pieces_costs_little_more_than_its_bytes(folder: Path) -> None:
    with serving(folder, tls=False) as plain:
        found = client(plain)
        plain.files["/first"] = b"[]"
        found.get(f"{plain.url}/first")  # what is loaded then stays
        size = 60_000
        plain.files["/list"] = bytes(size)
        plain.faults["/list"] = Fault(length=-2, piece=2)
        tracemalloc.start()
        try:
            assert len(found.get(f"{plain.url}/list").body) == size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < size * 10


@pytest.mark.parametrize("name", ["gzip", " GZip "])
def test_gzip_is_unpacked_as_it_comes(server: FaultServer, name: str) -> None:
    text = b"[" + b"12345, " * 30_000 + b"1]"
    server.files["/list"] = gzip.compress(text)
    server.faults["/list"] = Fault(length=-2, piece=97, headers={"Content-Encoding": name})
    assert client(server).get(f"{server.url}/list", limit=len(text)).body == text
    with pytest.raises(Damaged, match="bytes"):
        client(server).get(f"{server.url}/list", limit=len(text) - 1)


@pytest.mark.parametrize(
    ("encoding", "body", "error", "told"),
    [
        ("gzip, gzip", gzip.compress(gzip.compress(b"[1]")), NspawnError, "not asked for"),
        ("identity, gzip", gzip.compress(b"[1]"), NspawnError, "not asked for"),
        ("deflate", zlib.compress(b"[1]"), NspawnError, "not asked for"),
        ("br", b"[1]", NspawnError, "not asked for"),
        ("gzip", b"[1]", Damaged, "no gzip"),
        ("gzip", zlib.compress(b"[1]"), Damaged, "no gzip"),
        ("gzip", gzip.compress(b"[1]") + b"[2]", Damaged, "after the end"),
        ("gzip", gzip.compress(b"[1]")[:-1], Unreachable, "broke off"),
    ],
    ids=["twice", "list", "deflate", "br", "plain", "zlib", "more", "cut"],
)
def test_no_other_packing_is_taken(
    server: FaultServer, encoding: str, body: bytes, error: type[NspawnError], told: str
) -> None:
    server.files["/list"] = body
    server.faults["/list"] = Fault(headers={"Content-Encoding": encoding})
    with pytest.raises(error, match=told):
        client(server).get(f"{server.url}/list")


def test_nobody_there_is_told(server: FaultServer) -> None:
    closed = f"https://127.0.0.1:{server.port}/"
    server.close()
    with pytest.raises(Unreachable, match="Connection refused"):
        client(server).get(closed)
    with pytest.raises(Unreachable, match="cannot be reached"):
        client(server).get("https://no-such-host.invalid/")


def test_a_proxy_of_the_environment_is_asked(folder: Path) -> None:
    with serving(folder, tls=False) as proxy:
        found = Client(
            Fetching(connect_timeout=5, stall_timeout=2, retries=0),
            environ={"https_proxy": f"http://user:word@{proxy.netloc}", "no_proxy": "example.net"},
        )
        with pytest.raises(Unreachable, match="the proxy"):
            found.get("https://example.org/")
        with pytest.raises(Unreachable) as caught:
            found.get("https://no-such-host.example.net/")
        assert "proxy" not in str(caught.value)
