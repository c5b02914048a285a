"""The accounts of a root file system: root's password, the groups that may open sockets."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

from nspawn.images import sha512crypt
from nspawn.images.tree import Odd, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nspawn.model.finish import FinishWish, HostFacts

_PASSWD, _SHADOW, _GROUP, _GSHADOW = "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"
#: Without 0, 1, i, l, o, which look alike; without capitals, which a phone's keyboard hides.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
#: A password that nothing matches.  Not "!": OpenSSH takes that for an account which keys cannot open either.
_LOCKED = "*"
#: Android's groups by their numbers, and their names there (facts: quirks).
_GROUPS = ((3003, "inet"), (3004, "net_raw"), (3005, "net_admin"))
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_FIRST_USER, _LAST_USER = 1000, 59999
_EXTRA = re.compile(
    r"^[ \t]*(EXTRA_GROUPS|ADD_EXTRA_GROUPS)[ \t]*=[ \t]*\"?([^\"\n]*)\"?[ \t]*$", re.MULTILINE
)


def make_password() -> str:
    """A random one, to be typed on whatever keyboard: three times four characters, 59 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))


def set_password(tree: Tree, wish: FinishWish, note: Callable[[str], None]) -> list[str]:
    """Give root a password; it in a list, or none when it is locked, or there is no root."""
    accounts = _rows(tree, _PASSWD)
    if accounts is None:
        note(f"there is no {_PASSWD}: nobody can log in")
        return []
    root = next((row for row in accounts if row[0] == "root" and len(row) == 7), None)
    if root is None:
        raise Odd(f"{_PASSWD} has no root")
    password = "" if wish.lock else make_password() if wish.password is None else wish.password
    secret = _LOCKED if wish.lock else sha512crypt.crypt(password)
    shadow = _rows(tree, _SHADOW) or []
    today = str(int(time.time()) // 86400)
    line = next((row for row in shadow if row[0] == "root" and len(row) == 9), None)
    if line is None:
        shadow = [row for row in shadow if row[0] != "root"]
        shadow.insert(0, ["root", secret, today, "0", "99999", "7", "", "", ""])
    else:
        line[1:3] = [secret, today]
    group = next((row[2] for row in _rows(tree, _GROUP) or [] if row[0] == "shadow" and len(row) > 2), "0")
    _save(tree, _SHADOW, shadow, mode=0o640, group=int(group) if group.isdecimal() and len(group) < 6 else 0)
    if root[1] != "x":
        root[1] = "x"  # only then /etc/shadow counts, passwd(5)
        _save(tree, _PASSWD, accounts)
    return [password] if password else []


def add_groups(tree: Tree, facts: HostFacts) -> bool:
    """Where the kernel lets only Android's groups open sockets: root and the people in them, `_apt` too."""
    if not facts.groups:
        return False
    groups, accounts = _rows(tree, _GROUP), _rows(tree, _PASSWD)
    if groups is None or accounts is None:
        return False
    members = ["root", *(row[0] for row in accounts if _is_person(row))]
    shadow = _rows(tree, _GSHADOW)
    names = []
    for number, name in _GROUPS:
        row = next((row for row in groups if len(row) == 4 and row[2] == str(number)), None)
        if row is None:
            if any(row[0] == name for row in groups):
                name = f"aid_{name}"
            row = [name, "x", str(number), ""]
            groups.append(row)
        row[3] = _joined(row[3], members)
        names.append(row[0])
        if shadow is not None:
            hidden = next((each for each in shadow if each[0] == row[0] and len(each) == 4), None)
            if hidden is None:
                hidden = [row[0], "!", "", ""]
                shadow.append(hidden)
            hidden[3] = row[3]
    _save(tree, _GROUP, groups)
    if shadow is not None:
        _save(tree, _GSHADOW, shadow, mode=0o640)
    for row in accounts:
        if row[0] == "_apt" and len(row) == 7:
            row[3] = str(_GROUPS[0][0])  # apt drops all groups but the first when it fetches
            _save(tree, _PASSWD, accounts)
    _tell_adduser(tree, names[:2])
    return True


def _tell_adduser(tree: Tree, names: Sequence[str]) -> None:
    """Users who are added later get the groups too, adduser.conf(5)."""
    path = "/etc/adduser.conf"
    text = tree.text(path)
    if text is None:
        return
    found = dict(_EXTRA.findall(text))
    groups = " ".join(dict.fromkeys([*found.get("EXTRA_GROUPS", "users").split(), *names]))
    rest = _EXTRA.sub("", text).rstrip("\n")
    tree.write(path, f'{rest}\nADD_EXTRA_GROUPS=1\nEXTRA_GROUPS="{groups}"\n')


def _is_person(row: Sequence[str]) -> bool:
    if len(row) != 7 or not row[2].isdecimal() or len(row[2]) > 9 or not _USER.fullmatch(row[0]):
        return False
    return _FIRST_USER <= int(row[2]) <= _LAST_USER


def _joined(members: str, more: Sequence[str]) -> str:
    return ",".join(dict.fromkeys([*(name for name in members.split(",") if name), *more]))


def _rows(tree: Tree, path: str) -> list[list[str]] | None:
    """The lines of the file, in their fields; None when there is no such file."""
    text = tree.text(path)
    return None if text is None else [line.split(":") for line in text.splitlines() if line]


def _save(tree: Tree, path: str, rows: Sequence[Sequence[str]], *, mode: int = 0o644, group: int = 0) -> None:
    tree.write(path, "".join(f"{':'.join(row)}\n" for row in rows), mode, group=group)
