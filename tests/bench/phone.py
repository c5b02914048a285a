"""The installed module on the emulated phone: how long flashing and a boot take, what it costs at rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import repose
from tests.bench.report import Column, Goal, Part, Table, Value
from tests.bench.samples import Spread, spread
from tests.support import processes
from tests.support.phone import release
from tests.support.phone.phone import MANAGERS, Phone
from tests.support.phone.server import Server

_ROUNDS = 5
_FLASH, _PAGE, _EXEC = 1.0, 0.6, 0.4  # seconds at most
#: Seconds after which the crash guard writes that a boot went well.
_UP = 60.0
_FIRST = "first"
_NAMES = {"magisk": "Magisk", "ksu": "KernelSU", "apatch": "APatch"}
_WHERE = ", on the emulated phone"


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """Flash with each manager, five boots, a minute of rest. pairs, seed: not used."""
    del pairs, seed
    flashed: dict[str, list[float]] = {manager: [] for manager in MANAGERS}
    answered: list[float] = []
    executed: list[float] = []
    try:
        archive = release.build("amd64")
        for manager in MANAGERS[1:]:
            with Phone(folder / manager, manager) as phone:
                flashed[manager] += _flashes(phone, archive)
        with Phone(folder / "phone") as phone:
            server = Server(phone)
            flashed[MANAGERS[0]] += _flashes(phone, archive)
            server.restart()
            server.create(_FIRST)
            for _round in range(_ROUNDS):
                page, command = _boot(server)
                answered.append(page)
                executed.append(command)
            rest = _rest(server)
    except (AssertionError, OSError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Part(goals=[*_goals(flashed, answered, executed, why), *repose.goals(None, {}, _WHERE, why)])
    goals = _goals(flashed, answered, executed, "")
    return Part(
        goals=[*goals, *rest.goals],
        tables=[_table(flashed, answered, executed), *rest.tables],
    )


def _flashes(phone: Phone, archive: Path) -> list[float]:
    phone.boot()
    phone.wait_boot_completed()
    return [_flash(phone, archive) for _round in range(_ROUNDS)]


def _flash(phone: Phone, archive: Path) -> float:
    """Seconds that the manager needs with a zip that is on the phone already."""
    phone.push(archive, "/data/local/tmp/module.zip")
    phone.sh("sync")
    begin = time.monotonic()
    phone.sh("/system/fake/flash /data/local/tmp/module.zip")
    return time.monotonic() - begin


def _boot(server: Server) -> tuple[float, float]:
    """Seconds from the start of service.sh to the page's answer, and to the container's command."""
    phone = server.phone
    _be_patient(server)
    started = server.file(f"containers/{_FIRST}/rootfs/started")
    started.unlink(missing_ok=True)
    phone.sh("sync")
    phone.reboot()
    with server.watch_page() as answer:
        begin = phone.wait_event("service")
        page, _status = answer()
    phone.wait_boot_completed()
    assert processes.wait_until(server.file(f"containers/{_FIRST}/rootfs/started").exists, 10), (
        "the container did not start"
    )
    wrote = server.file(f"containers/{_FIRST}/rootfs/started").stat().st_mtime
    return page - begin, wrote - (time.time() - time.monotonic()) - begin


def _be_patient(server: Server) -> None:
    """Have the crash guard forget boots that were too short: a third one would be the safe mode."""
    server.settle()
    server.nspawn("guard try-again")


def _rest(server: Server) -> Part:
    """After a boot in which nobody opened the page."""
    for index in range(1, repose.CONTAINERS):
        server.create(f"asleep{index}")
    _be_patient(server)
    server.phone.reboot()
    server.phone.wait_boot_completed()
    for name in (_FIRST, *(f"asleep{index}" for index in range(1, repose.CONTAINERS))):
        server.becomes(name, "running")
    time.sleep(1)
    awake = repose.look(_family(server.phone))
    time.sleep(_UP + repose.UNTIL_REST)
    left = _family(server.phone)
    rested = repose.look(left)
    woken = repose.wake_ups(left)
    assert left == _family(server.phone), "something of ours started during the rest"
    return Part(
        goals=repose.goals(rested, woken, _WHERE),
        tables=[repose.table("At rest, on the emulated phone", awake, rested, woken)],
    )


def _family(phone: Phone) -> dict[str, int]:
    """PIDs by role: whatever runs the module's Python, except what is on its way to a container."""
    found: dict[str, int] = {}
    own = [pid for pid in phone.processes() if _is_ours(pid)]
    for pid in sorted(own):
        if processes.parent(pid) not in own:
            role = "keeper"
        elif processes.parent(pid) == found.get("keeper"):
            role = "spawner"
        else:
            words = processes.command_line(pid)
            role = "cell" if any("keeper.py" in word for word in words) else Path(words[-1]).stem
        found[role if role not in found else f"{role} {pid}"] = pid
    return found


def _is_ours(pid: int) -> bool:
    return any("/adb/modules/nspawn/python/" in word for word in processes.command_line(pid))


def _goals(
    flashed: Mapping[str, Sequence[float]], answered: Sequence[float], executed: Sequence[float], why: str
) -> list[Goal]:
    return [
        Goal(name=name, limit=limit, unit="s", figure=_spread(values), why_not=why or "not measured")
        for name, limit, values in (
            *((f"flash with {_NAMES[each]}" + _WHERE, _FLASH, values) for each, values in flashed.items()),
            ("service.sh to the page's answer" + _WHERE, _PAGE, answered),
            ("service.sh to the first container's command" + _WHERE, _EXEC, executed),
        )
    ]


def _spread(values: Sequence[float]) -> Spread | None:
    return spread(values) if values else None


def _table(
    flashed: Mapping[str, Sequence[float]], answered: Sequence[float], executed: Sequence[float]
) -> Table:
    flashes: list[list[Value]] = [
        [f"flash (a fake of {_NAMES[manager]}, customize.sh)", spread(times)]
        for manager, times in flashed.items()
    ]
    return Table(
        title="The module on the emulated phone",
        columns=[Column(title="what"), Column(title="time", unit="ms")],
        rows=[
            *flashes,
            ["service.sh to the page's answer (GET /health)", spread(answered)],
            ["service.sh to the first container's command", spread(executed)],
        ],
        notes=[
            (
                f"{_ROUNDS} times, on tests/support/phone: Android's places and order of boot in namespaces "
                "of this machine, with the zip as it is released; other services of the boot run meanwhile. "
                "The "
                "container's command is a shell that writes a file: the time of that file counts, which the "
                "kernel keeps in steps of its tick. The zip is on the phone before a flash begins."
            )
        ],
    )
