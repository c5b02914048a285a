"""A foreground run by the spawner, which has a container half made already: our descriptors travel to it."""

from __future__ import annotations

from nspawn.errors import NspawnError
from nspawn.kernel import unix
from nspawn.model.record import Record, raise_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.layout import Layout
    from nspawn.model.runspec import RunSpec

_SIGINT = 2


def run(spec: RunSpec, layout: Layout, warn: Callable[[str], None]) -> int | None:
    """Run to the end and give the exit status; None when there is no spawner that could do it.

    The container ends with us: the spawner sees our end of the connection close.
    """
    try:
        end = unix.connect(layout.control_socket)
    except OSError:
        return None
    try:
        record = spec.to_record()
        record.add("op", "run")
        data = record.encode()
        if len(data) > unix.LARGEST:
            return None
        try:
            unix.send(end, data, (0, 1, 2))
        except OSError:
            return None
        return _wait(end, warn)
    finally:
        end.close()


def _wait(end: unix.Socket, warn: Callable[[str], None]) -> int | None:
    while True:
        try:
            data, _none = unix.receive(end)
        except KeyboardInterrupt:
            unix.send(end, b"op=signal\0number=%d" % _SIGINT)
            continue
        except ConnectionResetError:
            data = b""
        if not data:
            raise NspawnError(
                "the container's end is not known",
                "the spawner went away",
                "Look at its log: nspawn doctor names it.",
            )
        answer = Record.decode(data)
        if answer.flag("elsewhere"):
            return None
        warning = answer.get("warning")
        if warning is not None:
            warn(answer.text("warning"))
            continue
        raise_error(answer)
        return answer.integer("exit", 1)
