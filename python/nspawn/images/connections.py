"""urllib3's connections, each known to the call that uses it.  Imported with the first request only."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3 import connectionpool
from urllib3.connection import HTTPConnection, HTTPSConnection

from nspawn.errors import NspawnError, Unreachable
from nspawn.images import calls
from nspawn.images.addresses import Address

#: Idle connections that are kept, by host and of each host.
_HOSTS, _EACH = 8, 8
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


def manager(proxy: str, context: ssl.SSLContext, connect: float, read: float) -> urllib3.PoolManager:
    """What keeps connections, through the proxy unless that is "".  connect, read: seconds."""
    settings: dict[str, Any] = {
        "num_pools": _HOSTS,
        "maxsize": _EACH,
        "ssl_context": context,
        "timeout": urllib3.Timeout(connect=connect, read=read),
        "retries": False,
    }
    found: urllib3.PoolManager
    if proxy:
        parts = urllib3.util.parse_url(proxy)
        headers = urllib3.make_headers(proxy_basic_auth=_unquoted(parts.auth)) if parts.auth else None
        bare = parts._replace(auth=None, path=None, query=None, fragment=None).url
        found = urllib3.ProxyManager(bare, proxy_headers=headers, proxy_ssl_context=context, **settings)
    else:
        found = urllib3.PoolManager(**settings)
    found.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}
    return found


def _unquoted(auth: str) -> str:
    from urllib.parse import unquote

    return unquote(auth)


def failure(address: Address, error: Exception) -> NspawnError:
    """What a person reads of it: Unreachable when the next try may do better."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            hint = "If it is your own server, set SSL_CERT_FILE to the certificate of its authority."
            if each.verify_code in _OF_TIME:
                hint = "Is the clock of this machine right?"
            return NspawnError(f"{address.netloc}: {_CERTIFICATE}", each.verify_message, hint)
    return Unreachable(f"{address.netloc} cannot be reached", _reason(error), "Is there a network?")


def broken(address: Address, error: Exception) -> Unreachable:
    """The same of an answer that ended too early."""
    return Unreachable(f"{address.netloc} broke off", _reason(error))


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and those that led to it."""
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < 20:
        found.append(error)
        inner = [each for each in error.args if isinstance(each, BaseException)]
        error = inner[0] if inner else error.__cause__ or error.__context__
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, (urllib3.exceptions.ReadTimeoutError, TimeoutError)):
        return "nothing came in time"
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return "the connection ended too early"
    proxy = "the proxy: " if isinstance(error, urllib3.exceptions.ProxyError) else ""
    last = _chain(error)[-1]
    text = getattr(last, "strerror", None) or str(last) or type(last).__name__
    return f"{proxy}{text}"[:300]
