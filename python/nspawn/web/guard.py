"""The crash guard over HTTP: /api/v1/guard."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nspawn.web.fields import parse_body, wrong
from nspawn.web.services import Services

_PATH = "/api/v1/guard"


def guard_routes(services: Services) -> Blueprint:
    """How it is, and what a person decides: {action: try-again}, or {action: never|allow, feature}."""
    routes = Blueprint("guard", __name__)
    guard = services.guard

    @routes.get(_PATH)
    def status() -> Response:
        return jsonify(guard.status().as_dict())

    @routes.post(_PATH)
    def decide() -> Response:
        body = parse_body(request.get_data())
        action = body.text("action")
        feature = body.text("feature") if action in ("never", "allow") else ""
        body.finish()
        if action == "try-again":
            found = guard.try_again()
        elif action == "never":
            found = guard.never_use(feature)
        elif action == "allow":
            found = guard.allow(feature)
        else:
            wrong("action", "try-again, never or allow is expected")
        return jsonify(found.as_dict())

    return routes
