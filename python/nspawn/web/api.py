"""Containers over HTTP: a route reads its input into typed values, calls one use case, renders the result."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from typing import BinaryIO

from flask import Blueprint, Response, jsonify, request

from nspawn.model import settings
from nspawn.model.finish import FinishWish
from nspawn.model.imageref import File
from nspawn.model.names import parse_container_name
from nspawn.model.progress import Asked, Report
from nspawn.service.containers import Builtin, CreateRequest, Folder, FromImage, Source, Tarball
from nspawn.service.jobs import Result
from nspawn.web.fields import Fields, parse_body, parse_count, parse_header, parse_text, wrong
from nspawn.web.images import parse_image, parse_wish
from nspawn.web.services import Services
from nspawn.web.starting import start_made

BASE = "/api/v1/containers"
#: What `source` says of an image otherwise, with an upload.  No query: there may be a password in it.
IMAGE_OPTIONS = "Nspawn-Image-Options"
#: Bytes of console history in one answer: the ring on disk holds no more.
LONGEST_LOG = 2 * 1024 * 1024


def container_routes(services: Services) -> Blueprint:
    """The list, and each container as a thing: made, shown, changed, removed."""
    routes = Blueprint("containers", __name__)
    containers = services.containers

    @routes.get(BASE)
    def listing() -> Response:
        return jsonify(containers=[each.as_dict() for each in containers.list()])

    @routes.post(BASE)
    def create() -> tuple[Response, int]:
        body = parse_body(request.get_data())
        name = parse_container_name(body.text("name"))
        source = parse_source(body.inner("source"))
        start = body.flag("start", False)
        changes = parse_changes(body.inner("settings")) if body.has("settings") else {}
        body.finish()
        chosen = settings.apply(settings.Settings(), changes)
        given = settings.named(changes)
        asked = CreateRequest(name=name, source=source, settings=chosen, given=given)
        return begin_create(services, asked, start=start)

    @routes.get(f"{BASE}/<name>")
    def one(name: str) -> Response:
        return jsonify(containers.get(parse_container_name(name)).as_dict())

    @routes.patch(f"{BASE}/<name>")
    def change(name: str) -> Response:
        parse_container_name(name)
        changes = parse_changes(parse_body(request.get_data()))
        return jsonify(containers.update(name, changes).as_dict())

    @routes.delete(f"{BASE}/<name>")
    def remove(name: str) -> Response:
        containers.remove(parse_container_name(name))
        return jsonify(removed=name)

    @routes.get(f"{BASE}/<name>/log")
    def log(name: str) -> Response:
        limit = parse_count(request.args.get("limit", str(64 * 1024)), "limit", low=1, high=LONGEST_LOG)
        text = containers.log(parse_container_name(name), limit)
        return Response(text, content_type="text/plain; charset=utf-8")

    return routes


def upload_routes(services: Services) -> Blueprint:
    """A container out of the request's body."""
    routes = Blueprint("uploads", __name__)

    @routes.post(f"{BASE}/<name>/upload")
    def upload(name: str) -> tuple[Response, int]:
        parse_container_name(name)
        start, as_image = parse_switch("start"), parse_switch("image")
        changes = parse_set()
        if parse_switch("boot"):
            changes = {"boot": "true", **changes}
        chosen = settings.apply(settings.Settings(), changes)
        wish = parse_image_options(as_image=as_image)
        if not request.content_length:
            wrong("body", "it is empty; the file's bytes are expected")
        # Flask's limit is for JSON; `connection` has bounded this one before it was received.
        request.max_content_length = None
        kept = keep_body(request.environ["wsgi.input"])
        size = request.content_length
        if parse_switch("import"):
            if changes or as_image:
                kept.close()
                wrong("import", "the archive has settings of its own")
            return begin_import(services, name, kept, size, start=start, trusted=parse_switch("trusted"))
        source: Source = Tarball(kept, size=size)
        if as_image:
            source = FromImage(reference=File(path="-"), wish=wish, file=kept, size=size)
        given = settings.named(changes)
        asked = CreateRequest(name=name, source=source, settings=chosen, given=given)
        return begin_create(services, asked, start=start, cleanup=kept.close)

    return routes


def verb_routes(services: Services) -> Blueprint:
    """What is done with a container."""
    routes = Blueprint("verbs", __name__)
    containers = services.containers

    @routes.post(f"{BASE}/<name>/start")
    def start(name: str) -> Response:
        no_fields()
        return jsonify(containers.start(parse_container_name(name)).as_dict())

    @routes.post(f"{BASE}/<name>/stop")
    def stop(name: str) -> Response:
        body = parse_body(request.get_data())
        seconds = body.number("seconds", low=0, high=600)
        body.finish()
        return jsonify(containers.stop(parse_container_name(name), seconds).as_dict())

    @routes.post(f"{BASE}/<name>/freeze")
    def freeze(name: str) -> Response:
        no_fields()
        return jsonify(containers.freeze(parse_container_name(name)).as_dict())

    @routes.post(f"{BASE}/<name>/thaw")
    def thaw(name: str) -> Response:
        no_fields()
        return jsonify(containers.thaw(parse_container_name(name)).as_dict())

    @routes.post(f"{BASE}/<name>/restart")
    def restart(name: str) -> Response:
        no_fields()
        return jsonify(containers.restart(parse_container_name(name)).as_dict())

    @routes.post(f"{BASE}/<name>/kill")
    def kill(name: str) -> Response:
        body = parse_body(request.get_data())
        signal = body.text("signal", "SIGKILL")
        body.finish()
        return jsonify(containers.kill(parse_container_name(name), signal).as_dict())

    @routes.post(f"{BASE}/<name>/rename")
    def rename(name: str) -> Response:
        body = parse_body(request.get_data())
        new = parse_container_name(body.text("name"))
        body.finish()
        containers.rename(parse_container_name(name), new)
        return jsonify(containers.get(new).as_dict())

    return routes


def no_fields() -> None:
    """Refuse a body with attributes where there are none."""
    parse_body(request.get_data()).finish()


def parse_switch(name: str) -> bool:
    """A query's `name=1` or `name=0` (the default)."""
    return parse_count(request.args.get(name, "0"), name, low=0, high=1) == 1


def parse_image_options(*, as_image: bool) -> FinishWish:
    """What is done with an uploaded image after it is unpacked, by the header; nothing special without it."""
    text = request.headers.get(IMAGE_OPTIONS)
    if text is None:
        return FinishWish()
    if not as_image:
        wrong(IMAGE_OPTIONS, "it counts with image=1 only")
    fields = parse_header(text, IMAGE_OPTIONS)
    wish = parse_wish(fields)
    fields.finish()
    return wish


def parse_set() -> dict[str, str]:
    """A query's `set=KEY=VALUE`, which may be repeated."""
    changes = {}
    for pair in request.args.getlist("set"):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            wrong("set", "KEY=VALUE is expected")
        changes[key] = parse_text(value, f"set {key[:80]}")
    return changes


def parse_source(fields: Fields) -> Source:
    """Where a new rootfs comes from: {kind: builtin}, {kind: folder|tarball, path: absolute} or
    {kind: image, reference, ...}.
    """
    kind = fields.text("kind")
    source: Source
    if kind == "builtin":
        source = Builtin()
    elif kind == "folder":
        source = Folder(parse_path(fields))
    elif kind == "tarball":
        source = Tarball(parse_path(fields))
    elif kind == "image":
        source = parse_image(fields)
    else:
        wrong(fields.path("kind"), "builtin, image, folder or tarball is expected")
    fields.finish()
    return source


def parse_path(fields: Fields) -> str:
    path = fields.text("path")
    if not path.startswith("/"):
        wrong(fields.path("path"), "an absolute path is expected")
    return path


def parse_changes(fields: Fields) -> dict[str, str]:
    """Settings by dotted key, in the text form of `nspawn set`."""
    changes = {}
    for key, value in fields.items():
        if isinstance(value, str):
            changes[key] = value
        elif value is None:
            wrong(fields.path(key[:80]), "null is not a value; an empty text unsets")
        else:
            changes[key] = json.dumps(value)
    if not changes:
        wrong("body", "no setting is named")
    return changes


def keep_body(body: BinaryIO) -> BinaryIO:
    """The request's body as a file that outlives the request (the server closes its own)."""
    try:
        return os.fdopen(os.dup(body.fileno()), "rb")
    except (AttributeError, OSError):
        return io.BytesIO(body.read())


def begin_import(
    services: Services, name: str, file: BinaryIO, size: int | None, *, start: bool, trusted: bool
) -> tuple[Response, int]:
    """Answer 202 with the job that makes a container of what an export wrote."""

    def work(progress: Report, cancelled: Asked) -> Result:
        with file:
            moved = services.containers.import_(file, name, progress, cancelled, size=size, trusted=trusted)
        notes = (*moved.notes, *(start_made(services, moved.name) if start else ()))
        return Result(value=services.containers.get(moved.name), notes=notes)

    try:
        job = services.jobs.start("import", name, work)
    except BaseException:
        file.close()
        raise
    return jsonify(job.as_dict()), 202


def begin_create(
    services: Services, asked: CreateRequest, *, start: bool, cleanup: Callable[[], object] = lambda: None
) -> tuple[Response, int]:
    """Answer 202 with the job that makes, and when asked starts, a container.

    cleanup: called once, when the job has ended or was not begun.
    """

    def work(progress: Report, cancelled: Asked) -> Result:
        try:
            outcome = services.containers.create(asked, progress, cancelled)
        finally:
            cleanup()
        notes = (*outcome.notes, *(start_made(services, asked.name) if start else ()))
        made = services.containers.get(asked.name)
        return Result(value=made, notes=notes, secret=outcome.password)

    try:
        job = services.jobs.start("create", asked.name, work)
    except BaseException:
        cleanup()
        raise
    return jsonify(job.as_dict()), 202
