"""Asking the systemd of a container, from the host by nsenter."""

from __future__ import annotations

from tests.support.command import Result, run
from tests.support.processes import wait_until
from tests.support.program import PATH

#: Units that may fail in a container, each with its reason; docs/architecture.md says the same.
EXPLAINED: dict[str, str] = {}


def inside(pid: int, *command: str, timeout: float = 30.0) -> Result:
    """Run a program in every namespace of the container whose first process this is."""
    return run(
        ["nsenter", "-t", str(pid), "-a", *command],
        environment={"PATH": PATH, "SYSTEMD_PAGER": "", "TERM": "dumb"},
        timeout=timeout,
    )


def state(pid: int) -> str:
    """running, degraded, starting, ... or the empty text when systemd does not answer yet."""
    return inside(pid, "systemctl", "is-system-running").out.strip()


def settled(pid: int, seconds: float = 60.0) -> str:
    """Wait until the boot is over; its state."""
    assert wait_until(lambda: state(pid) in ("running", "degraded"), seconds, step=0.3), (
        state(pid),
        inside(pid, "systemctl", "list-jobs", "--no-pager").out,
    )
    return state(pid)


def failed_units(pid: int) -> list[str]:
    result = inside(pid, "systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
    return [line.split()[0] for line in result.lines if line.strip()]


def unexplained(pid: int) -> str:
    """What is known about each failed unit that is not expected; empty when all is well."""
    return "\n".join(
        inside(pid, "systemctl", "status", "--no-pager", unit).out
        for unit in failed_units(pid)
        if unit not in EXPLAINED
    )
