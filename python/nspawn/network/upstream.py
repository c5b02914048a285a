"""One attempt to have a question answered: by UDP, by TCP, or by Android's resolver.

Each has a socket of its own, so the kernel chooses another port at random each time, and only what comes from
that very server reaches it.  `step` is called when the socket has something to tell; it returns the reply, or
None to go on waiting, and raises OSError when nothing will come of it.
"""

from __future__ import annotations

import _socket
import errno
import os

from nspawn.kernel.unix import Reachable
from nspawn.model import dnsmessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.model.dnsmessage import Question
    from nspawn.network.servers import Way

PORT = 53
#: Seconds.  Android's resolver tries several servers itself, five seconds each (facts: runtime).
UDP_TIME, TCP_TIME, PROXY_TIME = 1.5, 4.0, 15.0
_LARGEST = 65535
_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_MOST_RCODE = 15


class Attempt:
    """What all have.  way: whom it asks; end: its socket; seconds: how long it may take.

    writes: whether it waits for the socket to take something.
    """

    __slots__ = ("end", "message", "seconds", "way", "writes")

    def __init__(self, way: Way, question: Question, family: int, kind: int, seconds: float) -> None:
        self.way = way
        self.seconds = seconds
        self.writes = False
        self.message = dnsmessage.query(question, int.from_bytes(os.urandom(2), "big"))
        self.end = _socket.socket(family, kind | _FLAGS)

    def step(self) -> bytes | None:
        raise NotImplementedError

    def close(self) -> None:
        self.end.close()


class Datagram(Attempt):
    """By UDP."""

    __slots__ = ()

    def __init__(self, way: Way, question: Question) -> None:
        super().__init__(way, question, _family(way), _socket.SOCK_DGRAM, UDP_TIME)
        try:
            _bind(self.end, way)
            self.end.connect(_address(way))
            self.end.send(self.message)
        except OSError:
            self.close()
            raise

    def step(self) -> bytes | None:
        while True:
            try:
                reply = self.end.recv(_LARGEST)
            except BlockingIOError:
                return None
            if dnsmessage.is_reply(self.message, reply):
                return reply


class _Talk(Attempt):
    """A stream: what is to be sent, and what has come."""

    __slots__ = ("_came", "_left")

    def _connect(self, address: object, data: bytes) -> None:
        self._left = data
        self._came = b""
        self.writes = True
        try:
            _bind(self.end, self.way)
            self.end.connect(address)  # type: ignore[arg-type]
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:  # a unix socket whose queue is full
                self.close()
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from None
        except OSError:
            self.close()
            raise

    def step(self) -> bytes | None:
        try:
            if self.writes:
                error = self.end.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                self._left = self._left[self.end.send(self._left) :]
                self.writes = bool(self._left)
                return None
            data = self.end.recv(_LARGEST)
        except BlockingIOError:
            return None
        self._came += data
        reply = self._reply()
        if reply is None and not data:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return reply

    def _reply(self) -> bytes | None:
        raise NotImplementedError


class Stream(_Talk):
    """By TCP."""

    __slots__ = ()

    def __init__(self, way: Way, question: Question) -> None:
        super().__init__(way, question, _family(way), _socket.SOCK_STREAM, TCP_TIME)
        self._connect(_address(way), len(self.message).to_bytes(2, "big") + self.message)

    def _reply(self) -> bytes | None:
        size = int.from_bytes(self._came[:2], "big")
        if len(self._came) < 2 + size or len(self._came) < 2:
            return None
        reply = self._came[2 : 2 + size]
        if not dnsmessage.is_reply(self.message, reply):
            raise OSError(errno.EBADMSG, "the server answers something else")
        return reply


class Proxy(_Talk):
    """By Android's resolver: `resnsend`, whose answers are BE32 rcode, BE32 length, answer (facts: runtime).

    A negative rcode is an errno, without an answer.  OSError with ENOSYS: it has no such command.
    """

    __slots__ = ()

    def __init__(self, way: Way, question: Question, path: str) -> None:
        super().__init__(way, question, _socket.AF_UNIX, _socket.SOCK_STREAM, PROXY_TIME)
        import binascii  # not on Linux

        text = binascii.b2a_base64(self.message, newline=False)
        with Reachable(path) as short:
            self._connect(short, b"resnsend %d 0 %s\0" % (way.netid, text))

    def _reply(self) -> bytes | None:
        came = self._came
        if len(came) < 4:
            return None
        rcode = int.from_bytes(came[:4], "big", signed=True)
        if rcode < 0:
            raise OSError(-rcode, "Android's resolver has no answer")
        if rcode > _MOST_RCODE:  # text: "500 Command not recognized"
            raise OSError(errno.ENOSYS, "Android's resolver does not know resnsend")
        if len(came) < 8:
            return None
        size = int.from_bytes(came[4:8], "big")
        if not 12 <= size <= _LARGEST:
            raise OSError(errno.EBADMSG, "Android's resolver answers something else")
        if len(came) < 8 + size:
            return None
        reply = came[8 : 8 + size]
        # Which number it carries is not promised: the connection tells which question it is.
        reply = self.message[:2] + reply[2:]
        if not dnsmessage.is_reply(self.message, reply):
            raise OSError(errno.EBADMSG, "Android's resolver answers something else")
        return reply


def _family(way: Way) -> int:
    return _socket.AF_INET6 if ":" in way.address else _socket.AF_INET


def _bind(end: _socket.socket, way: Way) -> None:
    if way.device:
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, way.device.encode() + b"\0")


def _address(way: Way) -> tuple[str, int] | tuple[str, int, int, int]:
    """For connect(); OSError when its zone is no interface.  No look-up: it is an address."""
    plain, _, zone = way.address.partition("%")
    if ":" not in plain:
        return (plain, PORT)
    scope = 0
    if zone:
        scope = int(zone) if zone.isdecimal() else _socket.if_nametoindex(zone)
    elif plain.lower().startswith("fe80:") and way.device:
        scope = _socket.if_nametoindex(way.device)
    return (plain, PORT, 0, scope)
