from __future__ import annotations

import pytest

from nspawn.errors import UsageError
from nspawn.model import ociref
from nspawn.model.imageref import Registry

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected", "base"),
    [
        ("nginx", "docker.io/library/nginx:latest", "https://registry-1.docker.io/v2"),
        ("docker://nginx:1.27", "docker.io/library/nginx:1.27", "https://registry-1.docker.io/v2"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "https://registry-1.docker.io/v2"),
        ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27", "https://registry-1.docker.io/v2"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "https://registry-1.docker.io/v2"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest", "https://registry-1.docker.io/v2"),
        ("ghcr.io/o/r:tag", "ghcr.io/o/r:tag", "https://ghcr.io/v2"),
        ("GHCR.io/o/r:Tag", "ghcr.io/o/r:Tag", "https://ghcr.io/v2"),
        ("ghcr.io/a/b/c/d__e.f-g---h:v1_2.3-x", "ghcr.io/a/b/c/d__e.f-g---h:v1_2.3-x", "https://ghcr.io/v2"),
        (f"quay.io/x@{DIGEST}", f"quay.io/x@{DIGEST}", "https://quay.io/v2"),
        (f"quay.io/x:1@{DIGEST}", f"quay.io/x:1@{DIGEST}", "https://quay.io/v2"),
        ("host.example:5000/x", "host.example:5000/x:latest", "https://host.example:5000/v2"),
        ("host.example:443/x", "host.example/x:latest", "https://host.example/v2"),
        ("localhost/x", "localhost/x:latest", "http://localhost/v2"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "http://localhost:5000/v2"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "http://127.0.0.1:5000/v2"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "http://[::1]:5000/v2"),
        ("[2001:DB8:0::1]/x", "[2001:db8::1]/x:latest", "https://[2001:db8::1]/v2"),
        # Not loopback, whatever they look like.
        ("127.0.0.1.example.com/x", "127.0.0.1.example.com/x:latest", "https://127.0.0.1.example.com/v2"),
        ("localhost.example.com/x", "localhost.example.com/x:latest", "https://localhost.example.com/v2"),
        ("10.0.0.1:5000/x", "10.0.0.1:5000/x:latest", "https://10.0.0.1:5000/v2"),
    ],
)
def test_references(text: str, expected: str, base: str) -> None:
    found = ociref.parse(text)
    assert str(found) == expected
    assert ociref.base(found) == base
    assert ociref.parse(str(found)) == found
    assert ociref.wanted(found) == (found.digest or found.tag)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no repository"),
        ("ghcr.io/", "names no repository"),
        ("ghcr.io/o//r", "is empty"),
        ("ghcr.io/o/r/", "is empty"),
        ("ghcr.io/Owner/r", "'Owner' cannot be"),
        ("ghcr.io/../r", "'..' cannot be"),
        ("ghcr.io/o/r?x", "'r?x' cannot be"),
        ("ghcr.io/o/r%2f", "cannot be"),
        ("ghcr.io/-x", "'-x' cannot be"),
        ("ghcr.io/a..b", "cannot be"),
        ("ghcr.io/a b", "cannot be"),
        ("ghcr.io/a\nb", "cannot be"),
        ("ghcr.io/a\0b", "cannot be"),
        ("ghcr.io/ä", "cannot be"),
        ("ghcr.io/x:", "'' is not a tag"),
        ("ghcr.io/x:-a", "'-a' is not a tag"),
        ("ghcr.io/x:" + "a" * 129, "is not a tag"),
        ("ghcr.io/x@sha256:abc", "is not a digest"),
        ("ghcr.io/x@" + DIGEST.upper(), "is not a digest"),
        ("ghcr.io/x@sha512:" + "0" * 128, "is not a digest"),
        ("ghcr.io/" + "a" * 256, "more than 255"),
        ("ghcr.io/" + "a/" * 600, "characters"),
        ("user@host.example/x", "is not a digest"),
        ("host.example:99999/x", "is not a registry"),
        ("host.example:0/x", "is not a registry"),
        ("host..example/x", "is not a registry"),
        ("-host.example/x", "is not a registry"),
        ("[::1/x", "is not a registry"),
        ("[::zz]/x", "is not a registry"),
    ],
)
def test_what_is_no_reference_says_why(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        ociref.parse(text)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_capitals_are_shown_as_they_should_be() -> None:
    with pytest.raises(UsageError) as caught:
        ociref.parse("docker.io/NGINX")
    assert "nginx" in caught.value.hint


def test_at_a_digest() -> None:
    found = ociref.parse(f"nginx@{DIGEST}")
    assert found == Registry(host="docker.io", repository="library/nginx", digest=DIGEST)
