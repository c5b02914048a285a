"""Images over HTTP: what can be had, what is kept; and the source `image` of a new container."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request

from nspawn.errors import Busy, Unreachable
from nspawn.model import finish, imageref
from nspawn.model.progress import Asked, Cancelled, Report
from nspawn.service.containers import FromImage
from nspawn.web.fields import Fields, parse_body, parse_count, parse_text, wrong
from nspawn.web.services import Services

if TYPE_CHECKING:
    from nspawn.images.blobs import Pruned

BASE = "/api/v1/images"
#: Characters of a search, and of an id.
_LONGEST = 100
#: Seconds that a request waits for an image server or a registry.
_LONGEST_WAIT = 20.0
#: Requests that wait for registries: each keeps a thread.
_MOST_ASKING = 4


def image_routes(services: Services) -> Blueprint:
    """The server's list, the kept images, and what is done with those."""
    routes = Blueprint("images", __name__)
    asking = threading.BoundedSemaphore(_MOST_ASKING)

    @routes.get(BASE)
    def listing() -> Response:
        images = services.images()
        return jsonify(images=[each.as_dict() for each in images.kept()], problems=images.problems())

    @routes.get(f"{BASE}/catalog")
    def catalog() -> Response:
        text = parse_short(request.args.get("search", ""), "search")
        arch = parse_short(request.args.get("arch", ""), "arch")
        cloud = parse_count(request.args.get("cloud", "0"), "cloud", low=0, high=1) == 1
        with _in_time("the image server cannot be asked") as late:
            found = services.images().search(text, _nothing, late, arch=arch, cloud=cloud)
        return jsonify(found.as_dict())

    @routes.get(f"{BASE}/info")
    def info() -> Response:
        reference = imageref.parse(parse_text(request.args.get("reference", ""), "reference"))
        arch = parse_short(request.args.get("arch", ""), "arch")
        if isinstance(reference, imageref.File | imageref.Builtin):
            wrong("reference", "an image that is fetched is expected")
        what = f"{reference} cannot be asked for"
        if not asking.acquire(blocking=False):
            raise Busy(what, f"{_MOST_ASKING} others are being asked for", "Try again in a moment.")
        try:
            with _in_time(what) as late:
                return jsonify(services.images().resolve(reference, _nothing, late, arch=arch))
        finally:
            asking.release()

    @routes.get(f"{BASE}/<image>")
    def one(image: str) -> Response:
        return jsonify(services.images().get(parse_short(image, "image")).as_dict())

    @routes.delete(f"{BASE}/<image>")
    def remove(image: str) -> Response:
        return jsonify(freed(services.images().remove(parse_short(image, "image"))))

    @routes.post(f"{BASE}/prune")
    def prune() -> tuple[Response, int]:
        body = parse_body(request.get_data())
        everything = body.flag("all", False)
        body.finish()

        def work(report: Report, cancelled: Asked) -> dict[str, object]:
            return freed(services.images().prune(report, cancelled, everything=everything))

        return jsonify(services.jobs.start("prune", "", work).as_dict()), 202

    @routes.post(f"{BASE}/verify")
    def verify() -> tuple[Response, int]:
        parse_body(request.get_data()).finish()

        def work(report: Report, cancelled: Asked) -> dict[str, list[str]]:
            return {"damaged": services.images().verify(report, cancelled)}

        return jsonify(services.jobs.start("verify", "", work).as_dict()), 202

    return routes


def parse_image(fields: Fields) -> FromImage:
    """{kind: image, reference, and what `create --image` has as options}."""
    reference = imageref.parse(fields.text("reference"))
    variant = fields.text("variant", "")
    if isinstance(reference, imageref.Builtin):
        wrong(fields.path("reference"), "builtin is a kind of its own")
    if isinstance(reference, imageref.File) and not reference.path.startswith("/"):
        wrong(fields.path("reference"), "an absolute path is expected")
    if variant:
        if not isinstance(reference, imageref.Distribution) or not imageref.is_word(variant):
            wrong(fields.path("variant"), "only a distribution's image has one")
        reference = replace(reference, variant="" if variant == "default" else variant)
    wish = parse_wish(fields)
    arch = parse_short(fields.text("arch", ""), fields.path("arch"))
    return FromImage(reference=reference, arch=arch, wish=wish, keep=fields.flag("keep", False))


def parse_wish(fields: Fields) -> finish.FinishWish:
    """What is done after the unpacking: {password, lock_password, ssh_keys, skip, timezone, locale}."""
    wish = finish.FinishWish(
        password=finish.parse_password(fields.text("password")) if fields.has("password") else None,
        lock=fields.flag("lock_password", False),
        ssh_keys=finish.parse_keys(fields.text("ssh_keys")) if fields.has("ssh_keys") else (),
        skip=finish.parse_skip(fields.texts("skip")),
        timezone=finish.parse_timezone(fields.text("timezone")) if fields.has("timezone") else "",
        locale=finish.parse_locale(fields.text("locale")) if fields.has("locale") else "",
    )
    if wish.password is not None and wish.lock:
        wrong(fields.path("lock_password"), "there is a password as well")
    return finish.check(wish)


def parse_short(text: str, path: str) -> str:
    """A word of a person: short and printable."""
    if len(parse_text(text, path)) > _LONGEST or not text.isprintable():
        wrong(path, f"at most {_LONGEST} characters that can be printed are expected")
    return text


def freed(pruned: Pruned) -> dict[str, object]:
    """What was removed, and why no more could be, in the JSON form."""
    problems = [str(error) for error in pruned.problems]
    return {"count": pruned.count, "bytes": pruned.bytes, "problems": problems}


@contextmanager
def _in_time(what: str) -> Iterator[Asked]:
    """For work that must end soon: gives what it asks whether it is late; Unreachable, with `what`, then."""
    end = time.monotonic() + _LONGEST_WAIT
    try:
        yield lambda: time.monotonic() > end
    except Cancelled:
        raise Unreachable(what, "there was no answer in time", "Try again later.") from None


def _nothing(_progress: object) -> None:
    pass
