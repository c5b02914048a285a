"""The web process: waitress on sockets that were opened by somebody else, gone after a while without work.

The spawner holds the listening sockets and starts this process when a connection arrives.  Connections that
were not accepted stay in those sockets' queues for the next process, so leaving loses none.
"""

from __future__ import annotations

import functools
import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NoReturn

from waitress import wasyncore
from waitress.server import create_server

from nspawn.container.client import Client
from nspawn.layout import Layout
from nspawn.service import netknown
from nspawn.service.access import SESSION_SECONDS, Access
from nspawn.service.containers import Containers
from nspawn.service.guard import OwnGuard
from nspawn.service.jobs import Jobs
from nspawn.service.readings import Readings
from nspawn.web.app import create_app
from nspawn.web.auth import Gate, bearer_of
from nspawn.web.connection import gated_channel
from nspawn.web.page import web_root
from nspawn.web.services import Described, ImagesPort, NetworkPort, Services

DEFAULT_IDLE = 600.0
DEFAULT_PORT = 8080
FIRST_FD = 3
THREADS = 32
#: Bytes of the largest tarball that may be uploaded.
LARGEST_UPLOAD = 64 * 1024**3
#: Seconds after which a connection without a request is closed.
QUIET = 60.0
#: Seconds after which a client that takes none of its answer is given up (a frozen tab holds a thread).
STALLED = 120.0


class WebServer:
    """Serves until nothing happened for a while.

    sockets: listening TCP sockets.  idle: seconds; infinity stays.  busy: whether work goes on that no
    connection shows.  knows: whether an Authorization header is valid.  folder: keeps large bodies.
    """

    def __init__(
        self,
        application: Any,
        sockets: list[socket.socket],
        *,
        idle: float,
        busy: Callable[[], bool],
        knows: Callable[[str], bool],
        folder: str,
    ) -> None:
        self._map: dict[int, Any] = {}
        self._idle = idle
        self._busy = busy
        tempfile.tempdir = folder
        create_server(
            application,
            map=self._map,
            sockets=sockets,
            threads=THREADS,
            ident="",
            # Notices a client's end while its request runs; without it a silent stream keeps its thread.
            channel_request_lookahead=1,
            channel_timeout=int(QUIET),
            cleanup_interval=1,
            connection_limit=256,
            outbuf_high_watermark=64 * 1024,
            max_request_header_size=32 * 1024,
            max_request_body_size=LARGEST_UPLOAD,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
        )
        self._servers = [entry for entry in self._map.values() if hasattr(entry, "active_channels")]
        channel = gated_channel(knows, folder)
        for server in self._servers:
            server.channel_class = channel

    def run(self) -> None:
        """Return after `idle` seconds without a connection's sign of life and without work."""
        last = time.time()
        while True:
            now = time.time()
            self._give_up_stalled(now)
            quiet_at = min((self._quiet_at(channel) for channel in self._channels()), default=now + 3600.0)
            wasyncore.poll2(max(0.0, min(last + self._idle, quiet_at) - now) + 0.01, self._map)
            woken = time.time()
            if woken < min(last + self._idle, quiet_at):
                last = woken
            elif woken >= last + self._idle:
                # A connection that was accepted in this very moment has sent nothing yet: it counts too.
                fresh = any(channel.last_activity > last for channel in self._channels())
                if not (fresh or self._has_work() or self._has_input()):
                    return
                last = woken

    def _channels(self) -> list[Any]:
        return [channel for server in self._servers for channel in list(server.active_channels.values())]

    def _quiet_at(self, channel: Any) -> float:
        """When this connection needs a look though nothing arrives on it (Unix time)."""
        if channel.requests:
            return float(channel.last_activity) + STALLED if channel.total_outbufs_len else float("inf")
        return float(channel.last_activity) + QUIET + 1.0

    def _give_up_stalled(self, now: float) -> None:
        for channel in self._channels():
            if channel.total_outbufs_len and channel.last_activity + STALLED <= now:
                channel.handle_close()

    def _has_work(self) -> bool:
        """A request in hand, half received or not yet sent, or a job."""
        return self._busy() or any(
            channel.requests or channel.request is not None or channel.total_outbufs_len
            for channel in self._channels()
        )

    def _has_input(self) -> bool:
        """Bytes or connections that arrived since the last look."""
        poll = select.poll()
        for entry in [*self._channels(), *self._servers]:
            poll.register(entry.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))


def inherited_sockets(count: int, first: int = FIRST_FD) -> list[socket.socket]:
    """The listening sockets that were handed over as descriptors first, first + 1, ..."""
    found = []
    for fd in range(first, first + count):
        os.set_inheritable(fd, False)
        found.append(socket.socket(fileno=fd))
    return found


def own_sockets(port: int) -> list[socket.socket]:
    """New listening sockets on this machine's own addresses (a start without the spawner)."""
    ready = [_listen(socket.AF_INET, "127.0.0.1", port)]
    try:
        ready.append(_listen(socket.AF_INET6, "::1", ready[0].getsockname()[1]))
    except OSError:
        pass  # a machine without IPv6
    return ready


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen(1024)
    return made


def _leave(_signal: int, _frame: object) -> NoReturn:
    # Threads are daemons and hold nothing that a restart does not clean: no reason to wait for them.
    os._exit(0)


def open_services(layout: Layout) -> Services:
    """The real use cases of this layout."""
    client = Client(layout)

    @functools.cache
    def images() -> ImagesPort:
        # Seldom asked for; one, because it keeps the list of the server for a while.
        from nspawn.service.imagestore import Images

        return Images(layout)

    return Services(
        containers=Containers(layout, client),
        images=images,
        access=Access(layout),
        jobs=Jobs(),
        guard=OwnGuard(layout),
        network=lambda: _network(layout, client),
        network_summary=lambda: netknown.summary(netknown.load(layout)),
        host=lambda: _host(layout),
        readings=lambda: Readings(layout),
        watch=client.watch,
        root=layout.root,
        session_seconds=SESSION_SECONDS,
    )


def _host(layout: Layout) -> Described:
    # Seldom asked for, and it imports much.
    from nspawn.service import host

    return host.report(layout)


def _network(layout: Layout, client: Client) -> NetworkPort:
    # Seldom asked for, and it imports much.
    from nspawn.service.network import Network

    return Network(layout, client)


def main() -> int:
    """Serve with what the environment says; returns the process's exit status.

    NSPAWN_ROOT: the state's root.  NSPAWN_LISTEN_FDS: how many listening sockets begin at descriptor 3
    (1 when unset; 0 opens them here, on NSPAWN_WEB_PORT).  NSPAWN_WEB_IDLE: seconds.
    """
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="web: %(levelname)s %(message)s")
    # It counts a request as waiting when no thread has begun to wait for it yet: true of every first one.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    layout = Layout.from_environment(os.environ)
    count = int(os.environ.get("NSPAWN_LISTEN_FDS", "1"))
    port = int(os.environ.get("NSPAWN_WEB_PORT", str(DEFAULT_PORT)))
    sockets = inherited_sockets(count) if count else own_sockets(port)
    services = open_services(layout)
    gate = Gate(services.access, [entry.getsockname()[1] for entry in sockets])
    folder = os.environ.get("TMPDIR", f"{layout.run}/tmp")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    server = WebServer(
        create_app(services, gate=gate, webroot=web_root()),
        sockets,
        idle=float(os.environ.get("NSPAWN_WEB_IDLE", DEFAULT_IDLE)),
        busy=lambda: services.jobs.busy,
        knows=lambda header: gate.knows(bearer_of(header)),
        folder=folder,
    )
    server.run()
    logging.shutdown()
    # The workers only wait; nothing is left that an orderly end of the interpreter would do.
    os._exit(0)
