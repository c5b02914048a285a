"""The network over HTTP: /api/v1/network."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nspawn.model.names import parse_container_name
from nspawn.web.fields import parse_body
from nspawn.web.services import Services

_PATH = "/api/v1/network"


def network_routes(services: Services) -> Blueprint:
    """How it is, why a container goes where it goes; taking it down, {force: also while it is used}."""
    routes = Blueprint("network", __name__)

    @routes.get(_PATH)
    def status() -> Response:
        return jsonify(services.network().status().as_dict())

    @routes.get(f"{_PATH}/containers/<name>")
    def explain(name: str) -> Response:
        return jsonify(services.network().explain(parse_container_name(name)).as_dict())

    @routes.post(f"{_PATH}/down")
    def down() -> Response:
        body = parse_body(request.get_data())
        force = body.flag("force", False)
        body.finish()
        return jsonify(removed=services.network().down(force=force))

    return routes
