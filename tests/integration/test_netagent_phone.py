"""The agent on a phone: netd is asked to forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netbox import Machine, difference, plain_host

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    with plain_host(tmp_path / "state") as found:
        yield found


def ndc(root: Path) -> Path:
    """A fake phone whose netd notes what it is asked and does it; its notes."""
    notes = root / "asked"
    program = root / "system/bin/ndc"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{notes}\n'
        "case $2 in enable) v=1 ;; *) v=0 ;; esac\n"
        "echo $v >/proc/sys/net/ipv4/ip_forward\necho $v >/proc/sys/net/ipv6/conf/all/forwarding\n"
        "echo 200 0 ipfwd operation succeeded\n"
    )
    program.chmod(0o755)
    for name in ("iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save"):
        (program.parent / name).symlink_to(f"/usr/sbin/{name.replace('tables', 'tables-legacy')}")
    return notes


def test_on_a_phone_netd_is_asked_to_forward_and_to_end_it(host: Machine, tmp_path: Path) -> None:
    asked = ndc(tmp_path / "phone")
    host.environment |= {
        "NSPAWN_PHONE": str(tmp_path / "phone"),
        "ANDROID_ROOT": "/system",
        "ANDROID_DATA": "/data",
    }
    host.up()  # which makes the tables of the legacy kernel, and they stay
    host.down()
    before = host.state()
    asked.unlink()
    host.up()
    host.up()
    assert asked.read_text().splitlines() == ["ipfwd enable nspawn"]
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    host("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")  # a hotspot of an older Android ended
    host.up()
    host.up("--refill")
    assert asked.read_text().splitlines() == ["ipfwd enable nspawn"] * 3
    host.down()
    assert asked.read_text().splitlines()[3:] == ["ipfwd disable nspawn"]
    assert not difference(before, host.state())


def test_when_netd_refuses_the_setting_is_made_by_us(host: Machine, tmp_path: Path) -> None:
    asked = ndc(tmp_path / "phone")
    program = tmp_path / "phone/system/bin/ndc"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\necho 400 0 ipfwd operation failed\n')
    host.environment |= {
        "NSPAWN_PHONE": str(tmp_path / "phone"),
        "ANDROID_ROOT": "/system",
        "ANDROID_DATA": "/data",
    }
    result = host.agent("up")
    assert result.status == 0
    assert "400 0 ipfwd operation failed" in result.err
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    host.down()
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == ["0"]
