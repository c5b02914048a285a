"""The module on an emulated phone: flashing, the start at boot, and what an idle phone pays."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench import memory
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, spread
from tests.support import processes
from tests.support.phone import release
from tests.support.phone.debs import Unobtainable
from tests.support.phone.phone import MANAGERS, Phone
from tests.support.phone.server import MODULE, STATE, Server

_FLASH_LIMIT, _PAGE_LIMIT, _EXEC_LIMIT, _IDLE_LIMIT, _WAKE_LIMIT = 1.0, 0.6, 0.4, 8e6, 0.0
_MOST_BOOTS = 10
_WATCHED = 60.0  # seconds
_CONTAINERS = 3
_SETTLES = 75.0  # seconds


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """Flash once for each manager, then boot again and again with Magisk.  seed: not used."""
    del seed
    flashes: dict[str, float] = {}
    pages: list[float] = []
    execs: list[float] = []
    sizes: dict[str, float] = {}
    woken: dict[str, float] = {}
    try:
        archive = release.build("amd64")
        for manager in MANAGERS:
            with Phone(folder / manager, manager) as phone:
                server = Server(phone)
                flashes[manager] = _flash(phone, archive)
                if manager != MANAGERS[0]:
                    continue
                server.restart()
                for number in range(_CONTAINERS):
                    server.create(f"box{number}", "--autostart")
                for turn in range(1 + max(3, min(_MOST_BOOTS, pairs // 3))):
                    page, started = _boot(server, asks=True)
                    if turn:  # not the first, which tries each namespace
                        pages.append(page)
                        execs.append(started)
                _boot(server, asks=False)
                sizes, woken = _idle(server)
    except (Unobtainable, AssertionError, OSError) as error:
        return Part(goals=_goals(None, None, None, None, None, str(error).splitlines()[0]))
    flash, page_spread, exec_spread = spread(list(flashes.values())), spread(pages), spread(execs)
    rows: list[list[Value]] = [[f"flash ({manager})", seconds] for manager, seconds in flashes.items()]
    table = Table(
        title="Module on an emulated phone",
        columns=[Column(title="what"), Column(title="time", unit="ms")],
        rows=[
            *rows,
            ["service.sh to the page's first answer (GET /)", page_spread],
            ["service.sh to the first autostart container's command", exec_spread],
        ],
        notes=[
            f"Namespaces, ext4 and Debian's toybox under Android's names; {len(pages)} boots with Magisk.",
            "Files are in the page cache. ksud and apd unpack the zip once more.",
        ],
    )
    idle = Table(
        title=f"Idle emulated phone with {_CONTAINERS} sleeping containers",
        columns=[
            Column(title="process"),
            Column(title="PSS", unit="MB"),
            Column(title=f"given a processor in {_WATCHED:.0f} s", unit="count"),
        ],
        rows=[[name, sizes[name], woken[name]] for name in sizes],
        notes=["PSS among the module's own processes. The page is closed."],
    )
    return Part(
        goals=_goals(
            flash, page_spread, exec_spread, spread([sum(sizes.values())]), spread([sum(woken.values())])
        ),
        tables=[table, idle],
    )


def _goals(
    flash: Spread | None,
    page: Spread | None,
    started: Spread | None,
    size: Spread | None,
    woken: Spread | None,
    why: str = "",
) -> list[Goal]:
    return [
        Goal(name="phone: flashing", limit=_FLASH_LIMIT, unit="s", figure=flash, why_not=why),
        Goal(name="phone: service.sh to the page", limit=_PAGE_LIMIT, unit="s", figure=page, why_not=why),
        Goal(
            name="phone: service.sh to the first container's command",
            limit=_EXEC_LIMIT,
            unit="s",
            figure=started,
            why_not=why,
        ),
        Goal(name="phone: idle PSS of all of ours", limit=_IDLE_LIMIT, unit="MB", figure=size, why_not=why),
        Goal(
            name=f"phone: wake-ups in {_WATCHED:.0f} idle seconds",
            limit=_WAKE_LIMIT,
            unit="count",
            figure=woken,
            why_not=why,
        ),
    ]


def _flash(phone: Phone, archive: Path) -> float:
    """Seconds of the manager's installer on a phone that is up."""
    phone.boot()
    phone.wait_boot_completed()
    phone.push(archive, "/data/local/tmp/module.zip")
    start = time.monotonic()
    phone.sh("/system/fake/flash /data/local/tmp/module.zip")
    return time.monotonic() - start


def _boot(server: Server, *, asks: bool) -> tuple[float, float]:
    """Reboot; seconds from service.sh to the page's answer (0 when not asked) and to the first container."""
    phone = server.phone
    server.settle()
    # Boots in such quick succession look like failed ones to the crash guard.
    server.nspawn("guard try-again", must=False)
    marks = [phone.path(f"{STATE}/containers/box{number}/rootfs/started") for number in range(_CONTAINERS)]
    for mark in marks:
        mark.unlink(missing_ok=True)
    phone.sh("sync")
    phone.reboot()
    answer = 0.0
    if asks:
        with server.watch_page(path="/") as first:
            answer, _ = first()
    begin = phone.wait_event(f"script {MODULE}/service.sh")
    marks = [phone.path(f"{STATE}/containers/box{number}/rootfs/started") for number in range(_CONTAINERS)]
    assert processes.wait_until(lambda: all(mark.exists() for mark in marks), 20), phone.logs()
    phone.wait_boot_completed()
    # The file's time is of the wall clock.
    offset = time.time() - time.monotonic()
    started = min(mark.stat().st_mtime for mark in marks) - offset
    return max(0.0, answer - begin), started - begin


def _idle(server: Server) -> tuple[dict[str, float], dict[str, float]]:
    """PSS in bytes and wake-ups of the module's own processes, once nothing is going on any more."""
    server.settle()
    # A minute after the boot the crash guard writes that it went well; a prepared cell goes about then, too.
    time.sleep(_SETTLES)
    ours = _own(server.phone)
    before = {pid: memory.switches(pid) for pid in ours}
    time.sleep(_WATCHED)
    woken = {name: float(memory.switches(pid) - before[pid]) for pid, name in ours.items()}
    alone = memory.alone(ours)
    return {name: alone[pid].whole for pid, name in ours.items()}, woken


def _own(phone: Phone) -> dict[int, str]:
    """The module's own processes, by number."""
    return {
        pid: _name(pid)
        for pid in phone.processes()
        if any(MODULE in word for word in processes.command_line(pid))
    }


def _name(pid: int) -> str:
    """What it is, by its program and its number."""
    words = [word for word in processes.command_line(pid) if "/entry/" in word]
    return f"{Path(words[0]).stem if words else '?'} {pid}"
