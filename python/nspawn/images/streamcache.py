"""What an image server said last, kept for when it cannot be reached, and so that it need not say it again.

A file each, named by the hash of the address: a line of JSON (address, ETag, hash of the rest), then the
answer's body.  Its time of change is when the server last said so.  What is damaged, or somebody else's, is
as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass

from nspawn.errors import NspawnError
from nspawn.kernel import files

_LONGEST_HEAD = 4096


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer of the server.  time: when, in seconds since 1970.  tag: its ETag, or ""."""

    url: str
    body: bytes
    tag: str = ""
    time: float = 0.0


class StreamCache:
    """folder: need not be there yet."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def get(self, url: str, limit: int) -> Said | None:
        """The last answer, of at most so many bytes."""
        try:
            with files.folder(self._folder) as at:
                name = os.open(_name(url), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
            with open(name, "rb") as file:
                head = file.readline(_LONGEST_HEAD)
                body = file.read(limit + 1)
                told = os.fstat(file.fileno()).st_mtime
            facts = json.loads(head)
            good = facts["url"] == url and facts["sha256"] == hashlib.sha256(body).hexdigest()
            tag = facts["tag"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        if not good or not isinstance(tag, str):
            return None
        return Said(url=url, body=body, tag=tag, time=told)

    def put(self, said: Said) -> None:
        """Keep it; a disk that is full keeps nothing, and that is no failure."""
        facts = {"url": said.url, "tag": said.tag, "sha256": hashlib.sha256(said.body).hexdigest()}
        head = json.dumps(facts).encode() + b"\n"
        if len(head) > _LONGEST_HEAD:
            return
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            with files.folder(self._folder) as at:
                files.write(_name(said.url), head + said.body, at)
        except (OSError, NspawnError):
            return

    def confirm(self, said: Said) -> None:
        """The server says the same now."""
        try:
            with files.folder(self._folder) as at:
                os.utime(_name(said.url), (time.time(), time.time()), dir_fd=at, follow_symlinks=False)
        except OSError:
            return


def _name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
