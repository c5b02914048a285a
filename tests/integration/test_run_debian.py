"""Debian's own tools inside, on the host's network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import Program


@pytest.mark.slow
def test_apt_installs_a_package(nspawn: Program, debian: Path) -> None:
    script = (
        "apt-get -q update && apt-get -qy install --no-install-recommends hello && hello && dpkg -V hello"
    )
    result = nspawn(
        *("--env", "DEBIAN_FRONTEND=noninteractive", debian, "/bin/bash", "-c", script), timeout=150
    )
    assert result.status == 0, str(result)
    assert "Hello, world!" in result.out
    assert (debian / "usr" / "bin" / "hello").exists()


def test_the_root_tools_of_debian_work(nspawn: Program, debian: Path) -> None:
    script = """
    set -e
    useradd -m someone
    su someone -c 'id -un; echo x > ~/file; test -O ~/file'
    groupadd things; usermod -aG things someone; id -nG someone
    mktemp; dpkg --audit; ls -l /proc/1/exe > /dev/null
    mount -t tmpfs t /mnt; umount /mnt
    chown someone:things /home/someone/file; stat -c '%U %G' /home/someone/file
    """
    result = nspawn(debian, "/bin/bash", "-c", script)
    assert result.status == 0, str(result)
    assert result.lines[0] == "someone"
    assert "someone things" in result.lines[-1]


def test_a_suid_program_raises_a_users_rights(nspawn: Program, debian: Path) -> None:
    (debian / "usr" / "bin" / "me").write_bytes((debian / "usr" / "bin" / "id").read_bytes())
    (debian / "usr" / "bin" / "me").chmod(0o4755)
    result = nspawn("--user", "nobody", debian, "me", "-u")
    assert result.out == "0\n", str(result)


def test_the_clock_and_the_uptime_are_the_hosts(nspawn: Program, debian: Path) -> None:
    """The time namespace has no offsets."""
    before = float(Path("/proc/uptime").read_text().split()[0])
    result = nspawn(debian, "/bin/cat", "/proc/uptime")
    assert before - 1 <= float(result.out.split()[0]) <= before + 20
