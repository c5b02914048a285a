"""What commands print: tables, sizes, durations, progress."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from nspawn.model.progress import Meter, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nspawn.service.containers import Container, State

#: Seconds between two drawings of the progress; between two lines without a terminal.
_PACE = 0.1
_LINE_PACE = 10.0
#: Of the bar, in columns: the first that fits; few, so that it does not jump.
_LENGTHS, _SHORT_LENGTHS = (20, 10, 0), (6, 0)
_NARROW = 75


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns, the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def size(count: float) -> str:
    """`1.5 MiB` for bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """`3d 4h`, `4h 5m`, `5m 6s` or `6s`."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def container_rows(containers: Sequence[Container]) -> list[list[str]]:
    """The table of `nspawn list`."""
    addressed = any(each.network for each in containers)
    rows = [["NAME", "STATE", *(["ADDRESS"] if addressed else []), "PID", "UP", "BOOT", "IMAGE", "LAST END"]]
    for each in containers:
        up = "" if each.state.started is None else duration(time.time() - each.state.started)
        image = each.settings.rootfs or each.settings.image
        rows.append(
            [
                each.name,
                "damaged" if each.damaged and not each.usable else state_word(each.state),
                *([(each.network or {}).get("ip4") or ""] if addressed else []),
                str(each.state.pid or ""),
                up,
                "yes" if each.settings.autostart.enabled else "",
                clean(image if len(image) <= 40 else f"...{image[-37:]}"),
                clean(each.state.exit),
            ]
        )
    return rows


def state_word(state: State) -> str:
    """`frozen` and `waiting` are what a person looks for."""
    if state.frozen:
        return "frozen"
    return "waiting" if state.waits and not state.active else state.state


def clean(text: str) -> str:
    """Text that cannot act on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def container_text(each: Container, settings: dict[str, str]) -> str:
    """The text of `nspawn info`.  settings: those that are not the default, as TOML values by key."""
    state = each.state
    rows = [("name", each.name), ("state", state.state)]
    if state.pid:
        rows.append(("process", str(state.pid)))
    if state.started is not None:
        from nspawn.service import clock

        ago = duration(time.time() - state.started)
        rows.append(("started", f"{clock.local(state.started)} ({ago} ago)"))
    if state.frozen:
        rows.append(("frozen", clean(state.frozen)))
    if state.waits:
        rows.append(("autostart", clean(state.waits)))
    if state.exit:
        rows.append(("last end", clean(state.exit)))
    if state.restarts:
        rows.append(("restarts", str(state.restarts)))
    if state.cgroup:
        rows.append(("cgroup", state.cgroup))
    if not state.supervised and state.active:
        rows.append(("spawner", "none: nobody looks after it; any start or stop brings one"))
    rows.append(("rootfs", each.rootfs))
    if each.network and each.network["ip4"]:
        rows.append(("address", ", ".join(filter(None, (each.network["ip4"], each.network["ip6"])))))
        if each.network["path"]:
            rows.append(("way out", clean(each.network["path"]["why"])))
    rows += [("warning", clean(text)) for text in state.warnings]
    rows += settings.items()
    width = max(len(key) for key, _value in rows)
    return "".join(f"{key.ljust(width)}  {value}\n" for key, value in rows)


class Bar:
    """Progress on standard error: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._meter = Meter(time.monotonic)
        self._phase = ""
        self._drawn = -1e9
        self._dirty = False

    def __call__(self, progress: Progress) -> None:
        """Show it, unless something was shown just now."""
        rate, eta = self._meter.measure(progress)
        now = time.monotonic()
        fresh = progress.phase != self._phase
        ended = progress.total is not None and progress.done == progress.total
        if (
            not fresh
            and not (ended and self._live)
            and now - self._drawn < (_PACE if self._live else _LINE_PACE)
        ):
            return
        if fresh:
            self.end()
        self._phase, self._drawn = progress.phase, now
        if self._live:
            width = _columns(self._stream) - 1
            self._stream.write(f"\r{_fitting(progress, rate, eta, width)}\x1b[K")
            self._dirty = True
        else:
            self._stream.write(f"{_line(progress, rate, eta)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._dirty:
            self._stream.write("\n")
            self._stream.flush()
            self._dirty = False


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _fitting(progress: Progress, rate: float, eta: float | None, width: int) -> str:
    """The line of a terminal; on a narrow one, such as a phone's, the bar and the phase are shorter."""
    if width < _NARROW and progress.total:
        progress = replace(progress, phase=progress.phase.partition(" ")[0])
    for length in _LENGTHS if width >= _NARROW else _SHORT_LENGTHS:
        line = _line(progress, rate, eta, length)
        if len(line) <= width:
            return line
    return _line(progress, rate, eta)[:width]


def _line(progress: Progress, rate: float, eta: float | None, length: int = 0) -> str:
    """length: of the bar; 0 for none."""
    parts = [progress.phase]
    if progress.total:
        share = min(1.0, progress.done / progress.total)
        if length:
            parts.append(f"[{'#' * int(share * length):{length}}]")
        parts.append(f"{share:4.0%} of {size(progress.total)}")
    elif progress.done:
        parts.append(size(progress.done))
    if rate > 0:
        parts.append(f"{size(rate)}/s")
    if eta is not None and eta >= 1:
        parts.append(f"{duration(eta)} left")
    return "  ".join(parts)
