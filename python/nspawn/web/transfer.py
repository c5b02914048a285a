"""Containers that move, over HTTP: a copy beside the original, an archive as a download or as a file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, jsonify, request

from nspawn.images import archive
from nspawn.model.names import parse_container_name
from nspawn.model.progress import Asked, Report
from nspawn.service.jobs import Result
from nspawn.web.events import Streams
from nspawn.web.fields import parse_body, wrong
from nspawn.web.services import Services
from nspawn.web.starting import start_made

_BASE = "/api/v1/containers/<name>"
_CHUNK = 1 << 18
#: Bytes that may wait for a client; fcntl(2), F_SETPIPE_SZ.
_PIPE = 1 << 20


def transfer_routes(services: Services, streams: Streams) -> Blueprint:
    """Clone and export.  Import is an upload (`web.api`)."""
    routes = Blueprint("transfer", __name__)

    @routes.post(f"{_BASE}/clone")
    def clone(name: str) -> tuple[Response, int]:
        body = parse_body(request.get_data())
        new = parse_container_name(body.text("name"))
        start = body.flag("start", False)
        body.finish()
        parse_container_name(name)
        services.containers.get(name)

        def work(report: Report, cancelled: Asked) -> Result:
            moved = services.containers.clone(name, new, report, cancelled)
            notes = (*moved.notes, *(start_made(services, new) if start else ()))
            return Result(value=services.containers.get(new), notes=notes)

        return jsonify(services.jobs.start("clone", new, work).as_dict()), 202

    @routes.post(f"{_BASE}/export")
    def export(name: str) -> tuple[Response, int]:
        body = parse_body(request.get_data())
        path = body.text("path")
        force = body.flag("force", False)
        body.finish()
        if not path.startswith("/"):
            wrong("path", "an absolute path is expected")
        services.containers.get(parse_container_name(name))

        def work(report: Report, cancelled: Asked) -> Result:
            moved = services.containers.export(name, path, report, cancelled, force=force)
            return Result(value=moved, notes=moved.notes)

        return jsonify(services.jobs.start("export", name, work).as_dict()), 202

    @routes.get(f"{_BASE}/export")
    def download(name: str) -> Response:
        services.containers.get(parse_container_name(name))
        return Response(
            _Download(services, name, streams),
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{name}.tar.{archive.compression("")}"'},
        )

    return routes


class _Download:
    """The archive while it is written; a failure breaks the answer off, so that nobody takes it for whole.

    The server calls `close` however the request ends.
    """

    def __init__(self, services: Services, name: str, streams: Streams) -> None:
        self._streams = streams
        self._over = threading.Event()
        self._failed: BaseException | None = None
        with ExitStack() as undo:
            undo.enter_context(streams)
            self._out, into = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, self._out)
            undo.callback(os.close, into)
            _widen(into)
            self._thread = threading.Thread(target=self._pack, args=(services, name, into), name="export")
            self._thread.start()
            undo.pop_all()

    def _pack(self, services: Services, name: str, into: int) -> None:
        try:
            services.containers.export(name, into, _nothing, self._over.is_set)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the archive is not whole)
            self._failed = error
        finally:
            os.close(into)

    def __iter__(self) -> Iterator[bytes]:
        while data := os.read(self._out, _CHUNK):
            yield data
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        """Let go of the container, also in the middle."""
        if self._out >= 0:
            self._over.set()
            os.close(self._out)  # who writes gets EPIPE
            self._out = -1
            self._thread.join()
            self._streams.__exit__(None, None, None)


def _widen(pipe: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:
        pass  # the limit of a user who is not root


def _nothing(_progress: object) -> None:
    pass
