from __future__ import annotations

import pytest

from nspawn.images.registryauth import Challenge, parse_challenge


def _bearer(realm: str, service: str = "") -> Challenge:
    return Challenge(scheme="bearer", realm=realm, service=service)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:x:pull"',
            _bearer("https://auth.docker.io/token", "registry.docker.io"),
        ),
        ('bearer realm="https://a/t" , service=b', _bearer("https://a/t", "b")),
        ("Bearer realm=https://a/t", _bearer("https://a/t")),
        ('Bearer service="s",realm="https://a/t?x=1,2"', _bearer("https://a/t?x=1,2", "s")),
        ('Basic realm="x"', Challenge(scheme="basic")),
        ("Basic", Challenge(scheme="basic")),
        ('Basic realm="x", Bearer realm="https://a/t"', _bearer("https://a/t")),
        ('Bearer realm="https://a/t", Basic realm="x"', _bearer("https://a/t")),
        ('Negotiate, Basic realm="x"', Challenge(scheme="basic")),
        ('Bearer realm=""', None),
        ("Bearer", None),
        ('Digest realm="x", nonce="y"', None),
        ("", None),
        ("garbage \0 = ,,,\"'", None),
    ],
)
def test_challenges(text: str, expected: Challenge | None) -> None:
    assert parse_challenge(text) == expected


@pytest.mark.parametrize(
    "text", ['Bearer realm="' + "\\" * 100_000, "," * 100_000, " " * 100_000, "Bearer " * 9999]
)
def test_long_ones_are_no_challenges(text: str) -> None:
    assert parse_challenge(text) is None
