"""`nspawn console`: a container's console on our terminal."""

from __future__ import annotations

import os
import select
import sys

from nspawn.container import terminal
from nspawn.container.client import Client
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.client import Attachment
    from nspawn.layout import Layout

_HISTORY = 4096


def console(layout: Layout, name: str) -> int:
    """Show the console, and type on it, until it is detached or the container ends; the exit status."""
    with Client(layout).attach(name) as attached:
        if os.isatty(0):
            sys.stderr.write(
                f"Console of {name}. Press Ctrl-] three times to leave it.\n"
                f"(An init shows no login here; a shell: nspawn shell {name})\n"
            )
            sys.stderr.flush()
        terminal.write_all(1, attached.history(_HISTORY))
        return _join(attached, name)


def _join(attached: Attachment, name: str) -> int:
    def resize() -> None:
        if os.isatty(0):
            attached.resize(*terminal.size(0))

    keys = terminal.Keys()
    end: Record | None = None
    with terminal.raw(0), terminal.wakes() as wake:
        resize()
        poll = select.poll()
        for descriptor in (attached.fileno(), wake, *([0] if os.isatty(0) else [])):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if wake in ready:
                os.read(wake, 64)
                resize()
            if 0 in ready:
                data = os.read(0, 4096)
                passed, leave = keys.feed(data)
                attached.send_input(passed)
                if leave or not data:
                    break
            if attached.fileno() in ready:
                kind, what = attached.recv()
                if isinstance(what, bytes):
                    terminal.write_all(1, what)
                    continue
                end = what if kind == "exit" else Record((("exit", "the spawner went away"),))
                break
    if end is not None:
        sys.stderr.write(f"\n{name} ended: {end.text('exit')}\n")
        return 0
    sys.stderr.write(f"\nLeft the console of {name}; it goes on running.\n")
    return 0
