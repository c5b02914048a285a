"""A container as it is now: what the store, the spawner and the network know of it, in one value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nspawn.model import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.errors import NspawnError
    from nspawn.model.record import Record
    from nspawn.model.settings import Settings


@dataclass(frozen=True, kw_only=True)
class State:
    """How a container is.  state: stopped, starting, running, stopping or backoff.

    pid: of its first process; started: Unix seconds; exit: why it ended last, in words.
    supervised: whether a spawner looks after it.  turn: the id of the boot in which it ran last.
    frozen: why it is, in words, or "".  waits: what its autostart waits for, or "".
    """

    state: str = "stopped"
    pid: int | None = None
    started: float | None = None
    exit: str = ""
    exit_code: int | None = None
    exit_signal: int | None = None
    restarts: int = 0
    cgroup: str = ""
    warnings: tuple[str, ...] = ()
    supervised: bool = True
    turn: str = ""
    frozen: str = ""
    waits: str = ""

    @property
    def active(self) -> bool:
        """Whether it has processes, or will have without anybody's doing."""
        return self.state != "stopped"

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "state": self.state,
            "pid": self.pid,
            "started": self.started,
            "uptime": None if self.started is None else max(0.0, time.time() - self.started),
            "exit": self.exit,
            "exit_code": self.exit_code,
            "exit_signal": self.exit_signal,
            "restarts": self.restarts,
            "cgroup": self.cgroup,
            "warnings": list(self.warnings),
            "supervised": self.supervised,
            "frozen": self.frozen,
            "waits": self.waits,
        }


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container as it is now.  rootfs: where its files are; written: when its settings were (Unix time).

    damaged: what is wrong with its settings, which then are the last good ones if those are usable.
    network: its addresses, path and forwards, with `network.mode=nat`.
    """

    name: str
    settings: Settings
    state: State
    rootfs: str
    written: float = 0.0
    damaged: NspawnError | None = None
    usable: bool = True
    network: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "rootfs": self.rootfs,
            "state": self.state.as_dict(),
            "settings": settings.to_toml_mapping(self.settings),
            "written": self.written,
            "network": None if self.network is None else dict(self.network),
            "damaged": None if self.damaged is None else self.damaged.as_dict(),
        }


def parse_state(record: Record, *, supervised: bool = True) -> State:
    """The spawner's fields as a value."""
    code = record.integer("exit-code", -1)
    return State(
        state=record.text("state", "stopped"),
        pid=record.integer("pid") or None,
        started=record.number("started") if record.integer("pid") else None,
        exit=record.text("exit"),
        exit_code=code if code >= 0 else None,
        exit_signal=record.integer("exit-signal") or None,
        restarts=record.integer("restarts"),
        cgroup=record.text("cgroup"),
        warnings=tuple(value.decode("utf-8", "replace") for value in record.all("warning")),
        supervised=supervised,
        turn=record.text("turn"),
        frozen=record.text("frozen"),
        waits=record.text("waits"),
    )
