"""The forwarder: answers the containers' questions about names, and leaves when nobody asks.

Their DHCP clients, too.  The spawner holds its sockets, bound to the gateway's addresses, and to the bridge
for DHCP, and starts it at the first packet.  One
thread, no asyncio (memory).  Who asks is not trusted: all that is kept for an asker is counted, and the
oldest gives way; of what was answered nothing is kept.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from nspawn.layout import Layout, on_android
from nspawn.model import dhcpmessage, dnsmessage
from nspawn.network import clients
from nspawn.network.asking import Asking, Query
from nspawn.network.clients import Connection
from nspawn.network.leases import Leases
from nspawn.network.names import Names
from nspawn.network.poller import IN, OUT, Poller
from nspawn.network.servers import Servers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Hashable
    from typing import NoReturn

    from nspawn.model.dnsmessage import Question
else:
    import _signal  # the part of `signal` without enum

FIRST_FD = 3
IDLE = 30.0
#: What a client by UDP gets at most, whatever it claims, and by TCP.
_LARGEST_UDP, _LARGEST_TCP = 4096, 65535
#: Packets, or connections, of one socket before the others have their turn.
_AT_ONCE = 32
_MOST_LOGGED = 50


class Forwarder:
    """sockets: bound UDP and listening TCP ones; one of port 67 is for DHCP.

    idle: seconds without anything, after which it ends.
    """

    def __init__(
        self,
        sockets: list[_socket.socket],
        names: Names,
        servers: Servers,
        *,
        idle: float = IDLE,
        log: Callable[[str], None],
    ) -> None:
        self._names = names
        self._leases = Leases(names)
        self._idle = idle
        self._log = log
        self._logged = 0
        self._poller = Poller(self._failed)
        self._asking = Asking(self._poller, servers)
        self._connections: dict[int, Connection] = {}
        self._now = time.monotonic()
        for each in sockets:
            self._serve(each)

    def _serve(self, end: _socket.socket) -> None:
        end.setblocking(False)
        if end.getsockname()[1] == dhcpmessage.SERVER_PORT:
            call: Callable[[_socket.socket], None] = self._leases.serve
        else:
            call = self._packets if end.type == _socket.SOCK_DGRAM else self._accept
        self._poller.watch(end.fileno(), lambda: call(end))

    def run(self) -> None:
        """Until nothing came for a while, and nothing is open."""
        last = self._now
        while True:
            until = last + self._idle
            if self._asking or self._connections:
                quiet = min(
                    (each.deadline for each in self._connections.values() if not each.asked),
                    default=float("inf"),
                )
                until = min(self._asking.deadline, quiet)
            happened = self._poller.wait(until - self._now)
            self._now = time.monotonic()
            self._asking.expire(self._now)
            for each in [each for each in self._connections.values() if each.deadline <= self._now]:
                if not each.asked:
                    self._close(each)
            if happened or self._asking or self._connections:
                last = self._now
            elif self._now >= last + self._idle:
                return

    def _failed(self, error: Exception) -> None:
        """A defect, or the machine's limits: told, not too often; the others are served on."""
        self._logged += 1
        if self._logged <= _MOST_LOGGED:
            self._log(f"{type(error).__name__}: {error}")

    # UDP

    def _packets(self, end: _socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, address = end.recvfrom(dnsmessage.LARGEST_QUERY + 1)
            except BlockingIOError:
                return
            self._names.refresh()
            number = self._names.asker(address[0])
            if number is not None:
                self._question(data, number, (end.fileno(), address), _by_udp(end, address), tcp=False)

    # TCP

    def _accept(self, listener: _socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                descriptor, address = listener._accept()  # type: ignore[attr-defined]  # as `socket` does it
            except BlockingIOError:
                return
            except OSError as error:
                # No descriptors are left: somebody must give one back, or this would go on at once.
                self._failed(error)
                if self._connections:
                    self._close(next(iter(self._connections.values())))
                else:
                    time.sleep(0.05)
                return
            end = _socket.socket(fileno=descriptor)
            end.setblocking(False)
            self._names.refresh()
            number = self._names.asker(address[0])
            if number is None:
                end.close()
                continue
            self._make_room(number)
            self._welcome(Connection(end, number, self._now))

    def _welcome(self, connection: Connection) -> None:
        descriptor = connection.end.fileno()
        self._connections[descriptor] = connection
        self._poller.watch(descriptor, lambda: self._talk(connection))

    def _make_room(self, number: int) -> None:
        own = [each for each in self._connections.values() if each.number == number]
        if len(own) >= clients.MOST_OF_ONE:
            self._close(own[0])
        elif len(self._connections) >= clients.MOST:
            self._close(next(iter(self._connections.values())))

    def _talk(self, connection: Connection) -> None:
        """It has sent something, or takes something."""
        try:
            if connection.writes:
                connection.flush()
            else:
                connection.read()
        except OSError:
            self._close(connection)
        else:
            self._pump(connection)

    def _pump(self, connection: Connection) -> None:
        """Ask what it has asked whole."""
        if connection.pumped:
            return  # an answer of our own, given at once
        connection.pumped = True
        self._names.refresh()
        try:
            while not connection.closed and (data := connection.query(self._now)) is not None:
                connection.asked += 1
                self._question(
                    data,
                    connection.number,
                    connection,
                    lambda answer: self._answered(connection, answer),
                    tcp=True,
                )
        except OSError:
            self._close(connection)
        finally:
            connection.pumped = False
        if connection.is_over:
            self._close(connection)
        self._adjust(connection)

    def _answered(self, connection: Connection, answer: bytes | None) -> None:
        connection.asked -= 1
        if answer is None:
            self._close(connection)
        if not connection.closed:
            try:
                connection.send(answer or b"", self._now)
            except OSError:
                self._close(connection)
            else:
                self._pump(connection)

    def _adjust(self, connection: Connection) -> None:
        """Listen for what it may do next: backpressure is all that a fast asker feels."""
        if not connection.closed:
            events = OUT if connection.writes else IN if connection.wants_more else 0
            self._poller.change(connection.end.fileno(), events)

    def _close(self, connection: Connection) -> None:
        if not connection.closed:
            descriptor = connection.end.fileno()
            del self._connections[descriptor]
            self._poller.forget(descriptor)
            connection.close()

    # Both

    def _question(
        self,
        data: bytes,
        number: int,
        client: Hashable,
        reply: Callable[[bytes | None], None],
        *,
        tcp: bool,
    ) -> None:
        try:
            question = dnsmessage.read_question(data)
        except dnsmessage.Malformed as problem:
            reply(None if problem.rcode < 0 else dnsmessage.complaint(data, problem.rcode))
            return
        takes = _LARGEST_TCP if tcp else min(question.size, _LARGEST_UDP)
        answer = self._own_answer(question)
        if answer is not None:
            reply(answer if len(answer) <= takes else dnsmessage.truncated(question))
            return
        egress = self._names.egress(number)
        if egress is None:
            reply(dnsmessage.failure(question))
            return
        key = (client, question.ident, question.section)
        if key in self._asking:  # asked again: the answer is on its way
            if tcp:
                reply(dnsmessage.failure(question, dnsmessage.FORMERR))
            return
        self._asking.ask(
            Query(key, question, takes=takes, number=number, egress=egress, reply=reply), self._now
        )

    def _own_answer(self, question: Question) -> bytes | None:
        # The answer to a transfer may have many messages; and there is no other class than IN to ask about.
        if question.kind in (dnsmessage.AXFR, dnsmessage.IXFR) or question.klass != dnsmessage.IN:
            return dnsmessage.failure(question, dnsmessage.REFUSED)
        return self._names.answer(question)


def _by_udp(end: _socket.socket, address: tuple[object, ...]) -> Callable[[bytes | None], None]:
    def reply(answer: bytes | None) -> None:
        if answer is not None:
            try:
                end.sendto(answer, address)
            except OSError:
                pass  # it is gone, or its socket is full: it will ask again

    return reply


def inherited_sockets(count: int, first: int = FIRST_FD) -> list[_socket.socket]:
    """The sockets that were handed over as descriptors first, first + 1, ..."""
    found = []
    for descriptor in range(first, first + count):
        os.set_inheritable(descriptor, False)
        found.append(_socket.socket(fileno=descriptor))
    return found


def _log(text: str) -> None:
    try:
        sys.stderr.write(f"dns: {text}\n")
    except OSError:
        pass


def _leave(_signal: int, _frame: object) -> NoReturn:
    os._exit(0)


def main() -> int:
    """Serve with what the environment says; the process's exit status.

    NSPAWN_ROOT: the state's root.  NSPAWN_LISTEN_FDS: how many sockets begin at descriptor 3.
    NSPAWN_DNS_IDLE: seconds.
    """
    _signal.signal(_signal.SIGTERM, _leave)
    _signal.signal(_signal.SIGINT, _leave)
    names = Names(Layout.from_environment(os.environ), android=on_android(os.environ))
    forwarder = Forwarder(
        inherited_sockets(int(os.environ.get("NSPAWN_LISTEN_FDS", "0"))),
        names,
        Servers(os.environ, names),
        idle=float(os.environ.get("NSPAWN_DNS_IDLE", IDLE)),
        log=_log,
    )
    forwarder.run()
    # Nothing is left that an orderly end of the interpreter would do.
    os._exit(0)
