"""Images from registries: Debian's docker-registry, and fakes of registries that do what real ones may."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nspawn.errors import Busy, Damaged, NotFound, NspawnError, Unsupported
from nspawn.images import credentials
from nspawn.images.blobs import Blobs
from nspawn.images.credentials import Credential
from nspawn.images.registry import RegistrySource, check_login
from nspawn.layout import Layout as Paths
from nspawn.model import ociref
from nspawn.model.fetching import Fetching
from nspawn.model.image import LAYER, Image, Source
from nspawn.model.progress import Cancelled
from nspawn.service import registries
from tests.support import registry as support
from tests.support.imageserver import certificate
from tests.support.ociimages import RUN_CONFIG, Layout, entry, folder, tar
from tests.support.registry import PASSWORD, USER, Fake, FakeRegistry, Registry

FETCHING = Fetching(retries=0, connect_timeout=5.0, stall_timeout=5.0)
A, B, C = (tar([folder(name), entry(f"{name}/file", content=name.encode() * 3000)]) for name in "abc")


def _layout() -> tuple[Layout, dict[str, object]]:
    layout = Layout()
    images = [
        layout.image([A, B], RUN_CONFIG),
        layout.image([C], {"User": "arm"}, arch="arm64", variant="v8", kind="zstd"),
        layout.image([B], {"User": "armhf"}, arch="arm", variant="v7", docker=True),
    ]
    return layout, layout.index(images)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with support.registry(tmp_path_factory.mktemp("registry")) as found:
        layout, top = _layout()
        found.push(layout, top, "team/multi", "1.0")
        single = Layout()
        found.push(single, single.image([A], docker=True, kind="gzip"), "single", "latest")
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with support.registry(tmp_path_factory.mktemp("guarded"), password=True) as found:
        layout, top = _layout()
        found.push(layout, top, "private/multi", "1.0")
        yield found


@pytest.fixture
def fake() -> Iterator[Fake]:
    with support.fake() as found:
        yield found


@pytest.fixture
def tokens() -> Iterator[Fake]:
    with support.fake() as found:
        yield found


def _source(
    text: str,
    machine: str = "x86_64",
    credential: Credential | None = None,
    keep: Blobs | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> RegistrySource:
    return RegistrySource(
        ociref.parse(text), FETCHING, cancelled, machine=machine, credential=credential, keep=keep, environ={}
    )


def _resolve(source: Source) -> Image:
    return source.resolve(lambda _: None, lambda: False)


def _read(source: Source, image: Image) -> list[bytes]:
    """The layers as they come; all are opened before the first is read."""
    streams = [source.open(layer) for layer in image.layers]
    found = []
    for stream in streams:
        parts = []
        while data := stream.read(1000):
            parts.append(data)
        stream.close()
        found.append(b"".join(parts))
    return found


# A real registry


def test_an_image_for_this_machine(real: Registry) -> None:
    source = _source(f"{real.host}/team/multi:1.0")
    image = _resolve(source)
    assert [gzip.decompress(data) for data in _read(source, image)] == [A, B]
    assert [(layer.kind, layer.compression) for layer in image.layers] == [(LAYER, "gz")] * 2
    assert image.reference == f"{real.host}/team/multi:1.0"
    assert image.title == f"{real.host}/team/multi:1.0 (amd64)"
    assert image.serial == _layout()[1]["digest"]
    assert image.config is not None
    assert image.config.user == "web"
    assert image.config.ports == ("80/tcp", "53/udp")


@pytest.mark.parametrize(
    ("machine", "user", "compression"),
    [("aarch64", "arm", "zst"), ("armhf", "armhf", "gz"), ("armv8l", "armhf", "gz")],
)
def test_an_image_for_another_machine(real: Registry, machine: str, user: str, compression: str) -> None:
    source = _source(f"{real.host}/team/multi:1.0", machine)
    image = _resolve(source)
    assert image.config is not None
    assert image.config.user == user
    assert [layer.compression for layer in image.layers] == [compression]
    assert len(_read(source, image)) == 1


def test_by_digest(real: Registry) -> None:
    digest = _layout()[1]["digest"]
    for text in (f"{real.host}/team/multi@{digest}", f"{real.host}/team/multi:other@{digest}"):
        assert _resolve(_source(text)).serial == digest


def test_one_image_without_an_index(real: Registry) -> None:
    image = _resolve(_source(f"{real.host}/single"))
    assert image.reference.endswith("/single:latest")
    with pytest.raises(NotFound, match="linux/amd64"):
        _resolve(_source(f"{real.host}/single", "riscv64"))


@pytest.mark.parametrize("name", ["team/multi:2.0", "nothing", f"team/multi@sha256:{'0' * 64}"])
def test_what_is_not_there(real: Registry, name: str) -> None:
    with pytest.raises(NotFound, match="has no") as caught:
        _resolve(_source(f"{real.host}/{name}"))
    assert caught.value.hint


def test_a_machine_that_it_is_not_for(real: Registry) -> None:
    with pytest.raises(NotFound, match=r"no image for linux/s390x: it is for linux/amd64, linux/arm/v7"):
        _resolve(_source(f"{real.host}/team/multi:1.0", "s390x"))


def test_no_registry_there() -> None:
    with support.fake() as gone:
        host = gone.host
    with pytest.raises(NspawnError):
        _resolve(_source(f"{host}/it"))


def test_blobs_are_stored_and_taken_from_there(real: Registry, tmp_path: Path) -> None:
    store = Blobs(str(tmp_path / "images"))
    source = _source(f"{real.host}/team/multi:1.0", keep=store)
    image = _resolve(source)
    first = _read(source, image)
    for layer in image.layers:
        assert layer.blob is not None
        assert store.has(layer.blob.digest)
    assert _read(_source(f"{real.host}/team/multi:1.0", keep=store), image) == first


def test_with_a_password(guarded: Registry) -> None:
    text = f"{guarded.host}/private/multi:1.0"
    source = _source(text, credential=credentials.make(guarded.host, USER, PASSWORD))
    assert len(_read(source, _resolve(source))) == 2
    with pytest.raises(NspawnError, match="not for everybody") as caught:
        _resolve(_source(text))
    assert f"nspawn image login {guarded.host}" in caught.value.hint
    with pytest.raises(NspawnError, match="'tester' may not have it") as caught:
        _resolve(_source(text, credential=credentials.make(guarded.host, USER, "wrong")))
    assert PASSWORD not in f"{caught.value}{caught.value.hint}"


def test_login(guarded: Registry, real: Registry, tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "state"))
    assert registries.load(paths) == {}
    with pytest.raises(NspawnError, match="does not let us in"):
        registries.login(paths, guarded.host, USER, "wrong")
    assert registries.load(paths) == {}
    assert registries.login(paths, guarded.host, USER, PASSWORD)
    assert not registries.login(paths, real.host, USER, 'pa"ss\\')
    assert registries.find(paths, guarded.host.upper()) == credentials.make(guarded.host, USER, PASSWORD)
    assert registries.find(paths, real.host) == credentials.make(real.host, USER, 'pa"ss\\')
    assert registries.find(paths, "ghcr.io") is None
    file = tmp_path / "state/registries.toml"
    assert file.stat().st_mode & 0o7777 == 0o600
    assert registries.logout(paths, guarded.host) == guarded.host
    with pytest.raises(NotFound, match=re.escape(real.host)):
        registries.logout(paths, guarded.host)
    file.write_text("version = 1\n[registries.x]\nuser = 3\n")
    with pytest.raises(NspawnError, match=r"registries\.x"):
        registries.login(paths, guarded.host, USER, PASSWORD)
    assert "user = 3" in file.read_text()


def test_a_login_at_something_else(fake: Fake) -> None:
    with pytest.raises(NotFound, match="is not a registry"):
        check_login(credentials.make(fake.host, USER, PASSWORD), FETCHING, lambda: False, {})


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not this machine by its name is only asked encrypted, and must prove who it is."""
    known = socket.getaddrinfo

    def look_up(host: str, *more: Any, **options: Any) -> Any:
        return known("127.0.0.1" if host in ("registry.test", "other.test") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    trusted = certificate(tmp_path, "DNS:registry.test")
    with support.registry(tmp_path / "registry", password=True, certificate=trusted) as found:
        layout, top = _layout()
        found.push(layout, top, "team/it", "1.0")
        environ = {"SSL_CERT_FILE": str(trusted)}

        def layers(host: str, environ: dict[str, str]) -> int:
            text = f"{host}:{found.port}/team/it:1.0"
            login = credentials.make(text.partition("/")[0], USER, PASSWORD)
            source = RegistrySource(
                ociref.parse(text),
                FETCHING,
                lambda: False,
                machine="x86_64",
                credential=login,
                environ=environ,
            )
            return len(_read(source, _resolve(source)))

        assert layers("registry.test", environ) == 2
        for host, trust in (("registry.test", {}), ("other.test", environ)):
            with pytest.raises(NspawnError, match=r"[Cc]ertificate"):
                layers(host, trust)


# Tokens


def _fake(server: Fake, realm: str = "") -> FakeRegistry:
    layout, top = _layout()
    return FakeRegistry(server, layout, {"1.0": str(top["digest"])}, realm)


def test_a_token_for_everybody(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token?fixed=1")
    support.token_server(tokens, registry)
    source = _source(f"{fake.host}/team/it:1.0")
    assert len(_read(source, _resolve(source))) == 2
    # One token for everything, and no more rights than needed, whatever the challenge asks for.
    assert [asked.query for asked in tokens.asked] == [
        {"fixed": "1", "service": "fake", "scope": "repository:team/it:pull"}
    ]
    assert tokens.asked[0].authorization == ""


def test_a_token_that_runs_out_is_renewed(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    support.token_server(tokens, registry)
    source = _source(f"{fake.host}/team/it:1.0")
    image = _resolve(source)
    for count in (2, 3):
        registry.tokens.clear()
        assert len(_read(source, image)) == 2
        assert count <= len(tokens.asked) <= count + 1  # two downloads may both find out


def test_a_token_that_runs_out_within_a_download(fake: Fake, tokens: Fake) -> None:
    """The connection breaks off, and what is left is asked for again, with a new token."""
    layout = Layout()
    content = random.Random(1).randbytes(400_000)
    top = layout.image([tar([entry("file", content=content)])])
    registry = FakeRegistry(fake, layout, {"1.0": str(top["digest"])}, f"http://{tokens.host}/token")
    support.token_server(tokens, registry)
    usual = fake.answer

    def answer(asked: support.Asked) -> support.Answer:
        status, headers, body = usual(asked)
        if status != 200 or len(body) < len(content):
            return status, headers, body
        if "range" not in asked.headers:
            registry.tokens.clear()
            return 200, {"Content-Length": str(len(body))}, body[:100_000]
        start = int(asked.headers["range"].removeprefix("bytes=").partition("-")[0])
        said = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return 206, {"Content-Range": said}, body[start:]

    fake.answer = answer
    patient = FETCHING._replace(retries=2)
    source = RegistrySource(ociref.parse(f"{fake.host}/it:1.0"), patient, lambda: False, machine="x86_64")
    data = gzip.decompress(_read(source, _resolve(source))[0])
    assert content in data
    ranges = [asked.headers["range"] for asked in fake.asked if "range" in asked.headers]
    assert ranges[0].startswith("bytes=100000-")
    assert len(tokens.asked) == 2


def test_layers_arrive_together(fake: Fake) -> None:
    layout = Layout()
    top = layout.image([A, B, C])
    registry = FakeRegistry(fake, layout, {"1.0": str(top["digest"])})
    layers = {layer["digest"] for layer in json.loads(layout.blobs[str(top["digest"])])["layers"]}
    usual = fake.answer
    all_asked = threading.Barrier(3, timeout=10)

    def answer(asked: support.Asked) -> support.Answer:
        if asked.path.rpartition("/")[2] in layers:
            all_asked.wait()
        return usual(asked)

    fake.answer = answer
    source = _source(f"{registry.host}/it:1.0")
    assert [gzip.decompress(data) for data in _read(source, _resolve(source))] == [A, B, C]
    assert not all_asked.broken


def test_a_registry_that_is_never_content(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    support.token_server(tokens, registry)
    registry.tokens = _Nothing()
    with pytest.raises(NspawnError, match="not for everybody"):
        _resolve(_source(f"{fake.host}/team/it:1.0"))
    assert len(tokens.asked) == 1


class _Nothing(set[str]):
    def __contains__(self, _item: object) -> bool:
        return False


def test_a_realm_on_another_host_gets_no_password(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    support.token_server(tokens, registry, user=USER, password=PASSWORD)
    with pytest.raises(NspawnError, match="did not get the password") as caught:
        _resolve(_source(f"{fake.host}/it:1.0", credential=credentials.make(fake.host, USER, PASSWORD)))
    assert f"--realm {tokens.host}" in caught.value.hint
    assert [asked.authorization for asked in tokens.asked] == [""]
    assert "account" not in tokens.asked[0].query
    with pytest.raises(NspawnError, match="did not get the password"):
        check_login(credentials.make(fake.host, USER, PASSWORD), FETCHING, lambda: False, {})
    assert {asked.authorization for asked in tokens.asked + fake.asked} == {""}


def test_a_realm_that_the_user_named_gets_it(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    support.token_server(tokens, registry, user=USER, password=PASSWORD)
    known = credentials.make(fake.host, USER, PASSWORD, (tokens.host,))
    source = _source(f"{fake.host}/it:1.0", credential=known)
    assert len(_read(source, _resolve(source))) == 2
    assert tokens.asked[0].query["account"] == USER
    # The registry itself never sees it.
    assert not any(asked.authorization.startswith("Basic") for asked in fake.asked)
    with pytest.raises(NspawnError, match="the password is wrong"):
        check_login(credentials.make(fake.host, USER, "x", (tokens.host,)), FETCHING, lambda: False, {})


def test_a_realm_that_redirects_takes_no_password_along(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    with support.fake() as thief:
        tokens.answer = lambda _asked: (302, {"Location": f"http://{thief.host}/token"}, b"")
        support.token_server(thief, registry)
        known = credentials.make(fake.host, USER, PASSWORD, (tokens.host,))
        _resolve(_source(f"{fake.host}/it:1.0", credential=known))
        assert tokens.asked[0].authorization.startswith("Basic ")
        assert [asked.authorization for asked in thief.asked] == [""]


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "https://user:word@127.0.0.1/",
        "//x",
        "token",
        "http://127.0.0.1:99999/",
        "http://[::1/",
    ],
)
def test_realms_that_are_refused(fake: Fake, realm: str) -> None:
    _fake(fake, realm)
    with pytest.raises(NspawnError):
        _resolve(_source(f"{fake.host}/it:1.0"))
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 3}',
        b'{"token": "a\\nb"}',
        b'{"token": "a b"}',
        b"[" * 99999,
        b"x" * (2 << 20),
    ],
    ids=["nothing", "list", "empty", "number", "lines", "blanks", "deep", "large"],
)
def test_tokens_that_are_none(fake: Fake, tokens: Fake, body: bytes) -> None:
    _fake(fake, f"http://{tokens.host}/token")
    tokens.answer = lambda _asked: (200, {}, body)
    with pytest.raises(Damaged):
        _resolve(_source(f"{fake.host}/it:1.0"))


# Registries that do harm


def test_blobs_come_from_elsewhere_without_the_token(fake: Fake, tokens: Fake) -> None:
    registry = _fake(fake, f"http://{tokens.host}/token")
    support.token_server(tokens, registry)
    with support.fake() as storage:
        plain = _fake(storage)
        for digest in plain.layout.blobs:
            if not plain.layout.blobs[digest].startswith(b'{"schema'):
                path = f"/v2/it/blobs/{digest}"
                registry.changed[path] = (307, {"Location": f"http://{storage.host}{path}?signed=1"}, b"")
        source = _source(f"{fake.host}/it:1.0")
        assert [gzip.decompress(data) for data in _read(source, _resolve(source))] == [A, B]
        assert len(storage.asked) == 3
        assert {asked.authorization for asked in storage.asked} == {""}


def test_every_answer_is_compared_with_its_digest(fake: Fake) -> None:
    """What a registry, or somebody between, changed: each manifest, configuration and layer."""
    registry = _fake(fake)
    source = _source(f"{fake.host}/it:1.0")
    _read(source, _resolve(source))
    asked = {each.path for each in fake.asked if not each.path.endswith("/1.0")}
    assert len(asked) == 4
    for path in asked:
        digest = path.rpartition("/")[2]
        data = registry.layout.blobs[digest]
        for wrong in (data.replace(b"l", b"m"), data[:-1], b"", data + b" "):
            registry.changed = {path: (200, {}, wrong)}
            with pytest.raises(NspawnError):
                _read_fresh(fake)
    registry.changed = {}
    _read_fresh(fake)


def _read_fresh(fake: Fake) -> None:
    source = _source(f"{fake.host}/it:1.0")
    _read(source, _resolve(source))


def test_a_tag_is_compared_with_what_the_registry_says(fake: Fake) -> None:
    registry = _fake(fake)
    digest = registry.tags["1.0"]
    other = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    headers = {"Docker-Content-Digest": digest}
    registry.changed["/v2/it/manifests/1.0"] = (200, headers, other)
    with pytest.raises(Damaged, match="its digest is"):
        _resolve(_source(f"{fake.host}/it:1.0"))


@pytest.mark.parametrize(
    ("body", "error", "why"),
    [
        (b"", Damaged, "not JSON"),
        (b"<html>welcome to the hotel</html>", Damaged, "not JSON"),
        (b"[" * 100_000, Damaged, "deep"),
        (b" " * (5 << 20), Damaged, "too large"),
        (b'{"schemaVersion": 1}', Unsupported, "first kind"),
        (b'{"schemaVersion": 2, "manifests": []}', NotFound, "no machine at all"),
    ],
)
def test_manifests_that_are_refused(fake: Fake, body: bytes, error: type[NspawnError], why: str) -> None:
    registry = _fake(fake)
    registry.changed["/v2/it/manifests/1.0"] = (200, {}, body)
    with pytest.raises(error) as caught:
        _resolve(_source(f"{fake.host}/it:1.0"))
    assert why in str(caught.value)


def test_indexes_without_an_end(fake: Fake) -> None:
    layout = Layout()
    image = layout.image([A])
    for _ in range(3):
        image = layout.index([image])
    FakeRegistry(fake, layout, {"1.0": image["digest"], "2.0": layout.index([image])["digest"]})
    assert _resolve(_source(f"{fake.host}/it:1.0")).layers
    with pytest.raises(Damaged, match="without an end"):
        _resolve(_source(f"{fake.host}/it:2.0"))


def test_a_configuration_that_claims_to_be_huge(fake: Fake) -> None:
    layout = Layout()
    image = layout.image([A])
    manifest = json.loads(layout.blobs[image["digest"]])
    manifest["config"]["size"] = 1 << 34
    changed = layout.json(manifest, manifest["mediaType"])
    FakeRegistry(fake, layout, {"1.0": changed["digest"]})
    with pytest.raises(Damaged, match="17179869184 bytes"):
        _resolve(_source(f"{fake.host}/it:1.0"))


@pytest.mark.parametrize("known", [False, True])
def test_too_many_requests(fake: Fake, known: bool) -> None:
    body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
    fake.answer = lambda _asked: (429, {"Retry-After": "3600"}, body)
    credential = credentials.make(fake.host, USER, PASSWORD) if known else None
    with pytest.raises(Busy, match="answers no more") as caught:
        _resolve(_source(f"{fake.host}/it:1.0", credential=credential))
    assert ("nspawn image login" in caught.value.hint) is not known


def test_what_a_registry_says_is_told_as_a_line(fake: Fake) -> None:
    body = json.dumps({"errors": [{"message": "\x1b[2J" + "tag unknown\n" * 100}]}).encode()
    fake.answer = lambda _asked: (404, {}, body)
    with pytest.raises(NotFound) as caught:
        _resolve(_source(f"{fake.host}/it:1.0"))
    assert "tag unknown" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_it_ends_when_it_is_cancelled(fake: Fake) -> None:
    _fake(fake)
    with pytest.raises(Cancelled):
        _resolve(_source(f"{fake.host}/it:1.0", cancelled=lambda: True))
    assert fake.asked == []


# Who may have the password


@pytest.mark.parametrize(
    ("host", "url", "may"),
    [
        ("ghcr.io", "https://ghcr.io/token", True),
        ("ghcr.io", "https://GHCR.io:443/token", True),
        ("ghcr.io", "http://ghcr.io/token", False),
        ("ghcr.io", "https://ghcr.io:8443/token", False),
        ("ghcr.io", "https://ghcr.io.example.com/token", False),
        ("ghcr.io", "https://xghcr.io/token", False),
        ("ghcr.io", "https://ghcr.io@example.com/token", None),
        ("ghcr.io", "https://auth.docker.io/token", False),
        ("docker.io", "https://auth.docker.io/token", True),
        ("docker.io", "https://registry-1.docker.io/token", True),
        ("docker.io", "http://auth.docker.io/token", False),
        ("docker.io", "https://auth.docker.io.example.com/token", False),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.example.com", "https://example.com/jwt/auth", False),
        ("registry.example.com", "https://named.example.com/jwt/auth", True),
        ("registry.example.com", "http://named.example.com/jwt/auth", False),
        ("registry.example.com", "http://127.0.0.1/token", False),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/token", True),
        ("127.0.0.1:5000", "http://127.0.0.1:5001/token", False),
    ],
)
def test_where_a_password_may_go(host: str, url: str, may: bool | None) -> None:
    credential = credentials.make(host, USER, PASSWORD, ("named.example.com",))
    if may is None:
        with pytest.raises(NspawnError):
            credential.may_have(url)
    else:
        assert credential.may_have(url) is may
    assert PASSWORD not in repr(credential)


@pytest.mark.parametrize(
    ("user", "password"),
    [("", "x"), ("a:b", "x"), ("a\nb", "x"), ("a", ""), ("a", "x\ny"), ("a", "x" * 20000)],
)
def test_what_is_no_login(user: str, password: str) -> None:
    with pytest.raises(NspawnError):
        credentials.make("ghcr.io", user, password)
