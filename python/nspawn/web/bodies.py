"""Which request bodies are received at all.

Waitress takes a whole body in, into a file when it is large, before it calls the application: without this
a program that has no login could fill the disk.  So a body larger than a form's is taken only for an upload,
with a valid login, and when the disk has room for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error, RequestEntityTooLarge

#: Bytes of a body that anybody may send: the largest JSON of the interface fits many times.
SMALL = 64 * 1024
#: Bytes that stay free on the disk that takes uploads in.
RESERVE = 64 * 1024 * 1024


class Unauthorized(Error):
    """No valid login."""

    code = 401
    reason = "Unauthorized"


class NoRoom(Error):
    """The disk is too full."""

    code = 507
    reason = "Insufficient Storage"


def is_upload(method: str, path: str) -> bool:
    """Whether this is the one route that takes large bodies."""
    return method == "POST" and path.startswith("/api/v1/containers/") and path.endswith("/upload")


def gated_channel(knows: Callable[[str], bool], folder: str) -> type[HTTPChannel]:
    """A channel class that looks at a request's head before its body.

    knows: whether an Authorization header is valid.  folder: where large bodies are kept while they arrive.
    """

    class Parser(HTTPRequestParser):
        checked = False

        def received(self, data: bytes) -> int:
            consumed = int(super().received(data))
            if not self.checked and self.headers_finished:
                self.checked = True
                refused = None if self.error else self._refusal()
                if refused is not None:
                    self.error = refused
                    self.completed = True
                    # What is still under way must not be taken for another request.
                    self.connection_close = True
                    self.expect_continue = False
            return consumed

        def _refusal(self) -> Any:
            if not self.chunked and self.content_length <= SMALL:
                return None
            # Typed as bytes; it is the text of PATH_INFO (waitress.parser.split_uri).
            if not is_upload(self.command, str(self.path)):
                return RequestEntityTooLarge(f"at most {SMALL} bytes are taken here")
            if not knows(self.headers.get("AUTHORIZATION", "")):
                return Unauthorized("log in before sending a file")
            if self.chunked:
                return RequestEntityTooLarge("an upload must say its Content-Length")
            disk = os.statvfs(folder)
            if self.content_length + RESERVE > disk.f_bavail * disk.f_frsize:
                return NoRoom("the file does not fit on the disk")
            return None

    class Channel(HTTPChannel):
        parser_class = Parser

    return Channel
