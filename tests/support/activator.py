"""A stand-in for the spawner: holds the forwarder's sockets, and starts it at the first packet.

    activator.py FORWARDER LOG ADDRESS...

Each time the forwarder ends, a line `ended STATUS` goes to LOG; `started PID` when it begins.
"""

from __future__ import annotations

import os
import select
import socket
import sys


def _bound(kind: socket.SocketKind, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = socket.socket(family, kind)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    if family == socket.AF_INET6:
        end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    end.bind((address, 53))
    if kind == socket.SOCK_STREAM:
        end.listen(64)
    end.setblocking(False)
    return end


def main() -> None:
    forwarder, log, *addresses = sys.argv[1:]
    ends = [_bound(kind, it) for it in addresses for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    high = [os.dup2(end.fileno(), 100 + number) for number, end in enumerate(ends)]
    environment = {**os.environ, "NSPAWN_LISTEN_FDS": str(len(ends))}
    with open(log, "a", buffering=1, encoding="ascii") as lines:
        lines.write("ready\n")
        while True:
            select.select(ends, [], [])
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-E", forwarder],
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, it, 3 + number) for number, it in enumerate(high)],
            )
            lines.write(f"started {pid}\n")
            _, status = os.waitpid(pid, 0)
            lines.write(f"ended {os.waitstatus_to_exitcode(status)}\n")


main()
