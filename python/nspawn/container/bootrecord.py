"""run/boot: what the boot program has decided in this boot of the machine.

Written by the boot program, read by the spawner at its start, so that a boot that was not finished goes on.
"""

from __future__ import annotations

from nspawn.container import state
from nspawn.errors import NspawnError
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.layout import Layout

_VERSION = 1


def write(layout: Layout, record: Record) -> None:
    """Replace it; `boot-id` in it makes it void after the next boot, so it is not synced."""
    state.write_record(layout.boot_record, _VERSION, record)


def read(layout: Layout, boot_id: str) -> Record | None:
    """That of this boot; None when there is none, or it is damaged: then nothing has been decided."""
    try:
        record = state.read_record(layout.boot_record, "the record of this boot", _VERSION)
    except NspawnError:
        return None
    if record is None or record.text("boot-id") != boot_id:
        return None
    return record
