"""A foreground run by the spawner, which has a container half made already: our descriptors travel to it.

The command line travels as it is and is parsed there: this module is the whole client, and imports only
what is in the interpreter already.
"""

from __future__ import annotations

import _socket
import posix
import sys

from nspawn.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping
else:
    import _signal  # the part of `signal` without enum

#: SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM
_HANDED_ON = (1, 2, 3, 10, 12, 15)
_LARGEST = 160 * 1024
_LONGEST_PATH = 107  # of sun_path, unix(7)


def run(words: list[str], environ: Mapping[bytes, bytes], *, mini: bool) -> int | None:
    """Run to the end and give the exit status; None when there is no spawner that could do it.

    The container ends with us: the spawner sees our end of the connection close.
    """
    given = {key.decode("utf-8", "surrogateescape"): environ[key] for key in environ}
    layout = Layout.from_environment({key: given[key].decode("utf-8", "surrogateescape") for key in given})
    path = layout.control_socket.encode("utf-8", "surrogateescape")
    try:
        folder = posix.getcwdb()
    except OSError:
        return None  # it was removed: a path may mean nothing
    fields = [b"op=run", b"cwd=" + folder, b"term=" + given.get("TERM", b""), b"mini=%d" % mini]
    fields += [b"word=" + word.encode("utf-8", "surrogateescape") for word in words]
    message = b"\0".join(fields)
    if len(path) > _LONGEST_PATH or len(message) > _LARGEST:
        return None
    end = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    try:
        end.connect(path)
        end.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError:
        return None
    return _wait(end, "nspawn-mini" if mini else "nspawn")


def _wait(end: _socket.socket, program: str) -> int | None:
    def hand_on(number: int, _frame: object) -> None:
        end.send(b"op=signal\0number=%d" % number)

    for number in _HANDED_ON:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup
            _signal.signal(number, hand_on)
    while True:
        try:
            data = end.recv(_LARGEST)
        except ConnectionResetError:
            data = b""
        if data.startswith(b"exit="):
            return int(data[5:])
        if data.startswith(b"elsewhere="):
            return None
        status = _tell(data, program)
        if status is not None:
            return status


def _tell(data: bytes, program: str) -> int | None:
    """Show a warning, or the error that ended it; then its status."""
    from nspawn.errors import NspawnError
    from nspawn.model.record import Record, raise_error

    record = Record.decode(data)
    try:
        if record.get("warning") is not None:
            sys.stderr.write(f"{program}: {record.text('warning')}\n")
            sys.stderr.flush()
            return None
        raise_error(record)
        raise NspawnError(
            "the container's end is not known",
            "the spawner went away",
            "Look at its log: nspawn doctor names it.",
        )
    except NspawnError as error:
        sys.stderr.write(error.render(program) + "\n")
        return error.status
