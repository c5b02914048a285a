"""A request under way, which another thread can end."""

from __future__ import annotations

import socket
import threading
from typing import Any


class Call:
    """One request.  `stop` wakes whoever waits for its server; only a look-up of a name, and the wait for
    a connection, go on until their own time limits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._socket: Any = None
        self.stopped = False

    def watch(self, connection: Any) -> None:
        """The connection that is used from now on; ConnectionAbortedError when it is not wanted any more."""
        with self._lock:
            self._connection, self._socket = connection, connection.sock
            if self.stopped:
                raise ConnectionAbortedError("stopped")

    def stop(self) -> None:
        """From any thread, any number of times."""
        with self._lock:
            self.stopped = True
            # http.client gives the socket of a last answer away: then only we still know it.
            found = self._socket or getattr(self._connection, "sock", None)
        found = getattr(found, "socket", found)  # of TLS within TLS, urllib3's SSLTransport
        if isinstance(found, socket.socket):
            try:
                # The method of ssl.SSLSocket would take the encryption away from under the reader.
                socket.socket.shutdown(found, socket.SHUT_RDWR)
            except OSError:
                pass  # not connected yet, or not any more


_local = threading.local()


def enter(call: Call) -> None:
    """What this thread does from now on belongs to the call."""
    _local.call = call


def watch(connection: Any) -> None:
    """The call of this thread uses this connection."""
    call: Call | None = getattr(_local, "call", None)
    if call is not None:
        call.watch(connection)
