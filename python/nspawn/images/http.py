"""One way to ask web servers: encrypted, bounded, and ended when it is no longer wanted.

requests is imported with the first request (150 ms and 19 MB).
"""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from nspawn import __version__
from nspawn.errors import Damaged, NotFound, NspawnError, Unreachable
from nspawn.images import addresses, calls, pace
from nspawn.model import jsontext
from nspawn.model.progress import Cancelled

if TYPE_CHECKING:
    import urllib3

    from nspawn.images.addresses import Address
    from nspawn.images.connections import Session
    from nspawn.model.fetching import Fetching
    from nspawn.model.progress import Asked

#: Bytes of an answer that nobody set a limit for.
LIMIT = 16 << 20
USER_AGENT = f"nspawn/{__version__}"
MOST_REDIRECTS = 10
#: Too many requests, and failures that may pass.
AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: What a body may be packed in for the way; "" when the server says nothing.
_PLAIN, _GZIP = frozenset(("", "identity")), "gzip"
#: zlib: gzip's header and checksum are expected.
_AS_GZIP = 31
#: Never told to another host than the one that they were meant for.
_OWN = frozenset(("authorization", "cookie", "proxy-authorization"))
#: Values in a document of which nobody says what it is.
_MOST_VALUES = 2_000_000
_PIECE = 1 << 16
_STEP = 0.1

_T = TypeVar("_T")


class Stalled(Unreachable):
    """Nothing, or too little, came for too long."""


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
        try:
            return jsontext.parse(self.body, largest=len(self.body), most=_MOST_VALUES)
        except jsontext.JsonError as error:
            what = f"{self.url.partition('?')[0]} cannot be read"
            raise Damaged(what, str(error)) from None


class Response:
    """An answer whose body is still to come.  address: the last one after redirects; status, headers as in
    Answer.  length: bytes of the body as the server says, None when it does not.  encoding: what the body is
    packed in for the way, as the server says.
    """

    def __init__(self, address: Address, answer: urllib3.BaseHTTPResponse) -> None:
        self.address = address
        self.status = answer.status
        self.headers: dict[str, str] = {key.lower(): value for key, value in answer.headers.items()}
        length = self.headers.get("content-length", "")
        self.length = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
        if "transfer-encoding" in self.headers:
            self.length = None
        self.encoding = self.headers.get("content-encoding", "").strip().lower()
        self._answer = answer

    def read(self, size: int) -> bytes:
        """At most this many bytes as they come, as soon as there are some, b"" at the end; Unreachable."""
        import http.client

        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            # Decoding, urllib3 reads on until there is something: of empty blocks of gzip, for ever.
            # None: see its read1.
            return self._answer.read1(size, decode_content=False) or b""
        except (ReadTimeoutError, TimeoutError):
            raise Stalled(f"{self.address.netloc} broke off", "nothing came in time") from None
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            from nspawn.images import connections

            raise connections.broken(self.address, error) from None

    def whole(self, limit: int, patience: float) -> bytes:
        """Everything that is left, unpacked; Damaged when it has more bytes than the limit, packed or not."""
        stall = pace.Stall(patience)
        decoder = zlib.decompressobj(_AS_GZIP) if self.encoding == _GZIP else None
        found = bytearray()
        came = 0
        while True:
            begin = time.monotonic()
            data = self.read(_PIECE)
            if not data:
                break
            fresh = len(data)
            came += fresh
            if decoder is not None:
                data = self._unpacked(decoder, data, limit + 1 - len(found))
            found += data
            if max(came, len(found)) > limit:
                raise Damaged(f"{self.address} is too large", f"it has more than {limit} bytes")
            if stall.feed(fresh, time.monotonic() - begin):
                raise Stalled(f"{self.address.netloc} is too slow", f"{came} bytes came")
        if decoder is not None and came and not decoder.eof:
            raise Unreachable(f"{self.address.netloc} broke off", "the end of its gzip did not come")
        return bytes(found)

    def _unpacked(self, decoder: zlib._Decompress, data: bytes, most: int) -> bytes:
        """The next bytes of what is in gzip, at most so many."""
        why = "there is something after the end of its gzip"
        if not decoder.eof:
            try:
                found = decoder.decompress(data, most)
            except zlib.error as error:
                why = f"it is no gzip: {error}"
            else:
                if not decoder.unused_data:
                    return found
        raise Damaged(f"{self.address} cannot be read", why)

    def close(self) -> None:
        """A connection with something left on it is not used again."""
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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
        self._authorize = authorize
        self._cancelled = cancelled
        self._environ = environ
        self._lock = threading.Lock()
        self._session: Session | None = None

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, limit: int = LIMIT) -> Answer:
        """The whole answer, whatever its status (304, 401, 404, 429 ... too); tried again after failures of
        the network, 429 and 5xx.

        limit: bytes of the body (after gzip); Damaged when there are more.  Unreachable after the last try,
        UsageError for a url that is not for us, Cancelled.
        """
        failures = 0
        while True:
            asked = None
            try:
                answer = self._interruptibly(lambda call: self._whole(url, headers, limit, call))
            except Unreachable:
                if failures >= self.fetching.retries:
                    raise
            else:
                asked = pace.retry_after(answer.headers, time.time())
                hopeless = failures >= self.fetching.retries or not pace.is_bearable(asked)
                if answer.status not in AGAIN or hopeless:
                    return answer
            failures += 1
            self.wait(pace.delay(failures, random.random, asked), self._cancelled)

    def get_json(self, url: str, headers: Mapping[str, str] | None = None, *, limit: int = LIMIT) -> Any:
        """The same for 200 only: NotFound for 404, else NspawnError with the status."""
        answer = self.get(url, {"Accept": "application/json", **(headers or {})}, limit=limit)
        if answer.status != 200:
            raise refusal(addresses.parse(answer.url), answer.status)
        return answer.json()

    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        call: calls.Call | None = None,
        compressed: bool = False,
    ) -> Response:
        """One try, whatever the status; it blocks up to the time limits, or until the call is stopped.

        compressed: the body may come as gzip, which `whole` unpacks; else it comes as it is.
        """
        from nspawn.sites import add_site_packages

        add_site_packages()
        call = call or calls.Call()
        calls.enter(call)
        first = address = addresses.parse(url)
        redirects, renewed = 0, False
        while True:
            own = address.origin == first.origin
            sent = self._headers(address, headers or {}, own=own, compressed=compressed)
            response = self._send(address, sent, call)
            try:
                if response.status in _REDIRECTS and "location" in response.headers:
                    redirects += 1
                    if redirects > MOST_REDIRECTS:
                        raise NspawnError(f"{first.netloc} redirects too often", f"the last was to {address}")
                    address = addresses.follow(address, response.headers["location"])
                elif response.status == 401 and own and not renewed and self._renew(address, response):
                    renewed = True
                else:
                    if response.encoding not in _PLAIN and not (compressed and response.encoding == _GZIP):
                        why = "it comes compressed for the way in what was not asked for"
                        raise NspawnError(f"{address} cannot be used", why)
                    return response
            except BaseException:
                response.close()
                raise
            response.close()

    def wait(self, seconds: float, cancelled: Asked) -> None:
        """Sleep; Cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if cancelled():
                raise Cancelled
            time.sleep(min(left, _STEP))

    def close(self) -> None:
        """Of idle connections."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _whole(self, url: str, headers: Mapping[str, str] | None, limit: int, call: calls.Call) -> Answer:
        with self.open(url, headers, call=call, compressed=True) as response:
            return Answer(
                status=response.status,
                url=response.address.url,
                headers=response.headers,
                body=response.whole(limit, self.fetching.stall_timeout),
            )

    def _interruptibly(self, work: Callable[[calls.Call], _T]) -> _T:
        """Do the work in a thread of its own, and leave that alone when the result is not wanted any more."""
        call = calls.Call()
        done = threading.Event()
        results: list[_T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work(call))
            except BaseException as error:  # noqa: BLE001  (raised again by who waits)
                errors.append(error)
            finally:
                done.set()

        if self._cancelled():
            raise Cancelled
        threading.Thread(target=run, name="http", daemon=True).start()
        while not done.wait(_STEP):
            if self._cancelled():
                call.stop()
                raise Cancelled
        if errors:
            raise errors[0]
        return results[0]

    def _headers(
        self, address: Address, given: Mapping[str, str], *, own: bool, compressed: bool
    ) -> dict[str, str]:
        found = {"user-agent": USER_AGENT, "accept": "*/*"}
        found |= {key.lower(): value for key, value in given.items() if own or key.lower() not in _OWN}
        if own and self._authorize is not None:
            found |= {key.lower(): value for key, value in self._authorize.headers(address.url).items()}
        found["accept-encoding"] = "gzip" if compressed else "identity"
        found["host"] = address.netloc
        return found

    def _renew(self, address: Address, response: Response) -> bool:
        challenge = response.headers.get("www-authenticate", "")[:4096]
        return self._authorize is not None and self._authorize.refused(address.url, challenge)

    def _send(self, address: Address, headers: dict[str, str], call: calls.Call) -> Response:
        import http.client

        from urllib3.exceptions import HTTPError

        from nspawn.images import connections

        session = self._shared()
        proxy = addresses.proxy(address, self._environ)
        url = address.url
        if address.numeric:
            host = f"[{address.numeric}]" if ":" in address.numeric else address.numeric
            url = f"http://{host}:{address.port}{address.target}"
        # A server that sends one byte of a header now and then would never run into the limits of reads.
        watchdog = threading.Timer(self.fetching.connect_timeout + self.fetching.stall_timeout, call.stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            limits = (self.fetching.connect_timeout, self.fetching.stall_timeout)
            answer = session.ask(url, headers, proxy, limits)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise connections.failure(address, error) from None
        finally:
            watchdog.cancel()
        if call.stopped:  # http.client takes the end of a connection for the end of the headers
            answer.close()
            raise Stalled(f"{address.netloc} cannot be reached", "its answer did not begin in time")
        return Response(address, answer)

    def _shared(self) -> Session:
        from nspawn.images import connections

        with self._lock:
            if self._session is None:
                self._session = connections.Session(self._environ)
            return self._session


def refusal(address: Address, status: int) -> NspawnError:
    """What a status other than 200 means to a person."""
    if status in (404, 410):
        return NotFound(f"{address} is not there", f"the server says {status}")
    if status in (401, 403):
        return NspawnError(f"{address} is not for us", f"the server says {status}")
    kind = Unreachable if status in AGAIN else NspawnError
    return kind(f"{address} cannot be had", f"the server says {status}")
