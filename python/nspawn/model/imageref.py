"""What a person names an image by: `debian:13`, `docker.io/library/nginx:1.27`, an address, a file."""

from __future__ import annotations

from dataclasses import dataclass

from nspawn.errors import UsageError

DOCKER = "docker.io"
#: Characters of a whole reference: PATH_MAX.
_LONGEST = 4096
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
_HEX = frozenset("0123456789abcdef")
_EXAMPLES = "As in: debian:13, docker.io/library/nginx:1.27, ./rootfs.tar.xz, https://HOST/FILE#sha256=..."


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """The root file system that comes along."""

    def __str__(self) -> str:
        return "builtin"


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of an image server.  release: its name, number or alias, "" for the current one.

    variant: "" for the default one.  arch: as the image server names it (amd64, arm64, ...), "" for ours.
    """

    name: str
    release: str = ""
    variant: str = ""
    arch: str = ""

    def __str__(self) -> str:
        text = f"{self.name}:{self.release}" if self.release else self.name
        return f"{self.name}/{self.release or 'current'}/{self.variant}" if self.variant else text


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Of an OCI registry.  host: with its port, if any; tag: "" with a digest alone; digest: or ""."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


@dataclass(frozen=True, kw_only=True)
class Url:
    """A tar at an address.  sha256: 64 hexadecimal digits."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}"


@dataclass(frozen=True, kw_only=True)
class File:
    """A tar, an OCI layout (folder or tar) or what `docker save` wrote.  path: "-" for standard input."""

    path: str

    def __str__(self) -> str:
        return self.path


ImageRef = Builtin | Distribution | Registry | Url | File


def parse(text: str) -> ImageRef:
    """The reference, or UsageError.

    `/`, `./`, `../`, `~` and `-` begin a file; `http://` and `https://` an address, with `#sha256=...`
    behind it; `docker://` a registry's image; so does a first part that is a host (it has a dot or a port,
    or is localhost).  The rest is a distribution: NAME, NAME:RELEASE, NAME/RELEASE, NAME/RELEASE/VARIANT.
    """
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise UsageError(f"{text[:80]!r} names no image", hint=_EXAMPLES)
    if text == "builtin":
        return Builtin()
    if text == "-" or text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return File(path=text)
    if text.startswith(("https://", "http://")):
        return _url(text)
    for scheme in ("docker://", "oci://"):
        if text.startswith(scheme):
            return _registry(text.removeprefix(scheme))
    host, slash, _rest = text.partition("/")
    if slash and is_host(host):
        return _registry(text)
    if "@" in text:
        raise UsageError(
            f"{text[:80]!r} names no image", "a digest needs a registry", f"docker://{text[:80]}"
        )
    return _distribution(text)


def is_host(text: str) -> bool:
    """Whether the first part of a reference is a registry's host and no folder."""
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if colon:
        return bool(name) and port.isascii() and port.isdigit()
    return text == "localhost" or "." in text or text.startswith("[")


def _registry(text: str) -> Registry:
    from nspawn.model import ociref

    return ociref.parse(text)


def _url(text: str) -> Url:
    url, _hash, fragment = text.partition("#")
    key, _equals, value = fragment.partition("=")
    value = value.lower().removeprefix("sha256:")
    if key != "sha256" or not is_sha256(value):
        raise UsageError(
            f"{url[:120]} cannot be fetched",
            "nobody vouches for its content",
            "Put its sha256 behind it: URL#sha256=64 hexadecimal digits",
        )
    return Url(url=url, sha256=value)


def is_sha256(text: str) -> bool:
    """Whether it is written as one: 64 small hexadecimal digits."""
    return len(text) == 64 and _HEX.issuperset(text)


def _distribution(text: str) -> Distribution:
    name, colon, release = text.partition(":")
    parts = [name, release] if colon else text.split("/")
    if len(parts) > 3 or not all(is_word(part) for part in parts):
        raise UsageError(f"{text[:80]!r} names no image", hint=_EXAMPLES)
    found, release, variant = (*parts, "", "")[:3]
    return Distribution(
        name=found.lower(),
        release="" if release in ("current", "latest") else release,
        variant="" if variant == "default" else variant,
    )


def is_word(text: str) -> bool:
    """Whether it can be a distribution, a release, a variant or an architecture of an image server."""
    return 0 < len(text) <= 64 and text[0] not in ".-+" and _WORD.issuperset(text)
