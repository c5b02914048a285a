"""Asking an echo service: who answered, and which address it saw."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.netlab.echo import PORT
from tests.support.netlab.spaces import Space

_SO_MARK = 36
#: A datagram may be lost while routes change; a second one is not.
_RESEND = 0.3


@dataclass(frozen=True, kw_only=True)
class Answer:
    """tag: of who answered, "" for nobody; peer: the address it saw; why: what the kernel said instead."""

    tag: str = ""
    peer: str = ""
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.tag)


@dataclass(frozen=True)
class Question:
    """space: who asks; mark, source: of the asking socket."""

    space: Space
    host: str
    port: int = PORT
    proto: str = "tcp"
    mark: int = field(default=0, kw_only=True)
    source: str = field(default="", kw_only=True)


def ask(
    space: Space,
    host: str,
    port: int = PORT,
    proto: str = "tcp",
    *,
    mark: int = 0,
    source: str = "",
    seconds: float = 2.0,
) -> Answer:
    """One question.  seconds: how long an answer may take."""
    return ask_all([Question(space, host, port, proto, mark=mark, source=source)], seconds)[0]


def ask_all(questions: Sequence[Question], seconds: float = 2.0) -> list[Answer]:
    """All at once, and no longer than that; the answers in their order."""
    asked = [_Asked(question) for question in questions]
    try:
        end = time.monotonic() + seconds
        while waiting := [each for each in asked if each.answer is None]:
            left = end - time.monotonic()
            if left <= 0:
                break
            poll = select.poll()
            by_number = {}
            for each in waiting:
                poll.register(each.end, each.events)
                by_number[each.end.fileno()] = each
            for number, _ in poll.poll(min(left, 0.1) * 1000):
                by_number[number].go_on()
            for each in waiting:
                each.again()
        return [Answer(why="no answer") if each.answer is None else each.answer for each in asked]
    finally:
        for each in asked:
            each.end.close()


class _Asked:
    def __init__(self, question: Question) -> None:
        self.answer: Answer | None = None
        self.events = select.POLLIN
        self._data = b""
        family = socket.AF_INET6 if ":" in question.host else socket.AF_INET
        self._stream = question.proto == "tcp"
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        self.end = question.space.socket(family, kind)
        self._sent = time.monotonic()
        try:
            self.end.setblocking(False)
            if question.mark:
                self.end.setsockopt(socket.SOL_SOCKET, _SO_MARK, question.mark)
            if question.source:
                self.end.bind((question.source, 0))
            try:
                self.end.connect((question.host, question.port))
            except BlockingIOError:
                self.events = select.POLLOUT
            if not self._stream:
                self.end.send(b"x")
        except OSError as error:
            self.answer = Answer(why=os.strerror(error.errno or 0))

    def go_on(self) -> None:
        try:
            if self.events == select.POLLOUT:
                error = self.end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self.answer = Answer(why=os.strerror(error))
                self.events = select.POLLIN
                return
            data = self.end.recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            self.answer = Answer(why=os.strerror(error.errno or 0))
            return
        self._data += data
        if self._data.endswith(b"\n"):
            tag, _, peer = self._data.decode().strip().partition(" ")
            self.answer = Answer(tag=tag, peer=peer.removeprefix("::ffff:"))
        elif not data and self._stream:
            self.answer = Answer(why="closed without an answer")

    def again(self) -> None:
        if not self._stream and self.answer is None and time.monotonic() - self._sent > _RESEND:
            self._sent = time.monotonic()
            try:
                self.end.send(b"x")
            except OSError as error:
                self.answer = Answer(why=os.strerror(error.errno or 0))
