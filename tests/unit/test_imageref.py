from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model import imageref
from nspawn.model.imageref import Builtin, Distribution, File, ImageRef, Registry, Url

SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("builtin", Builtin()),
        ("debian", Distribution(name="debian")),
        ("Debian:13", Distribution(name="debian", release="13")),
        ("debian/trixie", Distribution(name="debian", release="trixie")),
        ("debian:current", Distribution(name="debian")),
        ("debian/trixie/cloud", Distribution(name="debian", release="trixie", variant="cloud")),
        ("debian/trixie/default", Distribution(name="debian", release="trixie")),
        ("debian/current/cloud", Distribution(name="debian", variant="cloud")),
        ("ubuntu:24.04", Distribution(name="ubuntu", release="24.04")),
        ("opensuse:leap-15.6", Distribution(name="opensuse", release="leap-15.6")),
        ("nginx", Distribution(name="nginx")),
        ("grafana/grafana", Distribution(name="grafana", release="grafana")),
        (
            "docker.io/library/nginx:1.27",
            Registry(host="docker.io", repository="library/nginx", tag="1.27"),
        ),
        ("docker://nginx", Registry(host="docker.io", repository="library/nginx", tag="latest")),
        ("oci://nginx", Registry(host="docker.io", repository="library/nginx", tag="latest")),
        ("localhost/a", Registry(host="localhost", repository="a", tag="latest")),
        ("127.0.0.1:5000/a/b:1", Registry(host="127.0.0.1:5000", repository="a/b", tag="1")),
        ("[::1]:5000/a", Registry(host="[::1]:5000", repository="a", tag="latest")),
        (
            f"ghcr.io/a/b@sha256:{SUM}",
            Registry(host="ghcr.io", repository="a/b", digest=f"sha256:{SUM}"),
        ),
        ("debian:13/cloud", Registry(host="debian:13", repository="cloud", tag="latest")),
        (f"https://example.org/a.tar.xz#sha256={SUM}", Url(url="https://example.org/a.tar.xz", sha256=SUM)),
        (f"http://127.0.0.1/a#sha256={SUM.upper()}", Url(url="http://127.0.0.1/a", sha256=SUM)),
        ("-", File(path="-")),
        ("/srv/a b.tar", File(path="/srv/a b.tar")),
        ("./builtin", File(path="./builtin")),
        ("../a.tar#name", File(path="../a.tar#name")),
        ("~/a.tar", File(path="~/a.tar")),
        (".", File(path=".")),
    ],
)
def test_a_name_leads_to_one_place(text: str, expected: ImageRef) -> None:
    assert imageref.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " debian",
        "debian ",
        "debian\n",
        "debian\0",
        "debian:",
        ":13",
        "debian:13:arm64",
        "debian/13/cloud/arm64",
        "debian/../etc",
        "debian:-x",
        "-debian",
        ".debian",
        "--image",
        "debian@sha256:0",
        "https://example.org/a.tar",
        "https://example.org/a.tar#sha256=0",
        "https://example.org/a.tar#md5=" + "0" * 32,
        "ftp://example.org/a.tar",
        "file:///etc/shadow",
        "docker://",
        "ghcr.io/UPPER/x",
        "a" * 5000,
        "débian",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        imageref.parse(text)


def test_a_digest_without_a_registry_is_told_where_it_belongs() -> None:
    with pytest.raises(UsageError, match="a digest needs a registry") as caught:
        imageref.parse(f"nginx@sha256:{SUM}")
    assert f"docker://nginx@sha256:{SUM}" in caught.value.hint


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        found = imageref.parse(text)
    except UsageError:
        return
    assert str(found)


@pytest.mark.parametrize(
    "text",
    [
        "debian:13",
        "debian",
        "debian/trixie/cloud",
        "debian/current/cloud",
        "docker.io/library/nginx:1.27",
        f"ghcr.io/a/b:1@sha256:{SUM}",
        f"https://example.org/a.tar#sha256={SUM}",
        "/a.tar",
        "builtin",
    ],
)
def test_what_is_written_can_be_read_again(text: str) -> None:
    found = imageref.parse(text)
    assert imageref.parse(str(found)) == found
