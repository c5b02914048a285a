"""A stream of datagrams to the world by both families: what a program in a container does all the time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.netlab.spaces import Space
from tests.support.netlab.topology import WORLD4, WORLD6

#: Between two rounds, in seconds.
_PAUSE = 0.001


@contextmanager
def streaming(space: Space, port: int) -> Iterator[None]:
    """For the block, to a port of the world; new connections by TCP are asked for as well."""
    ended = threading.Event()
    with ExitStack() as stack:
        ends = []
        for family, host in ((socket.AF_INET, WORLD4), (socket.AF_INET6, WORLD6)):
            ends.append((stack.enter_context(space.socket(family, socket.SOCK_DGRAM)), host))
        thread = threading.Thread(target=_send, args=(space, ends, port, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(10)


def _send(space: Space, ends: list[tuple[socket.socket, str]], port: int, ended: threading.Event) -> None:
    rounds = 0
    while not ended.wait(_PAUSE):
        rounds += 1
        for end, host in ends:
            # Each datagram may find another way, or none.
            _try(end, host, port)
            if rounds % 20 == 0:
                with space.socket(end.family, socket.SOCK_STREAM) as call:
                    call.setblocking(False)
                    _try(call, host, port)


def _try(end: socket.socket, host: str, port: int) -> None:
    try:
        if end.type == socket.SOCK_DGRAM:
            end.sendto(b"x", (host, port))
        else:
            end.connect((host, port))
    except OSError:
        return
