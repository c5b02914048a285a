"""A session of requests whose connections are known to the calls that use them.

Imported with the first request only: requests costs 150 ms and 19 MB.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from http import cookiejar
from typing import Any

import requests
import requests.adapters
import urllib3
from urllib3 import connectionpool
from urllib3.connection import HTTPConnection, HTTPSConnection

from nspawn.errors import NspawnError, Unreachable, UsageError
from nspawn.images import calls
from nspawn.images.addresses import Address

#: Idle connections that are kept, by host and of each host.
_HOSTS, _EACH = 8, 8
_NO_COOKIES = cookiejar.DefaultCookiePolicy(allowed_domains=())
_CERTIFICATE = "the certificate is not trusted"
#: Of X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_OF_TIME = (9, 10)


class _Plain(HTTPConnection):
    def connect(self) -> None:
        calls.watch(self)
        super().connect()

    def getresponse(self) -> Any:
        calls.watch(self)
        return super().getresponse()


class _Encrypted(HTTPSConnection):
    def connect(self) -> None:
        calls.watch(self)
        super().connect()

    def getresponse(self) -> Any:
        calls.watch(self)
        return super().getresponse()


class _PlainPool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _Encrypted


_POOLS = {"http": _PlainPool, "https": _EncryptedPool}


def authorities(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Whom we trust: the file SSL_CERT_FILE, else this machine's, else those of the library certifi."""
    given = environ.get("SSL_CERT_FILE", "")
    if not given:
        paths = ssl.get_default_verify_paths()
        if not (paths.cafile or (paths.capath and os.listdir(paths.capath))):
            try:
                import certifi

                given = certifi.where()
            except ImportError:
                pass
    try:
        return ssl.create_default_context(cafile=given or None)
    except (OSError, ssl.SSLError) as error:
        raise NspawnError(
            f"the certificates in {given} cannot be read", str(error), "Correct or unset SSL_CERT_FILE."
        ) from None


class _Adapter(requests.adapters.HTTPAdapter):
    """context: whom we trust, and nobody else: requests itself would add the authorities of certifi."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=_HOSTS, pool_maxsize=_EACH)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **settings: Any) -> None:  # noqa: FBT001, FBT002  (as in requests)
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **settings)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        found = super().proxy_manager_for(
            proxy, ssl_context=self._context, proxy_ssl_context=self._context, **settings
        )
        found.pool_classes_by_scheme = _POOLS
        return found

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context does it."""


class Session(requests.Session):
    """Nothing of the environment but whom we trust: no .netrc, no cookies, and no redirects."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(_NO_COOKIES)
        adapter = _Adapter(authorities(environ))
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """We follow them ourselves; requests would read the body of each, however long."""

    def ask(
        self, url: str, headers: Mapping[str, str], proxy: str, timeout: tuple[float, float]
    ) -> urllib3.HTTPResponse:
        """The answer to GET, with its body to be read.  proxy: "" for none.  timeout: to connect, to read."""
        request = requests.Request("GET", url, headers=dict(headers)).prepare()
        proxies = {"https": proxy} if proxy else {}
        response = self.send(request, stream=True, timeout=timeout, proxies=proxies, allow_redirects=False)
        found: urllib3.HTTPResponse = response.raw
        return found


def failure(address: Address, error: Exception) -> NspawnError:
    """What a person reads of it: Unreachable when the next try may do better."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            hint = "If it is your own server, set SSL_CERT_FILE to the certificate of its authority."
            if each.verify_code in _OF_TIME:
                hint = "Is the clock of this machine right?"
            return NspawnError(f"{address.netloc}: {_CERTIFICATE}", each.verify_message, hint)
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)):
        return UsageError(f"{address} cannot be asked", str(error)[:200])
    return Unreachable(f"{address.netloc} cannot be reached", _reason(error), "Is there a network?")


def broken(address: Address, error: Exception) -> Unreachable:
    """The same of an answer that ended too early."""
    return Unreachable(f"{address.netloc} broke off", _reason(error))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and those that led to it, the first one last."""
    found: list[BaseException] = []
    next_: object = error
    while isinstance(next_, BaseException) and next_ not in found:
        found.append(next_)
        inner = (each for each in next_.args if isinstance(each, BaseException))
        reason = getattr(next_, "reason", None)  # of urllib3's MaxRetryError
        next_ = next(inner, None) or reason or next_.__cause__ or next_.__context__
    return found


def _reason(error: Exception) -> str:
    chain = _chain(error)
    kinds = urllib3.exceptions
    text = getattr(chain[-1], "strerror", None) or str(chain[-1]) or type(chain[-1]).__name__
    for each in chain:
        if isinstance(each, kinds.NewConnectionError):
            break
        if isinstance(each, kinds.ConnectTimeoutError):
            text = "no connection in time"
        elif isinstance(each, (kinds.ReadTimeoutError, TimeoutError)):
            text = "nothing came in time"
        elif isinstance(each, kinds.IncompleteRead):
            text = "the connection ended too early"
        else:
            continue
        break
    proxy = any(isinstance(each, kinds.ProxyError) for each in chain)
    return f"{'the proxy: ' if proxy else ''}{text}"[:300]
