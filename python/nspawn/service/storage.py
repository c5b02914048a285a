"""The phone's shared storage for containers that were started before it was unlocked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.android import conditions
from nspawn.container import latebind
from nspawn.errors import Conflict, NotFound, NotRunning, NspawnError

if TYPE_CHECKING:
    from nspawn.container.client import Client


def show(client: Client) -> list[str]:
    """Mount it into every running container that waits for it, if it is unlocked; their names."""
    try:
        waiting = [each for each in client.call_many("list") if each.text("lacks-storage")]
    except NotRunning:
        return []
    if not waiting or not conditions.unlocked(os.environ):
        return []
    source = conditions.storage(os.environ)
    shown = []
    for record in waiting:
        name, pid = record.text("name"), record.integer("pid")
        why_not = ""
        try:
            latebind.bind(pid, record.integer("start-time"), source, record.text("lacks-storage"))
        except Conflict:
            continue
        except NspawnError as error:
            why_not = f"the phone's storage was unlocked, and a restart shows it: {error}"
        try:
            client.call("storage", [("name", name), ("pid", pid), ("source", source), ("why-not", why_not)])
        except (NotFound, NotRunning):
            continue
        shown.append(name)
    return shown
