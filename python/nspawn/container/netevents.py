"""Changes of the machine's network, as reasons to look at it: sieved, and a burst of them as one."""

from __future__ import annotations

import time

from nspawn.kernel import netwatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from nspawn.container.activated import Owner
    from nspawn.container.loop import Timer

_QUIET = 0.02  # seconds after the first event of a burst
_PACE = 0.25  # seconds between two looks
_LONGEST_PAUSE = 60.0
_PORTS = 8


class Events:
    """verdict: what has come since the last look.  look: called when it is time for one.

    held: tells the addresses of our containers, as bytes.
    """

    __slots__ = (
        "_end", "_failures", "_held", "_last", "_look", "_owner", "_ports", "_sieve", "_timer", "verdict",
    )  # fmt: skip

    def __init__(self, owner: Owner, look: Callable[[], None], held: Callable[[], set[bytes]]) -> None:
        self._owner = owner
        self._look = look
        self._held = held
        self._end: _socket.socket | None = None
        self._sieve: netwatch.Sieve | None = None
        self._ports: list[int] = []
        self._timer: Timer | None = None
        self._last = 0.0
        self._failures = 0
        self.verdict = netwatch.NOTHING

    @property
    def listening(self) -> bool:
        return self._end is not None

    def listen(self, bridge: str) -> None:
        """From now on nothing is missed.  bridge: the name of ours."""
        if self._sieve is not None:
            self._sieve.bridge = bridge
        if self._end is not None:
            return
        try:
            self._end = netwatch.watch()
        except OSError as error:
            self._owner.log(f"changes of the network are not noticed: {error}")
            return
        self._sieve = netwatch.Sieve(bridge)
        self._sieve.ports.update(self._ports)
        # A start's answer does not wait for what the start itself changed.
        self._owner.loop.add(self._end.fileno(), self._told, late=True)

    def close(self) -> None:
        self._stop_timer()
        self.verdict = netwatch.NOTHING
        self._failures = 0
        if self._end is not None:
            self._owner.loop.remove(self._end.fileno())
            self._end.close()
            self._end = self._sieve = None

    def mind(self, port: int) -> None:
        """What comes of this port of netlink is our own doing; the last ones may still be told of."""
        self._ports = [*[each for each in self._ports if each != port][1 - _PORTS :], port]
        if self._sieve is not None:
            self._sieve.ports = set(self._ports)

    def looking(self) -> int:
        """A look begins; for what."""
        self._stop_timer()
        self._last = time.monotonic()
        verdict, self.verdict = self.verdict, netwatch.NOTHING
        return verdict

    def looked(self) -> None:
        """It went well; what came meanwhile is a reason for another."""
        self._failures = 0
        if self.verdict:
            self.soon(self.verdict)

    def failed(self, verdict: int) -> None:
        """The network may not be what it should: again a little later, for the same."""
        self.verdict = max(self.verdict, verdict)
        if self._timer is None:
            pause = min(4.0 ** min(self._failures, 8), _LONGEST_PAUSE)
            self._failures += 1
            self._timer = self._owner.loop.after(pause, self._due)

    def soon(self, verdict: int) -> None:
        """Look once the burst is over; a burst that goes on is looked at now and then."""
        self.verdict = max(self.verdict, verdict)
        if self._timer is not None and not self._failures:
            return
        self._stop_timer()  # a failure's pause: what came now may be what it lacked
        self._timer = self._owner.loop.after(max(_QUIET, self._last + _PACE - time.monotonic()), self._due)

    def _told(self, _events: int) -> None:
        if self._sieve is not None and self._end is not None:
            verdict = self._sieve.drain(self._end)
            if self._sieve.lost:
                self._put_back(self._end, self._sieve)
            if verdict:
                self.soon(verdict)

    def _put_back(self, end: _socket.socket, sieve: netwatch.Sieve) -> None:
        """A kill switch does not wait for a look: netd, at its start, may leave rules that let out."""
        lost, sieve.lost = sieve.lost, []
        held = self._held()
        for address, message in lost:
            if address in held:
                try:
                    end.send(message)
                except OSError as error:
                    self._owner.log(f"a rule that holds a container was not put back: {error}")

    def _due(self) -> None:
        self._timer = None
        self._look()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
