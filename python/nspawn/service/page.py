"""Where the page listens: config.toml, table `page`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.kernel import process
from nspawn.service import config

if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.record import Record

_HOST = "127.0.0.1"


def port(layout: Layout) -> int:
    """The port of the page: `page.port` of config.toml, 8080 by default, 0 for no page.

    Raises what is wrong with the file.
    """
    found = config.load(layout)
    if found.problem is not None:
        raise found.problem
    return found.port


def addresses(number: int) -> list[str]:
    """What the keeper listens on, as HOST:PORT: loopback only."""
    return [f"{_HOST}:{number}", f"[::1]:{number}"] if number else []


def addresses_or_none(layout: Layout) -> list[str]:
    """The addresses of the settings; none when they are wrong: containers start all the same."""
    found = config.load(layout)
    return [] if isinstance(found.problem, UsageError) else addresses(found.port)


def find_own(layout: Layout, answer: Record) -> int:
    """The port on which the page really is ours, before a code is handed to it.

    answer: of the spawner's ping.  Another program may hold the usual port (facts: web, Threats), so our
    sockets are looked up among those that listen (proc_pid_net(5)): the spawner's, too, for it goes on
    without the keeper.  It also listens for containers' questions for names, at the bridge's address.
    """
    ours = _sockets(answer.integer("keeper")) | _sockets(answer.integer("pid"))
    for port_, inode, address in _listening("/proc/net/tcp"):
        if inode in ours and address == _HOST:
            return port_
    again = "reboot" if os.environ.get("ANDROID_ROOT") else "nspawn shutdown && nspawn serve"
    found = trouble(answer)
    if found:
        hint = f"Free the port or set page.port in {layout.config}, then: {again}"
        raise NspawnError("the page is not served", found, hint)
    raise NspawnError("the page is not served", "the spawner was started without it", f"To have it: {again}")


def by_name(answer: Record, number: int) -> bool:
    """Whether the page is ours at every address that `localhost` may mean to a browser.

    answer: of the spawner's ping.  Somebody else may listen at ::1, which browsers try first.
    """
    ours = _sockets(answer.integer("keeper")) | _sockets(answer.integer("pid"))
    return all(
        any(port_ == number and inode in ours for port_, inode, _address in _listening(path))
        for path in ("/proc/net/tcp", "/proc/net/tcp6")
    )


def trouble(answer: Record) -> str:
    """Why the page is not served, and by whom its port is taken; "" when it is.

    answer: of the spawner's ping.
    """
    refused = [value.decode("utf-8", "replace") for value in answer.all("refused")]
    for text in refused:
        number = text.partition(" ")[0].rpartition(":")[2]
        if number.isdigit():
            return f"port {number} is taken{_holder(int(number))}"
    return "; ".join(refused)


def _holder(number: int) -> str:
    """` by NAME (process N)`, when it can be told: sockets of others' network namespaces cannot."""
    wanted = {
        inode
        for path in ("/proc/net/tcp", "/proc/net/tcp6")
        for port_, inode, address in _listening(path)
        if port_ == number and _meets_loopback(address)
    }
    pids = [int(each) for each in os.listdir("/proc") if each.isdigit()] if wanted else []
    # A child has its parent's sockets too, for a moment or for good: the oldest is named.
    holders = [pid for pid in pids if wanted & _sockets(pid)]
    for holder in sorted(holders, key=lambda pid: (process.start_time(pid), pid)):
        try:
            with open(f"/proc/{holder}/comm", encoding="utf-8", errors="replace") as file:
                return f" by {file.read().strip()} (process {holder})"
        except OSError:
            continue
    return ""


def _meets_loopback(address: str) -> bool:
    """Whether a listener there keeps others from 127.0.0.1: one at any address, or just at this one.

    The keeper's own at ::1 does not.
    """
    return address in ("0.0.0.0", "::", _HOST)  # noqa: S104


def _sockets(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _listening(path: str) -> list[tuple[int, str, str]]:
    """(port, inode, address) of each listening socket."""
    from nspawn.model import listening  # not at the start: the service's first processes import this module

    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except OSError:
        return []
    return [(found.port, found.inode, found.address) for found in listening.listeners(text)]
