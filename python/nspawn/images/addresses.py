"""Which addresses are asked, by which proxy, and where a redirect may lead.

https only.  http is for this machine's own loopback: tests, and servers that a person runs here.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from nspawn.errors import NspawnError, Unreachable, UsageError

PORTS = {"https": 443, "http": 80}
_LONGEST = 8192


@dataclass(frozen=True, kw_only=True)
class Address:
    """A checked url.  host: in lower case, IPv6 without brackets.  target: path and query.

    numeric: the loopback address that a plain connection goes to, "" for https.
    """

    scheme: str
    host: str
    port: int
    target: str
    numeric: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What two addresses must share for one to learn what is told to the other."""
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"

    def __str__(self) -> str:
        """For a person: without the query, which may hold a signature."""
        return self.url.partition("?")[0]


def parse(url: str) -> Address:
    """The address, or UsageError with what is wrong with it; Unreachable when `localhost` has no address."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    shown = f"{url[:120]!r}"
    if len(url) > _LONGEST:
        raise UsageError(f"{shown} is too long", f"it has {len(url)} characters")
    try:
        parts = parse_url(url)
    except LocationParseError:
        raise UsageError(f"{shown} is not an address") from None
    if parts.scheme not in PORTS:
        raise UsageError(
            f"{shown} is not fetched", "only https is", "Give an address that begins with https://."
        )
    if parts.auth is not None:
        raise UsageError(f"{_without_user(url)[:120]!r}: a name or password cannot be in an address")
    host = (parts.host or "").strip("[]")
    if not host or not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#"):
        raise UsageError(f"{shown} is not an address", "it names no host")
    if parts.port is not None and not 0 < parts.port <= 65535:
        raise UsageError(f"{shown} is not an address", "there is no such port")
    port = parts.port or PORTS[parts.scheme]
    numeric = "" if parts.scheme == "https" else _loopback(host, port)
    return Address(
        scheme=parts.scheme, host=host, port=port, target=parts.request_uri or "/", numeric=numeric
    )


def follow(address: Address, location: str) -> Address:
    """Where a redirect leads; NspawnError when it may not be followed."""
    from urllib.parse import urljoin

    try:
        found = parse(urljoin(address.url, location))
    except (UsageError, ValueError) as error:
        why = str(error) or "it is not an address"
        raise NspawnError(f"{address.netloc} redirects to where we do not go", why) from None
    if address.scheme == "https" and found.scheme != "https":
        raise NspawnError(
            f"{address.netloc} redirects to where we do not go", f"{found} is not encrypted, and {address} is"
        )
    return found


def _loopback(host: str, port: int) -> str:
    """The numeric address of a host of this machine's loopback; UsageError for all others."""
    if is_loopback(host):
        return host
    if host.rstrip(".") == "localhost":
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable("localhost has no address", str(error)) from None
        addresses = [str(entry[4][0]) for entry in found]
        if addresses and all(is_loopback(each) for each in addresses):
            # Servers for this machine mostly listen at 127.0.0.1 only.
            return min(addresses, key=lambda each: ":" in each)
    raise UsageError(
        f"http://{host} is not asked",
        "what comes unencrypted can be changed on its way",
        "Use https; http is for 127.0.0.1, ::1 and localhost.",
    )


def is_loopback(host: str) -> bool:
    """Whether it is the number of a loopback address; names are none."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_user(url: str) -> str:
    scheme, there, rest = url.partition("://")
    return f"{scheme}{there}...@{rest.rpartition('@')[2]}"


def proxy(address: Address, environ: Mapping[str, str]) -> str:
    """The url of the proxy that the environment names for it, "" for none; Unsupported kinds: UsageError.

    https_proxy, all_proxy and no_proxy, small letters first, as curl(1) reads them.  Loopback has none.
    """
    if address.scheme == "http" or is_loopback(address.host) or address.host == "localhost":
        return ""
    found = _variable(environ, "https_proxy") or _variable(environ, "all_proxy")
    if not found or _excepted(address, _variable(environ, "no_proxy")):
        return ""
    if "://" not in found:
        found = f"http://{found}"
    scheme, _, rest = found.partition("://")
    if scheme.lower() not in PORTS or not rest.strip("/"):
        raise UsageError(
            f"the proxy {_without_user(found)[:80] if '@' in found else found[:80]!r} is not for us",
            "only http and https proxies are used",
            "Change or unset https_proxy.",
        )
    return found


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _excepted(address: Address, listed: str) -> bool:
    """no_proxy: hosts and domains (with everything below), `host:port`, networks, `*`."""
    try:
        number = ipaddress.ip_address(address.host)
    except ValueError:
        number = None
    for entry in listed.replace(",", " ").lower().split():
        if entry == "*":
            return True
        if number is not None:
            try:
                if number in ipaddress.ip_network(entry.strip("[]"), strict=False):
                    return True
            except (ValueError, TypeError):
                pass
        name, colon, port = entry.rpartition(":")
        if colon and port.isdigit() and not name.endswith(":"):
            if port != str(address.port):
                continue
            entry = name
        domain = entry.strip("[]").removeprefix("*").removeprefix(".")
        if domain and (address.host == domain or address.host.endswith(f".{domain}")):
            return True
    return False
