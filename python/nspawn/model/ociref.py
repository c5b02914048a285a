"""References to images in registries: `docker.io/library/nginx:1.27`, `host:5000/x@sha256:...`.

The grammar is that of the OCI distribution specification, with Docker's defaults for docker.io.
"""

from __future__ import annotations

import ipaddress
import re

from nspawn.errors import UsageError
from nspawn.model.imageref import DOCKER, Registry

#: What docker.io is called by its own programs.
_DOCKER_NAMES = (DOCKER, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_DOCKER_API = "registry-1.docker.io"
DEFAULT_TAG = "latest"

_LONGEST = 1024
_LONGEST_REPOSITORY = 255
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[0-9]{{1,5}}))?")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WHAT = "is not a reference of an image"


def base(ref: Registry) -> str:
    """Where the registry's API begins: `https://registry-1.docker.io/v2`."""
    return f"{api(ref.host)}/v2"


def wanted(ref: Registry) -> str:
    """What the registry is asked for: with a digest, a tag is only for people."""
    return ref.digest or ref.tag


def parse(text: str) -> Registry:
    """A reference as a person writes it, with or without `docker://`; or UsageError.

    A first part without '.', ':' and other than `localhost` belongs to the repository: `nginx` and
    `library/nginx` are on docker.io.
    """
    rest = text.removeprefix("docker://")
    if len(rest) > _LONGEST:
        raise UsageError(f"{text[:60]!r}... {_WHAT}", f"it has {len(rest)} characters")
    name, at, digest = rest.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest[:80]!r} is not a digest", "Write @sha256: and 64 digits of 0-9, a-f.")
    name, tag = _split_tag(name)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _wrong(
            text,
            f"{tag[:80]!r} is not a tag",
            "A tag has 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two.",
        )
    host, repository = _split_host(name)
    if not repository:
        raise _wrong(text, "it names no repository", "Write HOST/REPOSITORY:TAG.")
    host = parse_host(host)
    if host == DOCKER and "/" not in repository:
        repository = f"library/{repository}"
    _check_repository(text, repository)
    if tag is None:
        tag = "" if digest else DEFAULT_TAG
    return Registry(host=host, repository=repository, tag=tag, digest=digest)


def parse_host(text: str) -> str:
    """The name of a registry, `HOST[:PORT]`, in its one spelling; or UsageError."""
    host = text.lower()
    if host in _DOCKER_NAMES:
        return DOCKER
    found = _HOST.fullmatch(host)
    port = found["port"] if found else None
    if not found or len(host) > 255 or (port is not None and not 0 < int(port) < 65536):
        raise UsageError(f"{text[:80]!r} is not a registry", hint="Write HOST or HOST:PORT, as in ghcr.io.")
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(found["name"][1:-1])
        except ValueError:
            raise UsageError(f"{text[:80]!r} is not a registry", "that is no IPv6 address") from None
        host = f"[{address}]" + (f":{port}" if port else "")
    return host.removesuffix(":443")


def api(host: str) -> str:
    """The URL of a registry's server.  Plain http is for this machine itself only, as everywhere here."""
    if host == DOCKER:
        return f"https://{_DOCKER_API}"
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` is this machine by its address, or by the name that always is."""
    found = _HOST.fullmatch(host.lower())
    name = found["name"].strip("[]") if found else ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split_tag(name: str) -> tuple[str, str | None]:
    """A ':' after the last '/' begins a tag; one before belongs to a port."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, None)


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first.lower() == "localhost" or "." in first or ":" in first):
        return first, rest
    return DOCKER, name


def _check_repository(text: str, repository: str) -> None:
    if len(repository) > _LONGEST_REPOSITORY:
        raise _wrong(text, f"its repository has more than {_LONGEST_REPOSITORY} characters")
    for part in repository.split("/"):
        if _PART.fullmatch(part):
            continue
        if not part:
            raise _wrong(text, "a part between two '/' is empty")
        hint = "Each part has a-z and 0-9, and single '.', '_', '__' or '-' between those."
        if _PART.fullmatch(part.lower()):
            hint = f"Repositories are written small: {part.lower()[:80]}."
        raise _wrong(text, f"{part[:80]!r} cannot be in a repository's name", hint)


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    return UsageError(f"{shown!r} {_WHAT}", why, hint)
