"""Who we are to registries, and which servers may learn it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from nspawn.errors import NspawnError, UsageError
from nspawn.model import ociref

#: Of the file's format.
VERSION = 1
_LONGEST = 16384  # some tokens that are used as passwords have some kilobytes
_MOST = 1000
#: Registries whose tokens come from another host of theirs (facts: web).  All others tell their own by
#: `login --realm`: a registry that was taken over must not choose who gets the password.
_REALMS = {
    "docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What one registry knows us by.  realms: HOST[:PORT] that may also have the password, for tokens."""

    host: str
    user: str
    password: str = field(repr=False)
    realms: tuple[str, ...] = ()

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def may_have(self, url: str) -> bool:
        """Whether the password may be sent to the url: to the registry's own server, or a realm that is
        known for it; encrypted, or on this machine when the registry is.
        """
        parts = split(url)
        place = origin(parts)
        own = split(ociref.api(self.host))
        if parts.scheme != "https" and not (
            parts.scheme == "http" and ociref.is_loopback(place) and ociref.is_loopback(self.host)
        ):
            return False
        return place in (origin(own), *_REALMS.get(self.host, ()), *self.realms)


def make(host: str, user: str, password: str, realms: tuple[str, ...] = ()) -> Credential:
    """A checked credential; or UsageError."""
    if not user or ":" in user or not user.isprintable() or len(user) > 255:
        raise UsageError(f"{user[:80]!r} is not a user of a registry", hint="A name has no ':' in it.")
    if not password or not password.isprintable() or len(password) > _LONGEST:
        raise UsageError(
            "that cannot be a password", "it is empty" if not password else "it is no line of text"
        )
    return Credential(
        host=ociref.parse_host(host),
        user=user,
        password=password,
        realms=tuple(dict.fromkeys(ociref.parse_host(realm) for realm in realms)),
    )


def from_document(document: Mapping[str, object], path: str) -> dict[str, Credential]:
    """All credentials of a parsed file, by host; or UsageError.  path: for the errors."""
    version = document.get("version", VERSION)
    if version != VERSION:
        raise NspawnError(
            f"{path} is of version {str(version)[:20]} and this nspawn reads version {VERSION}",
            "a newer nspawn wrote it",
            "Update nspawn; the file was left as it is.",
        )
    table = document.get("registries", {})
    if not isinstance(table, Mapping) or len(table) > _MOST:
        raise UsageError(f"{path}: registries: expected a table of at most {_MOST}")
    found = {}
    for host, entry in table.items():
        where = f"{path}: registries.{host[:80]}"
        words = entry if isinstance(entry, Mapping) else {}
        user, password, realms = words.get("user"), words.get("password"), words.get("realms", [])
        if not isinstance(user, str) or not isinstance(password, str) or not isinstance(realms, list):
            raise UsageError(f"{where}: expected a user and a password")
        try:
            credential = make(host, user, password, tuple(str(realm) for realm in realms))
        except UsageError as error:
            raise UsageError(f"{where}: {error.what}", error.why, error.hint) from None
        found[credential.host] = credential
    return found


def to_document(credentials: Mapping[str, Credential]) -> dict[str, object]:
    """What `from_document` reads."""
    table = {}
    for host, each in sorted(credentials.items()):
        entry: dict[str, object] = {"user": each.user, "password": each.password}
        if each.realms:
            entry["realms"] = list(each.realms)
        table[host] = entry
    return {"version": VERSION, "registries": table}


def split(url: str) -> SplitResult:
    """The parts of a url that came from a server; NspawnError when it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise NspawnError(f"{url[:120]!r} is not an address") from None
    if not parts.hostname or parts.username is not None or not url.isprintable():
        raise NspawnError(f"{url[:120]!r} is not an address")
    return parts


def origin(parts: SplitResult) -> str:
    """HOST[:PORT] in small letters, without the usual port."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = 443 if parts.scheme == "https" else 80
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"
