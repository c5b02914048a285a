"""Users and groups of a container, read from its own files without trusting them."""

from __future__ import annotations

import os

from nspawn.errors import NspawnError

_LIMIT = 1 << 20  # bytes read of passwd and group: a hostile rootfs may hold anything there


class User:
    """uid, gid, extra groups and home folder of who runs the command."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def find(text: str, etc: str = "/etc") -> User:
    """The user that `--user` names: "name", "uid", "name:group" or "uid:gid"; "" is root.

    etc: the folder with passwd and group.  NspawnError when a name is not there.
    """
    if not text:
        return User(0, 0, [], "/root")
    name, colon, group = text.partition(":")
    accounts = _table(f"{etc}/passwd", 7)
    entry = next((row for row in accounts if row[0] == name), None)
    if entry is None and name.isdecimal():
        entry = next((row for row in accounts if row[2] == name), None)
    if entry is not None:
        uid, gid, home, login = _number(entry[2]), _number(entry[3]), entry[5] or "/", entry[0]
    elif name.isdecimal():
        uid, gid, home, login = _number(name), 0, "/", ""
    else:
        raise NspawnError(
            f"there is no user {name!r} in the container", hint="See its /etc/passwd, or give a number."
        )
    groups = _table(f"{etc}/group", 4)
    if colon:
        row = next((row for row in groups if row[0] == group), None)
        if row is None and not group.isdecimal():
            raise NspawnError(
                f"there is no group {group!r} in the container", hint="See its /etc/group, or give a number."
            )
        return User(uid, _number(row[2] if row else group), [], home)
    extra = [_number(row[2]) for row in groups if login and login in row[3].split(",")]
    return User(uid, gid, extra, home if home.startswith("/") else "/")


def become(user: User) -> None:
    """Take on the user's groups, group and uid, in this order.  OSError when the kernel refuses."""
    os.setgroups(user.groups[:1024])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _table(path: str, columns: int) -> list[list[str]]:
    try:
        # Not O_NOFOLLOW: the root is the container's by now.  Non-blocking: it may be a FIFO.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return []
    try:
        data = os.read(descriptor, _LIMIT)
    except OSError:
        return []
    finally:
        os.close(descriptor)
    rows = (line.split(":") for line in data.decode("utf-8", "surrogateescape").splitlines())
    return [row for row in rows if len(row) == columns and row[2].isdecimal()]


def _number(text: str) -> int:
    value = int(text) if text.isdecimal() and len(text) <= 10 else -1
    if not 0 <= value < 0xFFFFFFFF:
        raise NspawnError(f"{text!r} is not a user or group number", hint="Use 0 to 4294967294.")
    return value
