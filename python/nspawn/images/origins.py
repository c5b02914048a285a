"""The places that one blob can be fetched from, and whether what they answer is it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NotFound, NspawnError, Unreachable
from nspawn.images import pace
from nspawn.images.http import AGAIN, refusal

if TYPE_CHECKING:
    from nspawn.images.http import Response
    from nspawn.model.blob import Blob

#: Bytes that nobody set a size for.
MOST = 64 << 30
#: Bytes at the beginning that cannot all be zero; an empty tar of this size is.
HEAD, _EMPTY_TAR = 512, 10240


class Again(Unreachable):
    """The server asks to come back.  asked: seconds, None when it does not say."""

    def __init__(self, what: str, why: str, asked: float | None) -> None:
        super().__init__(what, why)
        self.asked = asked


class Origins:
    """urls: in the order in which they are tried.  size: of the blob; learned when it was unknown."""

    def __init__(self, blob: Blob, urls: tuple[str, ...]) -> None:
        self.size = blob.size
        self._known = bool(blob.digest)
        self._urls = list(urls)
        #: By url: what its server calls the version that we have begun with.
        self._tags: dict[str, str] = {}
        self._rangeless: set[str] = set()
        #: The hosts of the urls that something was taken from, and the hosts that they led to.
        self._used: dict[str, str] = {}

    @property
    def url(self) -> str:
        if not self._urls:
            raise NotFound("there is no place to fetch it from")
        return self._urls[0]

    @property
    def is_last(self) -> bool:
        return len(self._urls) == 1

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those of the urls that something was taken from."""
        return tuple(self._used)

    def story(self) -> str:
        """The same for a person."""
        shown = [host if host == to else f"{host} (by {to})" for host, to in self._used.items()]
        return " and ".join(shown) or "an earlier download"

    def drop(self, error: NspawnError) -> None:
        """This url is of no use; raises the error when it was the last."""
        del self._urls[0]
        if not self._urls:
            raise error

    def headers(self, at: int) -> dict[str, str]:
        """What to ask with, having so many bytes already."""
        if not at or self.url in self._rangeless:
            return {}
        found = {"Range": f"bytes={at}-"}
        if self.url in self._tags:
            found["If-Range"] = self._tags[self.url]
        return found

    def place(self, response: Response, at: int, *, asked: bool) -> int:
        """The bytes of this answer that we have already.  asked: for a range.

        Unreachable when another try may do better; another NspawnError when this url is of no use.
        """
        where, status = response.address, response.status
        if status in AGAIN:
            why = f"the server says {status}"
            raise Again(f"{where} cannot be had now", why, pace.retry_after(response.headers, time.time()))
        if status == 206 and asked:
            first, total = content_range(response.headers.get("content-range", ""))
            if first != at:
                self._rangeless.add(self.url)
                raise Unreachable(f"{where.netloc} sent another part than the one asked for")
            skip = 0
        elif status == 200:
            total, skip = response.length, at
        elif status == 416:
            if self.size is None and response.headers.get("content-range", "") == f"bytes */{at}":
                self.size = at  # what an ended process left was all of it
                return 0
            raise Damaged(f"{where} is not what is wanted", f"it has less than {at} bytes")
        else:
            raise refusal(where, status)
        self._agree(response, total)
        tag = response.headers.get("etag", "")
        if tag.startswith('"'):
            self._tags[self.url] = tag
        self._used[host_of(self.url)] = where.netloc
        return skip

    def look(self, response: Response, data: bytes, at: int) -> None:
        """The next bytes; Damaged when they are too many, or a beginning of nothing but zeros."""
        most = MOST if self.size is None else self.size
        if at + len(data) > most:
            raise Damaged(f"{response.address} is not what is wanted", f"more than {most} bytes came")
        if not at and not any(data[:HEAD]) and most > _EMPTY_TAR:
            raise Damaged(f"{response.address} is not what is wanted", "it begins with zeros only")

    def end(self, response: Response, at: int) -> None:
        """No more bytes come; Unreachable when there should be some."""
        if self.size is None:
            self.size = at
        elif at < self.size:
            why = f"{at} of {self.size} bytes came"
            raise Unreachable(f"{response.address.netloc} broke off", why)

    def _agree(self, response: Response, total: int | None) -> None:
        where = response.address
        if total is None:
            if self.size is None and not self._known:
                raise NspawnError(f"{where} cannot be used", "nobody says how long it is, nor its hash")
        elif self.size is None:
            if total > MOST:
                raise Damaged(f"{where} is too large", f"it has {total} bytes")
            self.size = total
        elif self.size != total:
            raise Damaged(f"{where} is not what is wanted", f"it has {total} bytes, not {self.size}")


def host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].lower()


def content_range(text: str) -> tuple[int, int | None]:
    """(first byte, size of all or None) of `bytes 0-9/10`; first is -1 when it makes no sense."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first, dash, last = span.partition("-")
    numbers = [first, last] + ([] if total == "*" else [total])
    if unit != "bytes" or not dash or not all(each.isascii() and each.isdigit() for each in numbers):
        return -1, None
    if any(len(each) > 18 for each in numbers) or int(last) < int(first):
        return -1, None
    return int(first), None if total == "*" else int(total)
