"""Who may ask: every request passes `Gate` before it reaches a route.

Loopback is shared by every app of a phone, by containers on the host's network and by any page a browser
shows, so neither the address nor a cookie proves anything (cookies ignore ports).  What counts: a Host of
ours (or a rebound name would be a same-origin page), an Origin of ours, headers that no form can send, and
a bearer that only a program which may read the token's file, or a page which was handed one, can know.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from flask import Blueprint, Flask, Request, Response, jsonify, request

from nspawn.web.fields import parse_body, wrong
from nspawn.web.refusal import Refusal

API = "/api/"
LOGIN = "/api/v1/login"
NAMES = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS = frozenset(("GET", "HEAD"))

#: No inline script, no foreign source, no frame around us; text never becomes markup (Trusted Types).
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


class AccessPort(Protocol):
    """What the gate asks of `nspawn.service.access.Access`."""

    def check_token(self, token: str, /) -> bool: ...
    def redeem_code(self, code: str, /) -> bool: ...
    def issue_session(self) -> str: ...
    def check_session(self, session: str, /) -> bool: ...


class Throttle:
    """A bucket of failures: `burst` at once, then one more every `seconds`.

    One bucket counts for everybody: on loopback a client is free to choose its address and its port.
    """

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._level = 0.0
        self._at = clock()

    def _drain(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._at) / self._seconds)
        self._at = now

    def wait(self) -> int:
        """Whole seconds until a try is allowed again, 0 for now."""
        with self._lock:
            self._drain()
            return max(0, math.ceil((self._level - self._burst + 1) * self._seconds))

    def failed(self) -> None:
        """Count one failure."""
        with self._lock:
            self._drain()
            self._level = min(float(self._burst), self._level + 1.0)


def bearer_of(authorization: str) -> str:
    """The credential of an Authorization header, or an empty text."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


class Gate:
    """The rules for all requests.

    ports: the TCP ports that this server listens on; only they make a Host or an Origin ours.
    """

    def __init__(
        self, access: AccessPort, ports: Iterable[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.access = access
        # Separate buckets: an old session in a forgotten tab must not keep its user from logging in.
        self.logins = Throttle(10, 6.0, clock)
        self.bearers = Throttle(20, 3.0, clock)
        self.hosts = frozenset(host for port in ports for host in _hosts(port))
        self.origins = frozenset(f"http://{host}" for host in self.hosts)

    def check(self, asked: Request) -> None:
        """Return when the request may go on, else raise Refusal."""
        self._check_place(asked)
        if asked.method not in SAFE_METHODS:
            _check_change(asked)
        if asked.path.startswith(API) and asked.path != LOGIN:
            self.check_bearer(asked.headers.get("Authorization", ""))

    def _check_place(self, asked: Request) -> None:
        host = asked.environ.get("HTTP_HOST", "").lower()
        if host not in self.hosts:
            raise Refusal(
                403,
                "foreign_host",
                "this server does not answer to that name",
                f"the Host header is {host[:80]!r}",
                "Open http://localhost or http://127.0.0.1 with the server's port.",
            )
        origin = asked.headers.get("Origin")
        if origin is not None and origin.lower() not in self.origins:
            raise Refusal(
                403,
                "foreign_origin",
                "another page may not ask this server",
                f"its origin is {origin[:80]!r}",
            )
        site = asked.headers.get("Sec-Fetch-Site", "none")
        if site in ("none", "same-origin"):
            return
        # A link or another app may open the page itself: that shows it and carries nothing.
        opens_page = asked.method in SAFE_METHODS and not asked.path.startswith(API)
        if not (opens_page and asked.headers.get("Sec-Fetch-Mode") == "navigate" and _is_top_level(asked)):
            raise Refusal(
                403,
                "foreign_site",
                "another site may not ask this server",
                f"Sec-Fetch-Site is {site[:40]!r}",
            )

    def check_bearer(self, authorization: str) -> None:
        """Return when the header carries a session or the token, else raise Refusal."""
        credential = bearer_of(authorization)
        if self.knows(credential):
            return
        if not credential:
            raise Refusal(
                401, "unauthorized", "not logged in", hint="Log in, or send 'Authorization: Bearer TOKEN'."
            )
        wait = self.bearers.wait()
        if wait:
            raise _throttled(wait)
        self.bearers.failed()
        raise Refusal(
            401,
            "unauthorized",
            "the login is not valid",
            "it has ended, or the token was changed",
            "Log in again.",
        )

    def knows(self, credential: str) -> bool:
        """Whether this is a session in force or the token."""
        if not credential or len(credential) > 512 or not credential.isascii():
            return False
        return self.access.check_session(credential) or self.access.check_token(credential)

    def log_in(self, *, token: str | None, code: str | None) -> str:
        """A new session for a token or a one-time code; Refusal 401 or 429."""
        wait = self.logins.wait()
        if wait:
            raise _throttled(wait)
        if token is not None:
            good = token.isascii() and self.access.check_token(token)
        else:
            good = code is not None and code.isascii() and self.access.redeem_code(code)
        if not good:
            self.logins.failed()
            raise Refusal(
                401,
                "unauthorized",
                "the login was refused",
                "the token is not this server's"
                if token is not None
                else "the code is unknown, used or too old",
                "As root, `nspawn token` shows the token.",
            )
        return self.access.issue_session()


def _hosts(port: int) -> list[str]:
    """The Host headers of a port; a browser leaves 80 out."""
    return [f"{name}:{port}" for name in NAMES] + (list(NAMES) if port == 80 else [])


def _is_top_level(asked: Request) -> bool:
    return asked.headers.get("Sec-Fetch-Dest", "document") == "document"


def _check_change(asked: Request) -> None:
    """A form or a plain cross-site request can send neither this header nor these types."""
    if asked.headers.get("X-Nspawn") != "1":
        raise Refusal(403, "header_missing", "a change needs the header X-Nspawn: 1")
    given = asked.mimetype
    wanted = "application/octet-stream" if asked.path.endswith("/upload") else "application/json"
    if given != wanted:
        raise Refusal(415, "content_type", f"a change needs Content-Type: {wanted}", f"it is {given[:80]!r}")


def _throttled(wait: int) -> Refusal:
    return Refusal(
        429, "throttled", "too many failed logins", hint=f"Try again in {wait} seconds.", retry=wait
    )


def secure(response: Response) -> Response:
    """The headers of every answer."""
    headers = response.headers
    headers["Content-Security-Policy"] = POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
    return response


def guard(app: Flask, gate: Gate) -> None:
    """Put the gate before, and the headers on, everything that the application answers."""

    @app.before_request
    def check() -> None:
        gate.check(request)

    app.after_request(secure)


def login_routes(gate: Gate, session_seconds: int, now: Callable[[], float] = time.time) -> Blueprint:
    """POST /api/v1/login."""
    routes = Blueprint("login", __name__)

    @routes.post(LOGIN)
    def login() -> Response:
        body = parse_body(request.get_data())
        token, code = body.text("token", None), body.text("code", None)
        body.finish()
        if (token is None) == (code is None):
            wrong("body", "either a token or a code is expected")
        return jsonify(session=gate.log_in(token=token, code=code), expires=int(now() + session_seconds))

    return routes
