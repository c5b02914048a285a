"""Questions on their way to servers: one attempt after the other, until there is an answer.

What is open is counted, in all and for each asker, and the oldest gives way to a new one.
"""

from __future__ import annotations

import errno

from nspawn.model import dnsmessage
from nspawn.network.poller import IN, OUT
from nspawn.network.upstream import Datagram, Proxy, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from nspawn.model.dnsmessage import Question
    from nspawn.network.names import Egress
    from nspawn.network.poller import Poller
    from nspawn.network.servers import Servers, Way
    from nspawn.network.upstream import Attempt

#: Open questions in all and of one asker, and those of them that are asked by TCP (they may hold 64 KiB).
MOST, MOST_OF_ONE, MOST_STREAMS = 512, 64, 64
#: Seconds for all attempts to ask servers: after five, clients ask again (resolv.conf(5)).
_PATIENCE = 8.0
_ROUNDS = 2
_NEVER = float("inf")


class Query:
    """A question on its way.

    key: tells it from the others; takes: the bytes of an answer that the client takes; number: of the asker;
    reply: called with the answer, or with None when the question had to give way.
    """

    __slots__ = (
        "attempt",
        "best",
        "deadline",
        "egress",
        "gives_up",
        "key",
        "number",
        "question",
        "reply",
        "takes",
        "ways",
    )

    def __init__(
        self,
        key: Hashable,
        question: Question,
        *,
        takes: int,
        number: int,
        egress: Egress,
        reply: Callable[[bytes | None], None],
    ) -> None:
        self.key = key
        self.question = question
        self.takes = takes
        self.number = number
        self.egress = egress
        self.reply = reply
        #: Those that are left to try.
        self.ways: list[Way] = []
        self.attempt: Attempt | None = None
        #: A reply that is better than none.
        self.best: bytes | None = None
        #: Of the present attempt, and of all.
        self.deadline = self.gives_up = _NEVER


class Asking:
    """All open questions."""

    def __init__(self, poller: Poller, servers: Servers) -> None:
        self._poller = poller
        self._servers = servers
        self._open: dict[Hashable, Query] = {}
        self._streams = 0
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._open

    @property
    def deadline(self) -> float:
        """When expire() is to be called (monotonic)."""
        return min((query.deadline for query in self._open.values()), default=_NEVER)

    def ask(self, query: Query, now: float) -> None:
        """Have it answered."""
        self._now = now
        self._make_room(query.number)
        self._open[query.key] = query
        query.gives_up = now + _PATIENCE
        self._take_ways(query, self._servers.first(query.egress))

    def drop(self, key: Hashable) -> None:
        """Nobody waits for its answer any more."""
        query = self._open.pop(key, None)
        if query is not None:
            self._end_attempt(query)

    def expire(self, now: float) -> None:
        """Give up the attempts whose time is over."""
        self._now = now
        for query in [query for query in self._open.values() if query.deadline <= now]:
            attempt = query.attempt
            if attempt is None:  # waits for the list of servers
                if self._servers.dump is not None:
                    self._servers.dump.end(self._poller.forget)
                self._dumped()
            elif isinstance(attempt, Datagram):
                self._servers.silent(attempt.way)
                self._next(query)
            else:
                self._finish(query, query.best)

    def _make_room(self, number: int) -> None:
        if len(self._open) < MOST_OF_ONE:
            return
        own = [query for query in self._open.values() if query.number == number]
        if len(own) >= MOST_OF_ONE:
            self._give_way(own[0])
        elif len(self._open) >= MOST:
            self._give_way(next(iter(self._open.values())))

    def _give_way(self, query: Query) -> None:
        self.drop(query.key)
        query.reply(None)

    # Ways and attempts

    def _take_ways(self, query: Query, ways: tuple[Way, ...] | None) -> None:
        dump = self._servers.dump
        if ways is None and dump is not None:
            self._end_attempt(query)
            query.deadline = dump.deadline
            if not dump.watched:
                dump.watched = True
                self._poller.watch(dump.descriptor, self._read_dump)
            return
        query.ways = list(ways or ()) * _ROUNDS
        self._next(query)

    def _read_dump(self) -> None:
        dump = self._servers.dump
        if dump is not None:
            dump.read(self._poller.forget)
            if dump.done:
                self._dumped()

    def _dumped(self) -> None:
        for query in [query for query in self._open.values() if query.attempt is None]:
            self._take_ways(query, self._servers.plain(query.egress))

    def _next(self, query: Query) -> None:
        """Try the next way; without one, the best reply there was is the answer."""
        self._end_attempt(query)
        while query.ways and self._now < query.gives_up:
            way = query.ways.pop(0)
            try:
                if way.address:
                    self._begin(query, Datagram(way, query.question))
                else:
                    self._begin(query, Proxy(way, query.question, self._servers.proxy))
                return
            except OSError as error:
                if not way.address and error.errno != errno.EBUSY:
                    self._servers.without_proxy(error)
                    self._take_ways(query, self._servers.plain(query.egress))
                    return
        self._finish(query, query.best)

    def _begin(self, query: Query, attempt: Attempt) -> None:
        query.attempt = attempt
        query.deadline = self._now + attempt.seconds
        self._streams += isinstance(attempt, Stream)
        events = OUT if attempt.writes else IN
        self._poller.watch(attempt.end.fileno(), lambda: self._step(query, attempt), events)

    def _end_attempt(self, query: Query) -> None:
        attempt, query.attempt = query.attempt, None
        if attempt is not None:
            self._streams -= isinstance(attempt, Stream)
            self._poller.forget(attempt.end.fileno())
            attempt.close()

    def _step(self, query: Query, attempt: Attempt) -> None:
        wrote = attempt.writes
        try:
            reply = attempt.step()
        except OSError as error:
            self._failed(query, attempt, error)
            return
        if reply is not None:
            self._replied(query, attempt, reply)
        elif attempt.writes != wrote:
            self._poller.change(attempt.end.fileno(), OUT if attempt.writes else IN)

    def _failed(self, query: Query, attempt: Attempt, error: OSError) -> None:
        if isinstance(attempt, Datagram):
            self._servers.silent(attempt.way)
            self._next(query)
        elif isinstance(attempt, Proxy) and error.errno == errno.ENOSYS:
            self._servers.without_proxy(error)
            self._take_ways(query, self._servers.plain(query.egress))
        else:
            # Also when Android's resolver failed: to ask past it would be past its private DNS.
            self._finish(query, query.best)

    def _replied(self, query: Query, attempt: Attempt, reply: bytes) -> None:
        if isinstance(attempt, Datagram):
            if dnsmessage.rcode(reply) in (dnsmessage.SERVFAIL, dnsmessage.REFUSED):
                query.best = reply
                query.ways = [way for way in query.ways if way.address != attempt.way.address]
                self._next(query)
                return
            asked_for = dnsmessage.UNFRAGMENTED if query.question.edns else dnsmessage.SMALLEST
            if dnsmessage.is_truncated(reply) and query.takes > asked_for and self._streams < MOST_STREAMS:
                query.best = reply
                self._end_attempt(query)
                try:
                    self._begin(query, Stream(attempt.way, query.question))
                    return
                except OSError:
                    pass
        self._finish(query, reply)

    def _finish(self, query: Query, reply: bytes | None) -> None:
        self.drop(query.key)
        question = query.question
        data = dnsmessage.failure(question) if reply is None else dnsmessage.for_client(question, reply)
        query.reply(data if len(data) <= query.takes else dnsmessage.truncated(question))
