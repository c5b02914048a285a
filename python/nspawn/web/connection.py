"""Connections: which request bodies are received at all, and who learns that a client is gone.

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
from waitress.task import WSGITask
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


class GatedParser(HTTPRequestParser):
    """Looks at a request's head before its body.  What it asks is set by `gated_channel`."""

    knows: Callable[[str], bool]
    folder: str
    _checked = False

    def received(self, data: bytes) -> int:
        """Take the next bytes; returns how many of them belong to this request."""
        consumed = super().received(data)
        if not self._checked and self.headers_finished:
            self._checked = True
            refused = None if self.error else self._refusal()
            if refused is not None:
                self.error = refused
                self.completed = True
                # What is still under way must not be taken for another request.
                self.connection_close = True
                self.expect_continue = False
        return consumed

    def _refusal(self) -> Error | None:
        if not self.chunked and self.content_length <= SMALL:
            return None
        head: Any = self  # command and path are texts that the stubs of the types leave out
        if not is_upload(head.command, head.path):
            return RequestEntityTooLarge(f"at most {SMALL} bytes are taken here")
        if not self.knows(self.headers.get("AUTHORIZATION", "")):
            return Unauthorized("log in before sending a file")
        if self.chunked:
            return RequestEntityTooLarge("an upload must say its Content-Length")
        disk = os.statvfs(self.folder)
        if self.content_length + RESERVE > disk.f_bavail * disk.f_frsize:
            return NoRoom("the file does not fit on the disk")
        return None


class Channel(HTTPChannel):
    """A connection that says when its client is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.when_gone: list[Callable[[], None]] = []
        super().__init__(*arguments, **options)

    def handle_close(self) -> None:
        """End the connection, and tell those who asked."""
        super().handle_close()
        for call in self.when_gone:
            call()


def gated_channel(knows: Callable[[str], bool], folder: str) -> type[Channel]:
    """The class of a server's connections.

    knows: whether an Authorization header is valid.  folder: where large bodies are kept while they arrive.
    """
    parser = type("Parser", (GatedParser,), {"knows": staticmethod(knows), "folder": folder})
    return type("OurChannel", (Channel,), {"parser_class": parser, "task_class": StreamingTask})


class StreamingTask(WSGITask):
    """Tells a stream at once that its client is gone; otherwise it would hold its thread until it looks."""

    def get_environment(self) -> dict[str, Any]:
        """The request's environment, with `nspawn.when_gone`: takes what is called when the client leaves."""
        environment: dict[str, Any] = super().get_environment()
        channel: Any = self.channel
        environment["nspawn.when_gone"] = channel.when_gone.append
        return environment
