"""Our terminal and another one, joined: keys go there, what it shows comes here, and so does the size."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import termios
import tty
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_CHUNK = 16 * 1024
_DETACH = 0x1D  # Ctrl-]
_DETACH_TIMES = 3


def peer_of(master: int) -> int:
    """The other end of a PTY, opened through the master: no path, nothing to be fooled by."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return slave


def size(descriptor: int) -> tuple[int, int]:
    """(rows, columns) of a terminal; 24 and 80 when it does not tell."""
    try:
        rows, columns, _x, _y = struct.unpack("4H", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 24, 80
    return rows or 24, columns or 80


def set_size(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Every key passed on as it is; the old settings come back at the end, whatever ends it."""
    try:
        old = termios.tcgetattr(descriptor)
    except termios.error:
        yield
        return
    tty.setraw(descriptor, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, old)


@contextmanager
def wakes() -> Iterator[int]:
    """A descriptor that becomes readable when our terminal changes its size or a child of ours ends."""
    wake, ours = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ours, False)
    numbers = (signal.SIGWINCH, signal.SIGCHLD)
    old = [signal.signal(number, lambda _number, _frame: None) for number in numbers]
    old_wake = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(old_wake)
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)
        os.close(wake)
        os.close(ours)


class Keys:
    """Finds Ctrl-] three times in a row; holds the first ones back until it is clear what they are."""

    def __init__(self) -> None:
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether to detach)."""
        passed = bytearray()
        for byte in data:
            if byte == _DETACH:
                self._held += 1
                if self._held == _DETACH_TIMES:
                    return bytes(passed), True
                continue
            passed += bytes([_DETACH]) * self._held
            self._held = 0
            passed.append(byte)
        return bytes(passed), False


def run(master: int, child: int) -> None:
    """Join our standard input and output with the PTY until the child ends, or its other end is closed.

    What the child leaves in the background may hold the terminal open: it is not waited for.  Input that
    the PTY does not take yet waits here, and while it does nothing more is read: a long paste must not
    block us, for then what it makes the child show would not be taken either.
    """
    typed = bytearray()
    reading = True
    os.set_blocking(master, False)
    with raw(0), wakes() as wake:
        set_size(master, *size(0))
        while True:
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            poll.register(master, select.POLLIN | (select.POLLOUT if typed else 0))
            if reading and not typed:
                poll.register(0, select.POLLIN)
            ready = dict(poll.poll())
            if wake in ready:
                os.read(wake, 64)
                set_size(master, *size(0))
                if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    while _show(master):
                        pass
                    return
            if ready.get(master, 0) & ~select.POLLOUT and _show(master) is False:
                return
            if 0 in ready:
                data = os.read(0, _CHUNK)
                reading = bool(data)
                typed += data
            if typed:
                _type(master, typed)


def _show(master: int) -> bool | None:
    """One piece of what the PTY shows; False at its end, None when there is nothing just now."""
    try:
        data = os.read(master, _CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return False
        raise
    write_all(1, data)
    return bool(data)


def _type(master: int, typed: bytearray) -> None:
    """What the PTY takes of the input, which is taken from it."""
    try:
        del typed[: os.write(master, typed)]
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        typed.clear()


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
