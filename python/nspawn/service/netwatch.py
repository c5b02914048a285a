"""What changes in the network, told as it happens.  Nothing polls: rtnetlink(7) says when to look."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Links, addresses, routes and rules of both families (RTMGRP_*; IPv6's rules have no bit of a name).
_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
#: Seconds without another event before it is looked at; at most, from the first event on.
_QUIET = 0.03
_LONGEST = 0.25


class Changes:
    """A socket on which the kernel tells that something has changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, _GROUPS))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def wait(self) -> None:
        """Return when something has changed and it is quiet again."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll()
        end = time.monotonic() + _LONGEST
        while True:
            self._drain()
            left = min(_QUIET, end - time.monotonic())
            if left <= 0 or not poll.poll(left * 1000):
                return

    def _drain(self) -> None:
        try:
            while self._socket.recv(1 << 16):
                pass
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                raise


def watch(look: Callable[[], dict[str, Any]]) -> Iterator[list[str]]:
    """The lines of each change, without end.  look: the status as JSON has it."""
    changes = Changes()
    try:
        before = look()
        yield []
        while True:
            changes.wait()
            after = look()
            lines = differences(before, after)
            before = after
            if lines:
                yield lines
    finally:
        changes.close()


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each change from one status to the next."""
    lines = []
    if before["up"] != after["up"]:
        lines.append("the network is up" if after["up"] else "the network is down")
    lines += _uplinks(_by(before["uplinks"], "name"), _by(after["uplinks"], "name"))
    if before["free"] != after["free"]:
        lines.append(f"containers without a pin: {after['free']['why']}")
    lines += _containers(_by(before["containers"], "owner"), _by(after["containers"], "owner"))
    if before["ipv6"] != after["ipv6"]:
        lines.append(f"IPv6: {after['ipv6']['mode']}, {after['ipv6']['why']}")
    old = [note["what"] for note in before["notes"]]
    new = [note["what"] for note in after["notes"]]
    lines += [f"note: {_note(note)}" for note in after["notes"] if note["what"] not in old]
    lines += [f"no longer: {what}" for what in old if what not in new]
    return lines


def _by(items: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {item[key]: item for item in items}


def _note(note: Mapping[str, str]) -> str:
    return f"{note['what']}: {note['why']}" if note["why"] else note["what"]


def _uplinks(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in before:
        if name not in after:
            yield f"uplink {name} is gone"
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            yield f"uplink {name} ({now['kind']}) is there: {_state(now)}"
        elif _state(was) != _state(now):
            yield f"uplink {name} ({now['kind']}): {_state(now)}"
        elif was["default"] != now["default"] and now["default"]:
            yield f"uplink {name} ({now['kind']}) is the default now"


def _state(uplink: Mapping[str, Any]) -> str:
    families = [name for key, name in (("ip4", "IPv4"), ("ip6", "IPv6")) if uplink[key]]
    return ", ".join(each for each in (uplink["state"], " and ".join(families), uplink["why"]) if each)


def _containers(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for owner, was in before.items():
        if was["running"] and not after.get(owner, {"running": False})["running"]:
            yield f"{owner} has stopped"
    for owner, now in after.items():
        found = before.get(owner)
        if not now["running"]:
            continue
        if found is None or not found["running"]:
            yield f"{owner} has started with {now['ip4']}: {now['path']['why']}"
        elif found["path"] != now["path"]:
            yield f"{owner}: {now['path']['why']}"
