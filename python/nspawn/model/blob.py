"""A piece of an image that is known by its hash."""

from __future__ import annotations

from dataclasses import dataclass

from nspawn.errors import UsageError

ALGORITHM = "sha256"
_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """What to fetch, and how to know it.

    digest: `sha256:` and 64 hexadecimal digits, or "" when nobody says what it must be.  size: bytes, None
    when unknown.  urls: where it is; first those to prefer (mirrors), upstream last.
    """

    digest: str
    size: int | None = None
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.digest:
            parse_digest(self.digest)


def parse_digest(text: object, what: str = "the digest") -> str:
    """`sha256:...` in lower case; bare hexadecimal digits count.  UsageError for anything else.

    It may become the name of a file: nothing but these digits can be in it.
    """
    if isinstance(text, str):
        algorithm, colon, digits = text.strip().lower().rpartition(":")
        if colon and algorithm != ALGORITHM and algorithm.isalnum():
            raise UsageError(f"{what}: {algorithm[:20]!r} is no hash that we know", hint="Use sha256.")
        if (not colon or algorithm) and len(digits) == _LENGTH and _HEX.issuperset(digits):
            return f"{ALGORITHM}:{digits}"
    raise UsageError(
        f"{what}: {str(text)[:80]!r} is no sha256", hint="It has 64 hexadecimal digits, sha256: before them."
    )


def digits_of(digest: str) -> str:
    """The hexadecimal digits, which name its file; UsageError when it is no digest."""
    return parse_digest(digest).partition(":")[2]
