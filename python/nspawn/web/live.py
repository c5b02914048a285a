"""GET /api/v1/events: the event stream, with the consoles a client asked for."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable
from contextlib import ExitStack

from flask import Blueprint, Response, request

from nspawn.errors import NspawnError
from nspawn.model.names import parse_container_name
from nspawn.web.auth import Gate, bearer_of
from nspawn.web.events import MOST_LOGS, EventStream, Hub, Mailbox, Streams, encode
from nspawn.web.fields import wrong
from nspawn.web.services import Services


def event_routes(services: Services, gate: Gate, hub: Hub, streams: Streams) -> Blueprint:
    routes = Blueprint("events", __name__)

    @routes.get("/api/v1/events")
    def events() -> Response:
        names = [parse_container_name(name) for name in request.args.getlist("log")]
        if len(names) > MOST_LOGS:
            wrong("log", f"at most {MOST_LOGS} consoles are sent in one stream")
        for name in names:
            services.containers.get(name)
        if request.method == "HEAD":
            return Response(mimetype="text/event-stream")
        credential = bearer_of(request.headers.get("Authorization", ""))
        with ExitStack() as undo:
            undo.enter_context(streams)
            box = hub.join(request.headers.get("Last-Event-ID", "")[:64])
            undo.callback(hub.leave, box)
            for name in names:
                undo.callback(follow_console(services, name, box))
            request.environ.get("nspawn.when_gone", _ignore)(box.close)
            body = EventStream(
                box,
                gone=request.environ.get("waitress.client_disconnected", lambda: False),
                allowed=lambda: gate.knows(credential),
                on_close=undo.pop_all().close,
            )
        return Response(body, mimetype="text/event-stream", direct_passthrough=True)

    return routes


def _ignore(_call: Callable[[], None]) -> None:
    """The server does not tell when a client leaves; the stream looks for itself."""


def follow_console(services: Services, name: str, box: Mailbox) -> Callable[[], None]:
    """Send a console's history and then its output into a mailbox, from a thread; the result ends that.

    The first event of a console says `start`: what a client shows of it is to be dropped, for the history
    comes again.
    """
    follow = services.containers.follow(name)

    def pump() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            with follow as chunks:
                box.post_log(encode("log", {"name": name, "start": True, "text": ""}))
                for chunk in chunks:
                    text = decoder.decode(chunk)
                    if text and not box.post_log(encode("log", {"name": name, "text": text})):
                        return
        except NspawnError as error:
            box.post_log(encode("log", {"name": name, "error": error.as_dict(), "text": ""}))

    threading.Thread(target=pump, name=f"console {name}", daemon=True).start()
    return follow.stop
