"""Requests of the control socket that are about the network: op=net with a verb."""

from __future__ import annotations

from nspawn.errors import NspawnError, UsageError
from nspawn.model.record import Record, error_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.network import Network

    Reply = Callable[[Record], None]


def answer(network: Network, user: object, request: Record, reply: Reply) -> None:
    """Do what the verb says; the reply comes at once or later.  user: whose life holds the network up.

    status: how it is.  ready: have it up for a start that will come.  hold: as long as the user lives.
    refresh: have what has changed arranged.  up: and keep it by hand.  down: take it down.
    """
    verb = request.text("verb", "status")

    def told(error: NspawnError | None) -> None:
        reply(error_record(error) if error is not None else Record((("ok", 1), *network.report().fields)))

    def down() -> None:
        told(network.error)

    if verb == "status":
        error = error_record(network.error).fields if network.error is not None else ()
        # Not as the answer's own error: that the last run failed is what is asked for.
        fields = [(f"last-{key}", value) for key, value in error]
        reply(Record((("ok", 1), *network.report().fields, *fields)))
    elif verb == "ready":
        network.announce(told)
    elif verb == "hold":
        if network.need(user, told):
            told(None)
    elif verb == "refresh":
        network.refresh(told)
    elif verb == "up":
        network.keep(told)
    elif verb == "down":
        network.take_down(down, force=request.flag("force"))
    else:
        raise UsageError(f"the network knows no verb {verb[:40]!r}")
