"""Those who ask the forwarder by TCP: their connections, each with little to hold on to (RFC 7766)."""

from __future__ import annotations

import _socket

from nspawn.model import dnsmessage

#: Seconds: for a query to arrive whole; for a client to take an answer.
PATIENCE = 5.0
#: Connections in all, and of one container.
MOST, MOST_OF_ONE = 64, 8
#: Questions of one connection that are being asked; further ones wait in its socket.
MOST_OPEN = 4
#: Bytes that may wait for a client who does not take them.
MOST_WAITING = 1 << 17


class Connection:
    """A client by TCP.  number: its container; deadline: when it is given up; asked: its open questions.

    pumped: whether its questions are being read at this moment.
    """

    __slots__ = ("_came", "_ended", "_waiting", "asked", "closed", "deadline", "end", "number", "pumped")

    def __init__(self, end: _socket.socket, number: int, now: float) -> None:
        self.end = end
        self.number = number
        self.asked = 0
        self.deadline = now + PATIENCE
        self.closed = self.pumped = self._ended = False
        self._came = b""
        self._waiting = b""

    @property
    def wants_more(self) -> bool:
        """Whether further questions are read."""
        return self.asked < MOST_OPEN and not self._waiting and not self._ended

    @property
    def writes(self) -> bool:
        return bool(self._waiting)

    @property
    def is_over(self) -> bool:
        """It asks nothing more, and has all its answers."""
        return self._ended and not self.asked and not self._waiting

    def read(self) -> None:
        """Take what has come; OSError when the connection is lost."""
        try:
            data = self.end.recv(dnsmessage.LARGEST_QUERY)
        except BlockingIOError:
            return
        self._came += data
        self._ended = not data

    def query(self, now: float) -> bytes | None:
        """The next query that is whole; OSError when it cannot be one.

        Slow pieces of one do not make its time longer.
        """
        if len(self._came) < 2 or self.asked >= MOST_OPEN or self._waiting:
            return None
        size = int.from_bytes(self._came[:2], "big")
        if not 12 <= size <= dnsmessage.LARGEST_QUERY:
            raise OSError(0, "no query")
        if len(self._came) < 2 + size:
            return None
        found = self._came[2 : 2 + size]
        self._came = self._came[2 + size :]
        self.deadline = now + PATIENCE
        return found

    def send(self, reply: bytes, now: float) -> None:
        """An answer; what the client does not take yet waits.  OSError when the connection is lost."""
        self._waiting += len(reply).to_bytes(2, "big") + reply
        if len(self._waiting) > MOST_WAITING:
            raise OSError(0, "it takes nothing")
        self.deadline = now + PATIENCE
        self.flush()

    def flush(self) -> None:
        """Send what waits.  OSError when the connection is lost."""
        try:
            while self._waiting:
                self._waiting = self._waiting[self.end.send(self._waiting) :]
        except BlockingIOError:
            pass

    def close(self) -> None:
        self.closed = True
        self.end.close()
