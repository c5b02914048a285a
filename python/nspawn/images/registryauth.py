"""How a registry lets us in: its challenge, and the token that it sends us for.

The registry's answer 401 names who gives tokens (a realm).  That is data of a server: the realm must be
encrypted, and gets the password only when it is known to belong to the registry (`credentials`).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from nspawn.errors import Busy, Damaged, NspawnError
from nspawn.images import credentials
from nspawn.model import jsontext, ociref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.images.credentials import Credential
    from nspawn.images.http import Answer, Client

_LONGEST_CHALLENGE = 8192
_LARGEST_TOKEN, _MOST_VALUES = 1 << 20, 1000
_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?=\s|$|,)", re.IGNORECASE)
_PAIR = re.compile(r'([A-Za-z_-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What a registry wants to see.  scheme: "bearer" or "basic"; realm: for "bearer", who gives tokens."""

    scheme: str
    realm: str = ""
    service: str = ""


def parse_challenge(text: str) -> Challenge | None:
    """The best of what a WWW-Authenticate offers, tokens before passwords; None when it has neither."""
    text = text[:_LONGEST_CHALLENGE]
    found = list(_SCHEME.finditer(text))
    offers: dict[str, dict[str, str]] = {}
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends[: len(found)], strict=True):
        words = text[match.end() : end]
        pairs = {key.lower(): quoted or plain for key, quoted, plain in _PAIR.findall(words)}
        offers.setdefault(match[1].lower(), pairs)
    if offers.get("bearer", {}).get("realm"):
        pairs = offers["bearer"]
        return Challenge(scheme="bearer", realm=pairs["realm"], service=pairs.get("service", ""))
    return Challenge(scheme="basic") if "basic" in offers else None


class Authority:
    """For the client that talks to one registry about one repository (`http.Authorize`).

    client: what asks realms; it must not use this.  repository: "" to find out whether a login is right.
    """

    def __init__(self, client: Client, host: str, repository: str, credential: Credential | None) -> None:
        self._client = client
        self._host = host
        self._repository = repository
        self._credential = credential
        self._origin = credentials.origin(credentials.split(ociref.api(host)))
        self._current = ""
        self._lock = threading.Lock()
        self._sent = threading.local()
        #: Why the password was kept back; "" when it was not.
        self.kept_back = ""
        #: Whether a password was asked for, and sent.
        self.used = False

    def headers(self, url: str) -> Mapping[str, str]:
        """Authorization, for the registry's own server only."""
        if credentials.origin(credentials.split(url)) != self._origin:
            return {}
        with self._lock:
            self._sent.value = self._current
        return {"Authorization": self._sent.value} if self._sent.value else {}

    def refused(self, url: str, challenge: str) -> bool:
        """Whether there is something new to show: a token, also when the old one has run out."""
        if credentials.origin(credentials.split(url)) != self._origin:
            return False
        with self._lock:
            if self._current != getattr(self._sent, "value", ""):
                return True  # another download has renewed it meanwhile
            wanted = parse_challenge(challenge)
            if wanted is None:
                return False
            fresh = self._token(wanted) if wanted.scheme == "bearer" else self._basic()
            changed = fresh not in ("", self._current)
            self._current = fresh
            return changed

    def _basic(self) -> str:
        if self._credential is None or not self._credential.may_have(ociref.api(self._host)):
            return ""
        self.used = True
        return self._credential.basic

    def _token(self, wanted: Challenge) -> str:
        parts = credentials.split(wanted.realm)
        self._check_realm(wanted.realm)
        words = {}
        if wanted.service:
            words["service"] = wanted.service
        if self._repository:
            # Ours and no more, whatever scope the challenge names.
            words["scope"] = f"repository:{self._repository}:pull"
        headers = {}
        if self._credential is not None and self._credential.may_have(wanted.realm):
            headers["Authorization"] = self._credential.basic
            words["account"] = self._credential.user
            self.used = True
        elif self._credential is not None:
            self.kept_back = credentials.origin(parts)
        query = "&".join(part for part in (parts.query, urlencode(words)) if part)
        answer = self._client.get(
            parts._replace(query=query, fragment="").geturl(), headers, limit=_LARGEST_TOKEN
        )
        return f"Bearer {self._read(answer, credentials.origin(parts), known=bool(headers))}"

    def _check_realm(self, realm: str) -> None:
        """A server somewhere else has no say about this machine's own, and none about plain http."""
        parts = credentials.split(realm)
        here = ociref.is_loopback(credentials.origin(parts))
        if (parts.scheme == "https" and not here) or (
            parts.scheme in ("http", "https") and here and ociref.is_loopback(self._host)
        ):
            return
        why = "an address of this machine" if here else "not encrypted"
        raise NspawnError(
            f"{self._host} cannot be used", f"it sends us to {realm[:120]!r} for a token, which is {why}"
        )

    def _read(self, answer: Answer, realm: str, *, known: bool) -> str:
        if answer.status in (401, 403):
            raise refusal(self._host, self._repository, self._credential if known else None, self.kept_back)
        if answer.status == 429:
            raise busy(self._host, known=known)
        if answer.status != 200:
            raise NspawnError(f"{realm} gives no token for {self._host}", f"it answers {answer.status}")
        try:
            document = jsontext.parse(answer.body, largest=len(answer.body), most=_MOST_VALUES)
        except jsontext.JsonError:
            document = None
        words = document if isinstance(document, dict) else {}
        token = words.get("token") or words.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise Damaged(f"{realm} gives no token for {self._host}", "its answer has none")
        return token


def refusal(host: str, repository: str, credential: Credential | None, kept_back: str = "") -> NspawnError:
    """What to do after a 401 or 403.  kept_back: the realm that did not get the password."""
    what = f"{host} does not give us {repository}" if repository else f"{host} does not let us in"
    if kept_back:
        return NspawnError(
            what,
            f"its tokens come from {kept_back}, which did not get the password",
            f"If that server is the registry's own: nspawn image login {host} --realm {kept_back}",
        )
    if credential is not None:
        return NspawnError(
            what,
            f"the user {credential.user!r} may not have it, or the password is wrong",
            f"Log in again: nspawn image login {host}",
        )
    return NspawnError(
        what,
        "there is no such image, or it is not for everybody",
        f"With an account: nspawn image login {host}",
    )


def busy(host: str, *, known: bool) -> Busy:
    """What to do after a 429."""
    hint = "Try again later."
    if not known:
        hint = f"Try again later, or log in: who is known may fetch more.  nspawn image login {host}"
    return Busy(f"{host} answers no more for now", "too much was fetched from this address", hint)
