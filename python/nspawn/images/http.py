"""One way to ask web servers: encrypted, bounded, and ended when it is no longer wanted.

urllib3 is imported with the first request (100 ms and 14 MB).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nspawn.model.fetching import Fetching

if TYPE_CHECKING:
    from nspawn.model.progress import Asked

#: Bytes of an answer that nobody set a limit for.
LIMIT = 16 << 20


class Authorize(Protocol):
    """Who we are to a server.  Asked for the url of a request, and for redirects on the same host and port
    only; called from several threads.
    """

    def headers(self, url: str) -> Mapping[str, str]:
        """Headers to add; may ask for a token first."""
        ...

    def refused(self, url: str, challenge: str) -> bool:
        """The answer was 401, with this WWW-Authenticate.  True: ask `headers` and the server once more."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer.  url: the last one after redirects.  headers: by names in lower case."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Damaged when it is not JSON, or too deep, or too many values."""
        raise NotImplementedError


class Response:
    """An answer whose body is still to come.  status, url, headers as in Answer.

    length: bytes of the body as the server says, None when it does not.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    length: int | None

    def read(self, size: int) -> bytes:
        """At most this many bytes as soon as there are some, b"" at the end; Unreachable."""
        raise NotImplementedError

    def stop(self) -> None:
        """From another thread: its read ends now."""

    def close(self) -> None: ...


class Client:
    """https only; http for loopback addresses.  Redirects are followed, never to http or another scheme,
    and no Authorization goes to another host.  Proxies and SSL_CERT_FILE are the environment's.
    """

    def __init__(
        self,
        fetching: Fetching,
        *,
        authorize: Authorize | None = None,
        cancelled: Asked = lambda: False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.fetching = fetching
        raise NotImplementedError(authorize, cancelled, environ)

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, limit: int = LIMIT) -> Answer:
        """The whole answer, whatever its status (304, 401, 404, 429 ... too); tried again after failures of
        the network, 429 and 5xx.

        limit: bytes of the body (after gzip); Damaged when there are more.  Unreachable after the last try,
        UsageError for a url that is not for us, Cancelled.
        """
        raise NotImplementedError

    def get_json(self, url: str, headers: Mapping[str, str] | None = None, *, limit: int = LIMIT) -> Any:
        """The same for 200 only: NotFound for 404, else NspawnError with the status."""
        raise NotImplementedError

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """One try, whatever the status; the body as it is, never gzip.  Blocks up to the time limits."""
        raise NotImplementedError

    def close(self) -> None: ...
