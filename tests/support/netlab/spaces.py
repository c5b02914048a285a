"""Network namespaces with names, and this thread's way into them."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import Result, check, run

_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


class Space:
    """A network namespace, by a handle that keeps it.

    title: how tests call it; name: below /run/netns, "" for one that has no name there.
    lock: of iptables here, since the machine's is the machine's.
    """

    def __init__(self, title: str, path: Path, lock: Path) -> None:
        self.title = title
        self.path = path
        self.name = path.name if path.parent == _NAMES else ""
        self._lock = lock
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __repr__(self) -> str:
        return f"Space({self.title})"

    def close(self) -> None:
        os.close(self._handle)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and what it starts, is in the namespace; its old sockets stay where they were."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._handle)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def socket(self, family: int, kind: int) -> socket.socket:
        with self.inside():
            return socket.socket(family, kind)

    def run(self, *words: str | Path, stdin: str = "", timeout: float = 20.0) -> Result:
        with self.inside():
            return run(list(words), stdin=stdin.encode(), timeout=timeout, environment=self._environment())

    def check(self, *words: str | Path, stdin: str = "") -> str:
        """Run a program in it and demand status 0; what it printed."""
        result = self.run(*words, stdin=stdin)
        assert result.status == 0, f"in {self.title}: {result}\n{stdin}"
        return result.out

    def ip(self, *commands: str, family: int = 0) -> None:
        """Several `ip` commands by one process.  family: 4 or 6; 0 as each command's words tell."""
        if commands:
            self.check("ip", *([f"-{family}"] if family else []), "-batch", "-", stdin="\n".join(commands))

    def ip_forgiving(self, *commands: str, family: int = 0) -> None:
        """The same, where some of them may have nothing to do."""
        words = ["ip", *([f"-{family}"] if family else []), "-force", "-batch", "-"]
        self.run(*words, stdin="\n".join(commands))

    def sysctl(self, **values: str) -> None:
        """Write settings.  In a name `__` stands for the slash: ipv4__ip_forward="1"."""
        with self.inside():
            for name, value in values.items():
                Path("/proc/sys/net", *name.split("__")).write_text(value)

    def setting(self, path: str) -> str:
        """A value below /proc/sys/net."""
        with self.inside():
            return Path("/proc/sys/net", path).read_text().strip()

    def interfaces(self) -> list[str]:
        with self.inside():
            return [name for _, name in socket.if_nameindex()]

    def number_of(self, interface: str) -> int:
        with self.inside():
            return socket.if_nametoindex(interface)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "XTABLES_LOCKFILE": str(self._lock),
        }


def make(prefix: str, titles: Sequence[str], lock: Path) -> dict[str, Space]:
    """New namespaces, named PREFIX-TITLE, with their loopback up."""
    check(["ip", "-batch", "-"], stdin="".join(f"netns add {prefix}-{title}\n" for title in titles).encode())
    found = {title: Space(title, _NAMES / f"{prefix}-{title}", lock) for title in titles}
    for space in found.values():
        # Duplicate address detection takes a second or two before a link-local address may be used.
        space.sysctl(ipv6__conf__default__accept_dad="0")
        # No phone has br_netfilter: where a kernel has it built in, each namespace begins with it.
        for program in ("iptables", "ip6tables"):
            with space.inside():
                path = Path(f"/proc/sys/net/bridge/bridge-nf-call-{program}")
                if path.exists():
                    path.write_text("0")
        space.ip("link set lo up")
    return found


def remove(spaces: Sequence[Space]) -> None:
    """Let go of them.  Once their last process and socket is gone, so are they."""
    for space in spaces:
        space.close()
    names = "".join(f"netns del {space.name}\n" for space in spaces if space.name)
    run(["ip", "-force", "-batch", "-"], stdin=names.encode())


def of_process(pid: int) -> Space:
    """The namespace in which a process is, a container's for instance."""
    return Space(f"process {pid}", Path(f"/proc/{pid}/ns/net"), Path("/dev/null"))


def sweep(prefix: str) -> None:
    """Remove namespaces of labs whose process was killed.  Names are PREFIX, its PID, a dot and more."""
    if not _NAMES.is_dir():
        return
    for name in os.listdir(_NAMES):
        pid = name.removeprefix(prefix).partition(".")[0]
        if name.startswith(prefix) and pid.isdecimal() and not Path("/proc", pid).exists():
            run(["ip", "netns", "del", name])


def _setns(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")
