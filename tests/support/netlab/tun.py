"""Real TUN devices in two namespaces, joined as a VPN's app joins them; when it ends, both are gone."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import ExitStack

from tests.support.netlab.loop import Loop
from tests.support.netlab.spaces import Space

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
#: At one go; the loop has others to serve.
_BURST = 64


class _Tun:
    """One device; it exists as long as this end of it is open."""

    def __init__(self, space: Space, name: str) -> None:
        with space.inside():
            self._end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
                fcntl.ioctl(self._end, _TUNSETIFF, request)
            except BaseException:
                os.close(self._end)
                raise

    def fileno(self) -> int:
        return self._end

    def close(self) -> None:
        os.close(self._end)


class Tunnel:
    """What goes into one device comes out of the other.  passed: packets in each direction."""

    def __init__(self, loop: Loop, near: tuple[Space, str], far: tuple[Space, str]) -> None:
        self.passed = [0, 0]
        with ExitStack() as stack:
            ends = []
            for space, name in (near, far):
                ends.append(_Tun(space, name))
                stack.callback(ends[-1].close)
            self._join(loop, stack, ends, 0)
            self._join(loop, stack, ends, 1)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def _join(self, loop: Loop, stack: ExitStack, ends: list[_Tun], number: int) -> None:
        source, sink = ends[number], ends[1 - number]

        def pump() -> None:
            try:
                for _ in range(_BURST):
                    os.write(sink.fileno(), os.read(source.fileno(), 65535))
                    self.passed[number] += 1
            except OSError:
                # Nothing to read; or the other device is down, or full: a packet is lost.
                return

        loop.add(source, pump)
        stack.callback(loop.remove, source)
