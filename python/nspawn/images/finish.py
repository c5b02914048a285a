"""What is done with a root file system after it was unpacked: named steps, each of which may be left out.

A step that cannot be done leaves a note, and the others go on: a system with an odd /etc still is a system.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from nspawn.images import steps_accounts, steps_place
from nspawn.images.tree import Odd, Tree
from nspawn.model.finish import STEPS, Finished, FinishWish, HostFacts
from nspawn.model.progress import Progress, Report

if TYPE_CHECKING:
    from collections.abc import Callable

_PHASE = "finishing"
_SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_MACHINE_ID = "/etc/machine-id"
#: Where D-Bus had its own before systemd.
_DBUS_ID = "/var/lib/dbus/machine-id"
_FIRST = "# Written by nspawn.\n"
#: What else a container must leave alone; the units are masked in its /run, at each start.
_JOURNALD = "[Journal]\nReadKMsg=no\nAudit=no\n"  # /dev/kmsg and the audit socket are the host's
_LOGIND = """\
[Login]
HandlePowerKey=ignore
HandleSuspendKey=ignore
HandleHibernateKey=ignore
HandleLidSwitch=ignore
"""
_DROP_INS = (
    ("/etc/systemd/journald.conf.d/nspawn.conf", _JOURNALD),
    ("/etc/systemd/logind.conf.d/nspawn.conf", _LOGIND),
)


def finish(target: str, wish: FinishWish, facts: HostFacts, report: Report) -> Finished:
    """Do every step in the root file system in the folder `target`; what came of each."""
    notes: list[str] = []
    outcomes: list[tuple[str, str]] = []
    passwords: list[str] = []

    def password(tree: Tree, note: Note) -> bool:
        found = steps_accounts.set_password(tree, wish, note)
        passwords.extend(found)
        return bool(found) or wish.lock or wish.password is not None

    steps: dict[str, Step] = {
        "resolv.conf": lambda tree, _note: _resolv(tree, wish, facts),
        "password": password,
        "ssh-keys": lambda tree, _note: _ssh_keys(tree, wish),
        "machine-id": lambda tree, _note: _machine_id(tree),
        "groups": lambda tree, _note: steps_accounts.add_groups(tree, facts),
        "systemd": lambda tree, _note: _systemd(tree),
        "locale": lambda tree, note: steps_place.set_locale(tree, wish, facts, note),
        "timezone": lambda tree, note: steps_place.set_timezone(tree, wish, facts, note),
    }
    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        tree = Tree(root)
        for number, name in enumerate(STEPS):
            report(Progress(phase=_PHASE, done=number, total=len(STEPS)))
            outcomes.append((name, "off" if name in wish.skip else _do(name, steps[name], tree, notes)))
    finally:
        os.close(root)
    random = passwords[0] if passwords and wish.password is None and not wish.lock else None
    return Finished(password=random, notes=tuple(notes), steps=tuple(outcomes))


if TYPE_CHECKING:
    Note = Callable[[str], None]
    Step = Callable[[Tree, Note], bool]


def _do(name: str, step: Step, tree: Tree, notes: list[str]) -> str:
    try:
        return "done" if step(tree, lambda text: notes.append(f"{name}: {text}")) else "unneeded"
    except Odd as error:
        why = str(error)
    except OSError as error:
        why = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    except (ValueError, LookupError) as error:
        why = f"something in it is not as usual ({error})"  # an odd image is no reason to have none
    notes.append(f"{name}: left as it is: {why}")
    return "failed"


def renew_machine_id(root: int) -> bool:
    """Give the root file system (a descriptor) an id of its own, where it has one; whether it has."""
    try:
        return _machine_id(Tree(root))
    except (Odd, OSError):
        return False


def _resolv(tree: Tree, wish: FinishWish, facts: HostFacts) -> bool:
    """With the host's network nothing writes it at a start; with its own, each start does.

    A link to what a resolver of the image's own would write is replaced too, as each start would: without
    that resolver it leads nowhere, and with it a plain file is where it reads its servers.
    """
    if wish.network != "host" or not facts.resolv or not tree.exists("/etc"):
        return False
    tree.write("/etc/resolv.conf", facts.resolv, here=True)
    return True


def _ssh_keys(tree: Tree, wish: FinishWish) -> bool:
    if not wish.ssh_keys:
        return False
    path = "/root/.ssh/authorized_keys"
    if not tree.exists("/root"):
        tree.folder("/root", 0o700)
    tree.folder("/root/.ssh", 0o700)
    lines = (tree.text(path) or "").splitlines()
    lines += [key for key in wish.ssh_keys if key not in lines]
    tree.remove(path)  # sshd takes it only from root, and closed to all others
    tree.write(path, "\n".join(lines) + "\n", 0o600)
    return True


def _machine_id(tree: Tree) -> bool:
    """A published image's id is everybody's; an empty one makes each start a first one."""
    systemd = has_systemd(tree)
    old = tree.status(_MACHINE_ID)
    if not systemd and (old is None or not old.st_size):
        return False
    fresh = f"{secrets.token_hex(16)}\n"
    tree.remove(_MACHINE_ID)
    tree.write(_MACHINE_ID, fresh, 0o444)
    status = tree.status(_DBUS_ID)
    if status is not None and status.st_size and tree.read(_DBUS_ID) != fresh.encode():
        tree.write(_DBUS_ID, fresh)
    return True


def has_systemd(tree: Tree) -> bool:
    return any(tree.is_file(path) for path in _SYSTEMD)


def _systemd(tree: Tree) -> bool:
    if not has_systemd(tree):
        return False
    for path, content in _DROP_INS:
        tree.write(path, _FIRST + content)
    return True
