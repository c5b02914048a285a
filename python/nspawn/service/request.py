"""What the spawner is told when a container of these settings is to start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.android import conditions
from nspawn.model import kinds, settings
from nspawn.model.runspec import Bind
from nspawn.service import config

if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.record import Value
    from nspawn.model.settings import Settings

#: Of a request to the spawner.
Fields = list[tuple[str, "Value"]]


def start_fields(value: Settings, name: str, rootfs: str) -> Fields:
    """The request of op=start."""
    return [
        ("name", name),
        *settings.runspec(value, name, rootfs, phone_binds(value)).to_record().fields,
        ("stop-signal", kinds.signal_number(value.stop_signal) if value.stop_signal else 0),
        ("stop-time", value.stop_time),
        ("restart", value.restart.policy),
        ("restart-delay", value.restart.delay),
        ("restart-max-delay", value.restart.max_delay),
        ("restart-max-tries", value.restart.max_tries),
    ]


def phone_fields(value: Settings, layout: Layout) -> Fields:
    """What op=start is told of the settings that concern the phone: nothing when none is used."""
    fields: Fields = []
    if value.storage and not conditions.unlocked(os.environ):
        fields.append(("storage-locked", value.storage))
    if value.wake_lock:
        fields.append(("wake-lock", 1))
    if value.pausable:
        rules = config.load(layout).power
        if rules.active:
            fields.append(("power", rules.encode()))
    return [("extras", 1), *fields] if fields else fields


def phone_binds(value: Settings) -> tuple[Bind, ...]:
    """The phone's shared storage, if it is wanted and there already."""
    if not value.storage or not conditions.unlocked(os.environ):
        return ()
    return (Bind(conditions.storage(os.environ), value.storage, optional=True),)
