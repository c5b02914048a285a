"""The machine and the work on it: /health, /api/v1/host, its readings, /api/v1/settings, /api/v1/jobs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nspawn import __version__
from nspawn.web.events import Streams
from nspawn.web.fields import parse_body
from nspawn.web.services import Services


def machine_routes(services: Services, streams: Streams) -> Blueprint:
    routes = Blueprint("machine", __name__)

    @routes.get("/health")
    def health() -> Response:
        # The one answer without a login: it says no more than that this is nspawn.
        return jsonify(status="ok", name="nspawn")

    @routes.get("/api/v1/host")
    def host() -> Response:
        return jsonify(services.host().as_dict())

    @routes.get("/api/v1/host/readings")
    def readings() -> Response:
        return jsonify(services.readings().as_dict())

    @routes.get("/api/v1/settings")
    def settings() -> Response:
        return jsonify(
            version=__version__,
            root=services.root,
            session_seconds=services.session_seconds,
            streams={"open": streams.open, "most": streams.most},
        )

    @routes.get("/api/v1/jobs")
    def jobs() -> Response:
        return jsonify(jobs=[job.as_dict() for job in services.jobs.list()])

    @routes.get("/api/v1/jobs/<number>")
    def job(number: str) -> Response:
        return jsonify(services.jobs.get(number).as_dict())

    @routes.delete("/api/v1/jobs/<number>")
    def cancel(number: str) -> Response:
        services.jobs.cancel(number)
        return jsonify(services.jobs.get(number).as_dict())

    @routes.post("/api/v1/jobs/<number>/secret")
    def secret(number: str) -> Response:
        # A change: it is handed out once, to who asks first.
        parse_body(request.get_data()).finish()
        return jsonify(secret=services.jobs.take_secret(number))

    return routes
