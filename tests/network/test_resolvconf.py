"""/etc/resolv.conf in containers with a network of their own, whatever the rootfs has in its place."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import rootfs as trees
from tests.support import systemd
from tests.support.command import check, run
from tests.support.netlab.plain import PlainLab
from tests.support.netlab.product import LabProgram, Network
from tests.support.program import REPOSITORY

pytestmark = pytest.mark.root

OURS = "search nspawn\nnameserver 10.11.0.1\nnameserver fd11::1\n"
CAT = ("/bin/cat", "/etc/resolv.conf")


@pytest.fixture
def here(host: PlainLab, tmp_path: Path) -> LabProgram:
    return LabProgram(host, tmp_path / "state")


def said(result: object, out: str) -> str:
    """The file without its first line, which says who wrote it."""
    first, _, rest = out.partition("\n")
    assert first.startswith("# Written by nspawn"), result
    return rest


def test_a_container_asks_the_gateway_and_finds_short_names(here: LabProgram, busybox: Path) -> None:
    result = here("--net", busybox, *CAT)
    assert said(result, result.out) == OURS
    place = busybox / "etc/resolv.conf"
    assert stat.S_IMODE(place.stat().st_mode) == 0o644
    before = place.stat()
    assert here("--net", busybox, *CAT).out == result.out
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns), (
        "left alone"
    )
    place.write_text("nameserver 9.9.9.9\n")
    assert here("--net", busybox, *CAT).out == result.out


def test_other_networks_leave_it_as_it_is(here: LabProgram, busybox: Path) -> None:
    (busybox / "etc/resolv.conf").write_text("nameserver 9.9.9.9\n")
    assert here(busybox, *CAT).out == "nameserver 9.9.9.9\n"
    assert (busybox / "etc/resolv.conf").read_text() == "nameserver 9.9.9.9\n"


def test_chosen_servers_stand_alone(host: PlainLab, on_host: Network) -> None:
    """They know no containers, so short names are not sent to them as if they were some."""
    on_host.run("one", "--dns", "192.0.2.7,2001:db8::7")
    found = on_host.nspawn.ok("exec", "one", *CAT)
    assert said(found, found.out) == "nameserver 192.0.2.7\nnameserver 2001:db8::7\n"


def _link(text: str) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(text)


@pytest.mark.parametrize(
    "make",
    [
        _link("../run/systemd/resolve/stub-resolv.conf"),
        _link("/run/resolvconf/resolv.conf"),
        _link("{outside}"),
        _link("../../../../../../../..{outside}"),
        _link("resolv.conf"),
        os.mkfifo,
        lambda place: os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
        lambda place: place.write_bytes(b"x" * 200_000),
    ],
    ids=["stub", "resolvconf", "absolute", "relative", "loop", "fifo", "device", "large"],
)
def test_whatever_was_there_is_a_plain_file_afterwards(
    here: LabProgram, busybox: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    place = busybox / "etc/resolv.conf"
    make(place)
    if place.is_symlink():
        text = os.readlink(place).replace("{outside}", str(outside))
        place.unlink()
        place.symlink_to(text)
    result = here("--net", busybox, *CAT)
    assert said(result, result.out) == OURS
    assert stat.S_ISREG(place.lstat().st_mode)
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("kind", ["plain", "stub"])
def test_a_read_only_rootfs_shows_it_and_stays_as_it_is(here: LabProgram, busybox: Path, kind: str) -> None:
    place = busybox / "etc/resolv.conf"
    if kind == "plain":
        place.write_text("nameserver 9.9.9.9\n")
    else:
        place.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    before = place.lstat()
    result = here("--net", "--read-only", busybox, *CAT)
    assert said(result, result.out) == OURS
    assert place.lstat() == before or place.lstat().st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(busybox / "etc")) == ["group", "hosts", "passwd", "resolv.conf"]
    assert here("--net", "--read-only", busybox, "/bin/ls", "-A", "/run").out.split() in ([], ["systemd"])


def test_a_read_only_rootfs_without_it_is_told_of(here: LabProgram, busybox: Path) -> None:
    result = here("--net", "--read-only", busybox, "/bin/true")
    assert result.status == 0, result
    assert "resolv.conf" in result.err
    assert not (busybox / "etc/resolv.conf").exists()


def test_an_ephemeral_container_has_its_own(here: LabProgram, busybox: Path) -> None:
    (busybox / "etc/resolv.conf").write_text("nameserver 9.9.9.9\n")
    result = here("--net", "--ephemeral", busybox, *CAT)
    assert said(result, result.out) == OURS
    assert (busybox / "etc/resolv.conf").read_text() == "nameserver 9.9.9.9\n"


@pytest.mark.parametrize("option", ["--read-only", "--hostname=x"])
def test_what_the_user_has_bound_there_stays(
    here: LabProgram, busybox: Path, tmp_path: Path, option: str
) -> None:
    own = tmp_path / "own"
    own.write_text("nameserver 9.9.9.9\n")
    (busybox / "etc/resolv.conf").touch()
    result = here("--net", option, "--bind", f"{own}:/etc/resolv.conf", busybox, *CAT)
    assert result.out == "nameserver 9.9.9.9\n", result
    assert own.read_text() == "nameserver 9.9.9.9\n"


def test_an_immutable_file_is_covered(here: LabProgram, busybox: Path) -> None:
    place = busybox / "etc/resolv.conf"
    place.write_text("nameserver 9.9.9.9\n")
    if run(["chattr", "+i", place]).status:
        pytest.skip("this file system has no immutable files")
    try:
        result = here("--net", busybox, *CAT)
        assert said(result, result.out) == OURS
    finally:
        run(["chattr", "-i", place])
    assert place.read_text() == "nameserver 9.9.9.9\n"


def test_a_rootfs_without_etc_is_no_reason_to_complain(here: LabProgram, busybox: Path) -> None:
    check(["rm", "-r", busybox / "etc"])
    result = here("--net", busybox, "/bin/true")
    assert (result.status, result.err) == (0, "")


# Guests that would see to it themselves


def test_network_services_of_the_guest_are_told_in_its_run(here: LabProgram, busybox: Path) -> None:
    for program in ("systemd-networkd", "systemd-resolved"):
        (busybox / "usr/lib/systemd").mkdir(parents=True, exist_ok=True)
        (busybox / "usr/lib/systemd" / program).touch()
    (busybox / "usr/sbin/NetworkManager").touch()
    script = "cd /run; for f in $(find . -name '*nspawn*'); do echo $f; cat $f; done"
    found = here("--net", busybox, "/bin/sh", "-c", script).out
    assert "./systemd/network/00-nspawn.network\n[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n" in found
    assert "[Resolve]\nDNS=10.11.0.1 fd11::1\nDomains=nspawn\n" in found
    assert "./NetworkManager/conf.d/nspawn.conf\n[main]\ndns=none\n" in found
    assert "nspawn" not in here("--net=none", busybox, "/bin/sh", "-c", script).out


@pytest.fixture
def guest(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A Debian with systemd, its resolver and its network service, which asks for DHCP on eth0."""
    base = trees.debian(trees.cache_folder(REPOSITORY), trees.WITH_RESOLVER)
    with trees.layered(base, tmp_path / "guest") as place:
        (place / "etc/resolv.conf").unlink(missing_ok=True)
        (place / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
        network = place / "etc/systemd/network/eth0.network"
        network.write_text("[Match]\nName=eth0\n[Network]\nDHCP=yes\n")
        for unit in ("systemd-networkd.service", "systemd-resolved.service"):
            wants = place / "etc/systemd/system/multi-user.target.wants"
            wants.mkdir(parents=True, exist_ok=True)
            link = wants / unit
            if not link.is_symlink():
                link.symlink_to(f"/usr/lib/systemd/system/{unit}")
        yield place


def test_names_work_in_a_guest_whose_systemd_resolves_and_manages_networks(
    host: PlainLab, on_host: Network, guest: Path
) -> None:
    host.connect("wifi")
    on_host.nspawn.ok("create", "web", "--rootfs", guest, "--net", "nat", "--boot")
    web = on_host.start("web")
    systemd.settled(web.pid)
    for unit in ("systemd-resolved", "systemd-networkd"):
        assert systemd.inside(web.pid, "systemctl", "is-active", unit).out == "active\n"
    address = web.space.check("ip", "-4", "-br", "addr", "show", "dev", "eth0")
    assert web.address4 in address, "networkd has left it"
    assert web.address4 in systemd.inside(web.pid, "getent", "ahostsv4", "web.nspawn").out
    assert web.address4 in systemd.inside(web.pid, "resolvectl", "query", "web.nspawn").out
    assert said(None, systemd.inside(web.pid, *CAT).out) == OURS
    assert systemd.unexplained(web.pid) == ""
