"""Processes of the machine as /proc shows them: the tests' own view, independent of the program."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROC = Path("/proc")


def all_processes() -> Iterator[int]:
    for entry in os.listdir(PROC):
        if entry.isdigit():
            yield int(entry)


def command_line(pid: int) -> list[str]:
    """The arguments, or nothing when it is gone or a kernel thread."""
    try:
        data = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0")[:-1]]


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status, or nothing when it is gone."""
    try:
        text = (PROC / str(pid) / "status").read_text(errors="surrogateescape")
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def alive(pid: int) -> bool:
    """There, and not a zombie."""
    return status(pid).get("State", "Z")[0] not in "ZX"


def parent(pid: int) -> int:
    return int(status(pid).get("PPid", "0"))


def start_time(pid: int) -> int:
    """In clock ticks since boot: with the PID it names one process for ever (proc(5), field 22)."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="surrogateescape")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def namespace(pid: int | str, kind: str) -> str:
    """The link of /proc/PID/ns, such as "net:[4026531833]"; empty when the process is gone."""
    try:
        return os.readlink(PROC / str(pid) / "ns" / kind)
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    return [other for other in all_processes() if parent(other) == pid]


def with_argument(word: str) -> list[int]:
    """Living processes that have `word` as one of their arguments."""
    return [pid for pid in all_processes() if word in command_line(pid) and alive(pid)]


def wait_until(condition: Callable[[], object], seconds: float, step: float = 0.02) -> bool:
    """Ask again and again until it is true; whether it became so in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def gone(pid: int, seconds: float = 5.0) -> bool:
    return wait_until(lambda: not alive(pid), seconds)
