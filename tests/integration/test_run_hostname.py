"""The host name: from the folder, in the UTS namespace and in the rootfs's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.program import Program


def stamps(rootfs: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, change time and content time of the two files."""
    found = {}
    for name in ("hostname", "hosts"):
        status = os.stat(rootfs / "etc" / name)
        found[name] = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns)
    return found


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my_box", "my-box"),
        ("Debian.13", "Debian.13"),
        ("a_b_c", "a-b-c"),
        ("_x_", "x"),
        ("h" * 80, "h" * 63),
    ],
)
def test_the_name_comes_from_the_folder(
    nspawn: Program, busybox: Path, tmp_path: Path, folder: str, name: str
) -> None:
    busybox.rename(tmp_path / folder)
    assert nspawn(tmp_path / folder, "hostname").out == f"{name}\n"
    assert (tmp_path / folder / "etc" / "hostname").read_text() == f"{name}\n"


def test_a_folder_name_that_is_no_host_name_still_gives_one(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    busybox.rename(tmp_path / "ü !")
    result = nspawn(tmp_path / "ü !", "hostname")
    assert result.status == 0
    assert result.out.strip()


def test_the_name_is_written_to_both_files(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "true")
    assert (busybox / "etc" / "hostname").read_text() == "my-box\n"
    lines = (busybox / "etc" / "hosts").read_text().splitlines()
    assert [line.split() for line in lines if line.startswith("127.0.1.1")] == [["127.0.1.1", "my-box"]]
    assert "127.0.0.1\tlocalhost" in lines
    assert "::1\tlocalhost" in lines


def test_a_second_start_writes_nothing(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "true")
    before = stamps(busybox)
    nspawn.ok(busybox, "true")
    assert stamps(busybox) == before


def test_a_renamed_folder_replaces_the_name_and_keeps_the_other_lines(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    (busybox / "etc" / "hosts").write_text("# mine\n127.0.0.1 localhost\n10.0.0.1 router # 127.0.1.1\n")
    nspawn.ok(busybox, "true")
    busybox.rename(tmp_path / "other_name")
    nspawn.ok(tmp_path / "other_name", "true")
    text = (tmp_path / "other_name" / "etc" / "hosts").read_text()
    assert "my-box" not in text
    found = [line.split() for line in text.splitlines() if line.startswith("127.0.1.1")]
    assert found == [["127.0.1.1", "other-name"]]
    for line in ("# mine", "127.0.0.1 localhost", "10.0.0.1 router # 127.0.1.1"):
        assert line in text.splitlines()


def test_a_hosts_file_without_a_last_newline_keeps_its_last_line(nspawn: Program, busybox: Path) -> None:
    (busybox / "etc" / "hosts").write_text("127.0.0.1 localhost")
    nspawn.ok(busybox, "true")
    lines = [line.split() for line in (busybox / "etc" / "hosts").read_text().splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert ["127.0.1.1", "my-box"] in lines


def test_files_that_are_missing_are_made(nspawn: Program, busybox: Path) -> None:
    (busybox / "etc" / "hosts").unlink()
    nspawn.ok(busybox, "true")
    assert (busybox / "etc" / "hostname").read_text() == "my-box\n"
    assert "127.0.1.1" in (busybox / "etc" / "hosts").read_text()
    for name in ("hostname", "hosts"):
        assert (busybox / "etc" / name).stat().st_mode & 0o777 == 0o644


def test_a_rootfs_without_etc_runs(nspawn: Program, busybox: Path) -> None:
    for name in ("passwd", "group", "hosts"):
        (busybox / "etc" / name).unlink()
    (busybox / "etc").rmdir()
    assert nspawn(busybox, "hostname").out == "my-box\n"


def test_mode_and_owner_of_the_files_stay(nspawn: Program, busybox: Path) -> None:
    hosts = busybox / "etc" / "hosts"
    hosts.chmod(0o640)
    os.chown(hosts, 12, 34)
    nspawn.ok(busybox, "true")
    status = hosts.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 12, 34)


def test_hostname_gives_another_name(nspawn: Program, busybox: Path) -> None:
    assert nspawn("--hostname", "chosen.example", busybox, "hostname").out == "chosen.example\n"
    assert nspawn(busybox, "--hostname").status != 0
    assert (busybox / "etc" / "hostname").read_text() in ("chosen.example\n", "my-box\n")


def test_two_starts_at_once_leave_one_line(nspawn: Program, busybox: Path) -> None:
    for number in range(4):
        nspawn.ok("--hostname", f"name{number}", busybox, "true")
    text = (busybox / "etc" / "hosts").read_text()
    assert text.count("127.0.1.1") == 1
