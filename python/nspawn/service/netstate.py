"""What the agent made of the network last, in this boot: `<root>/run/network`, a record for all to read."""

from __future__ import annotations

import os
from typing import NamedTuple

from nspawn.errors import Damaged
from nspawn.kernel.process import boot_id
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.layout import Layout

_LARGEST = 1 << 20


class Last(NamedTuple):
    """bridge: its name; bridges: whether the kernel can make one, None when that is not known yet.

    digests: of the firewall as it was applied, for IPv4 and IPv6.  record: all of it, an error's too.
    """

    bridge: str = ""
    bridges: bool | None = None
    digests: tuple[str, str] = ("", "")
    record: Record | None = None


def read(layout: Layout) -> Last:
    """Of this boot; an empty one when there was no run, or the file cannot be read."""
    try:
        descriptor = os.open(layout.network_state, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            record = Record.decode(file.read(_LARGEST))
        if record.text("boot-id") != boot_id() or not record.flag("end"):
            return Last()
    except (OSError, Damaged):
        return Last()
    record.fields = [field for field in record.fields if field[0] not in ("boot-id", "end")]
    mode = record.text("mode")
    return Last(
        record.text("bridge"),
        None if not mode else mode == "bridge",
        (record.text("digest4"), record.text("digest6")),
        record,
    )


def write(layout: Layout, outcome: Record) -> None:
    """Replace it, if it is another one.  Not synced: it is void after the next boot."""
    last = read(layout).record
    if last is not None and last.fields == outcome.fields:
        return
    record = Record((("boot-id", boot_id()), *outcome.fields, ("end", 1)))
    fresh = f"{layout.network_state}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(fresh, flags, 0o600), "wb") as file:
        file.write(record.encode())
    os.rename(fresh, layout.network_state)


def remove(layout: Layout) -> None:
    """There is no network any more."""
    try:
        os.unlink(layout.network_state)
    except FileNotFoundError:
        pass
