"""A Debian with systemd as a whole system, in the foreground; named ones are in test_named_boot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.support import processes, rootfs
from tests.support.command import end_group
from tests.support.program import Program
from tests.support.systemd import inside, settled, state, unexplained

pytestmark = pytest.mark.slow


@contextmanager
def booted(nspawn: Program, place: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program in the foreground without a terminal."""
    with (
        open(place.with_name("console"), "wb") as console,
        subprocess.Popen(
            [nspawn.path, "--boot", *options, place],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=nspawn.environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=25)
            except subprocess.TimeoutExpired:
                end_group(process.pid)


def first_process(parent: int) -> int:
    """The host's number of the container's systemd."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [
            pid
            for pid in processes.children(parent)
            if "init" in "".join(processes.command_line(pid)[:1])
            or "systemd" in processes.status(pid).get("Name", "")
        ]
        return bool(found)

    assert processes.wait_until(there, 10), "no init"
    return found[0]


@pytest.fixture
def place(systemd_base: Path, tmp_path: Path) -> Iterator[Path]:
    with rootfs.layered(systemd_base, tmp_path / "my_system") as folder:
        yield folder


def test_it_boots_and_a_poweroff_from_inside_ends_it_with_0(nspawn: Program, place: Path) -> None:
    with booted(nspawn, place) as process:
        pid = first_process(process.pid)
        settled(pid)
        console = place.with_name("console").read_text(errors="replace")
        assert state(pid) in ("running", "degraded"), console
        assert not unexplained(pid)
        assert inside(pid, "systemd-detect-virt", "--container").out.strip() not in ("", "none")
        assert inside(pid, "hostname").out.strip() == "my-system"
        inside(pid, "systemctl", "poweroff")
        assert process.wait(timeout=25) == 0
        assert processes.gone(pid)


def test_its_services_answer(nspawn: Program, place: Path) -> None:
    with booted(nspawn, place, "--net=none") as process:
        pid = first_process(process.pid)
        settled(pid)
        unit = "systemd-run --quiet --unit=mine --service-type=exec sleep 1000"
        commands = [
            "busctl list",
            "journalctl --no-pager -n 5",
            unit,
            "systemctl is-active mine.service",
            "systemctl stop mine.service",
            "loginctl list-sessions",
            "systemd-tmpfiles --create",
            "hostnamectl status",
        ]
        for command in commands:
            result = inside(pid, "/bin/sh", "-c", command)
            assert result.status == 0, str(result)


def test_a_reboot_from_inside_starts_it_again(nspawn: Program, place: Path) -> None:
    with booted(nspawn, place) as process:
        first = first_process(process.pid)
        settled(first)
        inside(first, "systemctl", "reboot")
        assert processes.gone(first, 25)
        second = first_process(process.pid)
        assert second != first
        settled(second)
        assert process.poll() is None
        inside(second, "systemctl", "poweroff")
        assert process.wait(timeout=25) == 0


def test_sigterm_to_the_program_ends_it(nspawn: Program, place: Path) -> None:
    with booted(nspawn, place) as process:
        pid = first_process(process.pid)
        settled(pid)
        process.terminate()
        process.wait(timeout=25)
        assert processes.gone(pid)


def test_the_boot_is_shown_on_the_terminal(nspawn: Program, place: Path) -> None:
    with nspawn.terminal("--boot", place) as child:
        child.expect("systemd", timeout=30)
        child.expect("Reached target", timeout=30)
        assert child.pid is not None
        pid = first_process(child.pid)
        settled(pid)
        inside(pid, "systemctl", "poweroff")
        child.expect(pexpect.EOF, timeout=25)
        child.close()
        assert child.exitstatus == 0
