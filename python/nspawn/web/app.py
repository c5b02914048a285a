"""The application: its parts put together, and errors as JSON."""

from __future__ import annotations

import logging
import os

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from nspawn.errors import NspawnError
from nspawn.web.api import container_routes, upload_routes, verb_routes
from nspawn.web.auth import Gate, guard, login_routes
from nspawn.web.events import Hub, Streams
from nspawn.web.guard import guard_routes
from nspawn.web.images import image_routes
from nspawn.web.live import event_routes
from nspawn.web.machine import machine_routes
from nspawn.web.network import network_routes
from nspawn.web.page import page_routes
from nspawn.web.refusal import Refusal, retry_after, status_of
from nspawn.web.services import Services
from nspawn.web.transfer import transfer_routes

#: Bytes of a JSON body.  Uploads are bounded by the server's own limit.
LARGEST_JSON = 64 * 1024

log = logging.getLogger(__name__)


def create_app(services: Services, *, gate: Gate, webroot: str) -> Flask:
    """The WSGI application.

    services: the use cases it translates to.  gate: the rules for every request.  webroot: the page's folder.
    """
    app = Flask("nspawn.web", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_JSON
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A redirect would answer for a path that nobody asked for.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False

    guard(app, gate)
    app.register_error_handler(NspawnError, answer_error)
    app.register_error_handler(HTTPException, answer_http)
    app.register_error_handler(Exception, answer_mistake)

    streams = Streams()
    hub = Hub(
        services.watch,
        lambda name: services.containers.get(name).as_dict(),
        lambda: services.guard.status().as_dict(),
        services.network_summary,
    )
    services.jobs.subscribe(lambda job: hub.publish("job", f"job {job.id}", job.as_dict()))
    app.register_blueprint(login_routes(gate, services.session_seconds))
    app.register_blueprint(container_routes(services))
    app.register_blueprint(upload_routes(services))
    app.register_blueprint(verb_routes(services))
    app.register_blueprint(transfer_routes(services, streams))
    app.register_blueprint(image_routes(services))
    app.register_blueprint(machine_routes(services, streams))
    app.register_blueprint(guard_routes(services))
    app.register_blueprint(network_routes(services))
    app.register_blueprint(event_routes(services, gate, hub, streams))
    app.register_blueprint(page_routes(webroot))
    return app


def answer_error(error: NspawnError) -> Response:
    """An error that a person can read, and its status."""
    answer = jsonify(error=error.as_dict())
    answer.status_code = status_of(error)
    seconds = retry_after(error)
    if seconds:
        answer.headers["Retry-After"] = str(seconds)
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def answer_http(error: HTTPException) -> Response:
    """What the framework refuses (404, 405, 413, ...), in the same form."""
    code = error.code or 500
    names = {404: "not_found", 405: "method", 413: "too_large"}
    what = {404: "there is nothing at this address", 405: "this address does not take that method"}
    answer = answer_error(
        Refusal(
            code,
            names.get(code, "http"),
            what.get(code, error.name.lower()),
            f"{request.method} {request.path[:200]}",
        )
    )
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def answer_mistake(error: Exception) -> Response:
    """A mistake of this program: the log has it under a number, the answer has only the number."""
    number = os.urandom(4).hex()
    log.error("error %s in %s %r", number, request.method, request.path[:200], exc_info=error)
    return answer_error(
        Refusal(
            500,
            "internal",
            "the server made a mistake",
            f"error {number}",
            "The log of `nspawn serve` has the details.",
        )
    )
