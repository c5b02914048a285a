"""Whom to ask: the ways by which a question of somebody with this egress may leave.

On Android that is its own resolver (dnsproxyd), which knows private DNS and VPNs, and where it does not serve
us the servers of the uplink, out of `dumpsys connectivity`.  Elsewhere it is the machine's resolv.conf.  Then
what config.toml names, then 1.1.1.1.
"""

from __future__ import annotations

import errno
import os
import time

from nspawn.layout import on_android, phone
from nspawn.model import dnsservers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.network.names import Egress, Names

PROXY = "/dev/socket/dnsproxyd"
_DUMPSYS = "/system/bin/dumpsys"
_RESOLV_CONF = "/etc/resolv.conf"
#: The servers behind systemd-resolved's own 127.0.0.53.
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
#: Seconds: for a dump; that it is good for; that a silent server is asked last; a resolver without resnsend.
_DUMP_TIME, _DUMP_LIFE, _SILENT, _WITHOUT_PROXY = 5.0, 60.0, 30.0, 300.0
_LARGEST_DUMP = 16 << 20
_LONGEST_LINE = 1 << 18
_MOST_SILENT = 64


class Way:
    """One way to ask.  address: a server's, or "" for Android's resolver, which is told the netid.

    device: the interface that a server must be asked through; "" for any.
    """

    __slots__ = ("address", "device", "netid")

    def __init__(self, address: str, device: str = "", netid: int = 0) -> None:
        self.address = address
        self.device = device
        self.netid = netid


class Dump:
    """A run of `dumpsys connectivity`, read as it comes.  servers: by interface, complete when `done`.

    watched: whether somebody has the descriptor in a poll.

    A dump repeats old states of its networks further down: the first of an interface is the present one.
    """

    __slots__ = ("_rest", "_size", "deadline", "descriptor", "done", "pid", "servers", "watched")

    def __init__(self, environ: Mapping[str, str], now: float) -> None:
        path = phone(environ, _DUMPSYS)
        self.servers: dict[str, tuple[str, ...]] = {}
        self.done = self.watched = False
        self.deadline = now + _DUMP_TIME
        self._rest = b""
        self._size = 0
        self.descriptor, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.pid = os.posix_spawn(
                path,
                [path, "connectivity"],
                environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setsigdef=[13, 15],
            )
        except OSError:
            os.close(self.descriptor)
            raise
        finally:
            os.close(theirs)

    def read(self, forget: Callable[[int], None]) -> None:
        """Take what has come; `done` at the end.  forget: as for end()."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        self._size += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[:_LONGEST_LINE]
        for line in lines if data else [*lines, self._rest]:
            if b"DnsAddresses" in line:
                for interface, servers in dnsservers.of_link_properties(line.decode("utf-8", "replace")):
                    self.servers.setdefault(interface, servers)
        if not data or self._size > _LARGEST_DUMP:
            self.end(forget)

    def end(self, forget: Callable[[int], None]) -> None:
        """Let go of it, whether it is through or not.  forget: called with the descriptor before its end."""
        if not self.done:
            self.done = True
            forget(self.descriptor)
            os.close(self.descriptor)
            try:
                os.kill(self.pid, 9)
            except ProcessLookupError:
                pass
            os.waitpid(self.pid, 0)


class Servers:
    """The ways, as of now.  environ: which world this is; names: who is there, and what is configured."""

    def __init__(
        self, environ: Mapping[str, str], names: Names, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._environ = environ
        self._names = names
        self._clock = clock
        self._android = on_android(environ)
        self._changes = names.changes
        self._files: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
        self._silent: dict[tuple[str, str], float] = {}
        self._proxy_at = 0.0
        self._dumped: dict[str, tuple[str, ...]] = {}
        self._dump_good_until = 0.0
        #: The run of dumpsys that is under way; who waits for it asks plain() again when it is done.
        self.dump: Dump | None = None

    @property
    def proxy(self) -> str:
        """The socket of Android's resolver."""
        return phone(self._environ, PROXY)

    def first(self, egress: Egress) -> tuple[Way, ...] | None:
        """The ways to begin with; None: not known yet."""
        now = self._clock()
        if self._names.changes != self._changes:
            self._changes = self._names.changes
            self._silent.clear()
            self._dump_good_until = self._proxy_at = 0.0
        # Without a number it would ask by the default network, which may not be the one that is meant.
        known = egress.netid or not egress.pinned
        if self._android and known and now >= self._proxy_at:
            return (Way("", netid=egress.netid),)
        return self.plain(egress)

    def without_proxy(self, error: OSError) -> None:
        """Android's resolver does not serve us.  ENOSYS: it never will, until the next update."""
        if error.errno == errno.ENOSYS:
            self._proxy_at = self._clock() + _WITHOUT_PROXY

    def plain(self, egress: Egress) -> tuple[Way, ...] | None:
        """The servers, each with the device that it is asked through; None while dumpsys is being asked."""
        if self._android:
            if not self._look():
                return None
            # 464XLAT: an IPv4 interface stacked on the one that has the servers (facts: network).
            own = self._dumped.get(egress.device) or self._dumped.get(egress.device.removeprefix("v4-"), ())
            servers = own if egress.device else tuple(s for each in self._dumped.values() for s in each)
        else:
            servers = self._of_machine(pinned=egress.pinned)
        ours = self._names.gateways()
        servers = tuple(server for server in servers if server.partition("%")[0] not in ours)
        servers = servers or self._names.servers or dnsservers.LAST_RESORT
        ways = [Way(server, egress.device) for server in servers if dnsservers.is_address(server)]
        now = self._clock()
        ways.sort(key=lambda way: self._silent.get((way.address, way.device), 0.0) > now)
        return tuple(ways)

    def silent(self, way: Way) -> None:
        """It did not answer: others go first for a while."""
        if len(self._silent) >= _MOST_SILENT:
            self._silent.clear()
        self._silent[way.address, way.device] = self._clock() + _SILENT

    def _of_machine(self, *, pinned: bool) -> tuple[str, ...]:
        servers = self._read(_RESOLV_CONF)
        if not pinned:
            return servers
        # A resolver of the machine's own would ask by whatever way it likes.
        outside = tuple(server for server in servers if not dnsservers.is_loopback(server))
        if servers and not outside:
            return self._read(_BEHIND_STUB)
        return outside

    def _read(self, path: str) -> tuple[str, ...]:
        path = phone(self._environ, path)
        try:
            found = os.stat(path)
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            known = self._files.get(path)
            if known is not None and known[0] == stamp and time.time() - found.st_mtime > 1.0:
                return known[1]
            with open(path, encoding="utf-8", errors="replace") as file:
                servers = dnsservers.of_resolv_conf(file.read(1 << 16))
        except OSError:
            return ()
        self._files[path] = (stamp, servers)
        return servers

    def _look(self) -> bool:
        """Whether the uplinks' servers are known; else they are being asked for."""
        now = self._clock()
        if self.dump is not None and self.dump.done:
            self._dumped, self.dump = self.dump.servers, None
            self._dump_good_until = now + _DUMP_LIFE
        if self.dump is not None:
            return False
        if now < self._dump_good_until:
            return True
        try:
            self.dump = Dump(self._environ, now)
        except OSError:
            self._dumped, self._dump_good_until = {}, now + _DUMP_LIFE
            return True
        return False
