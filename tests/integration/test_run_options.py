"""--bind, --workdir, --user, --read-only and --ephemeral, from inside and outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import check
from tests.support.program import Program


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Each path below a folder with its inode, mode and content time."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(place, name))
            found[os.path.relpath(os.path.join(place, name), folder)] = (
                status.st_ino,
                status.st_mode,
                status.st_mtime_ns,
            )
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of the host with one file."""
    folder = tmp_path / "shared folder"
    folder.mkdir()
    (folder / "file").write_text("from the host\n")
    return folder


def test_a_bound_folder_is_read_and_written(nspawn: Program, busybox: Path, shared: Path) -> None:
    script = "cat /mnt/file; echo from inside > /mnt/new"
    result = nspawn("--bind", f"{shared}:/mnt", busybox, "/bin/sh", "-c", script)
    assert result.out == "from the host\n", str(result)
    assert (shared / "new").read_text() == "from inside\n"


def test_a_folder_bound_read_only_cannot_be_written(nspawn: Program, busybox: Path, shared: Path) -> None:
    before = tree(shared)
    script = "cat /mnt/file; echo x > /mnt/new; rm /mnt/file; chmod 777 /mnt/file"
    result = nspawn("--bind", f"{shared}:/mnt:ro", busybox, "/bin/sh", "-c", script)
    assert result.out == "from the host\n"
    assert result.err.count("Read-only") == 3, str(result)
    assert tree(shared) == before


def test_the_kernel_says_that_the_bind_is_read_only(nspawn: Program, busybox: Path, shared: Path) -> None:
    with nspawn.box(busybox, "--bind", f"{shared}:/mnt:ro", "--bind", f"{shared}:/opt") as box:
        mounts = box.mounts()
        assert "ro" in mounts["/mnt"].options
        assert "rw" in mounts["/opt"].options


def test_read_only_counts_for_mounts_below_the_source_too(
    nspawn: Program, busybox: Path, shared: Path
) -> None:
    below = shared / "below"
    below.mkdir()
    check(["mount", "-t", "tmpfs", "below", below])
    try:
        nspawn("--bind", f"{shared}:/mnt:ro", busybox, "/bin/sh", "-c", "echo x > /mnt/below/new")
        assert not (below / "new").exists()
    finally:
        check(["umount", below])


def test_a_bound_folder_shows_what_is_mounted_below_it(nspawn: Program, busybox: Path, shared: Path) -> None:
    below = shared / "below"
    below.mkdir()
    check(["mount", "-t", "tmpfs", "below", below])
    try:
        (below / "deep").write_text("deep\n")
        assert nspawn("--bind", f"{shared}:/mnt", busybox, "cat", "/mnt/below/deep").out == "deep\n"
    finally:
        check(["umount", below])


def test_a_bound_file_is_read_and_written(nspawn: Program, busybox: Path, shared: Path) -> None:
    script = "cat /etc/one; echo changed > /etc/one"
    result = nspawn("--bind", f"{shared}/file:/etc/one", busybox, "/bin/sh", "-c", script)
    assert result.out == "from the host\n", str(result)
    assert (shared / "file").read_text() == "changed\n"


def test_a_file_bound_read_only_cannot_be_written(nspawn: Program, busybox: Path, shared: Path) -> None:
    result = nspawn(
        "--bind",
        f"{shared}/file:/etc/passwd:ro",
        busybox,
        "/bin/sh",
        "-c",
        "cat /etc/passwd; echo x > /etc/passwd",
    )
    assert result.out == "from the host\n"
    assert "Read-only" in result.err
    assert (shared / "file").read_text() == "from the host\n"


def test_a_link_on_the_host_is_bound_as_what_it_leads_to(
    nspawn: Program, busybox: Path, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(shared)
    assert nspawn("--bind", f"{tmp_path}/link:/mnt", busybox, "cat", "/mnt/file").status == 0


@pytest.mark.parametrize("target", ["/new", "/new/deep/place", "/tmp/place", "/run/place", "/dev/place"])
def test_a_target_that_is_missing_is_made(nspawn: Program, busybox: Path, shared: Path, target: str) -> None:
    assert nspawn("--bind", f"{shared}:{target}", busybox, "cat", f"{target}/file").status == 0
    result = nspawn("--bind", f"{shared}/file:{target}.one", busybox, "cat", f"{target}.one")
    assert result.status == 0, str(result)


def test_a_folder_on_a_file_is_refused(nspawn: Program, busybox: Path, shared: Path) -> None:
    result = nspawn("--bind", f"{shared}:/etc/passwd", busybox, "true")
    assert result.status == 1
    assert "/etc/passwd" in result.err


def test_later_binds_see_earlier_ones(nspawn: Program, busybox: Path, shared: Path) -> None:
    (shared / "inner").mkdir()
    result = nspawn(
        *("--bind", f"{shared}:/mnt", "--bind", f"{shared}/file:/mnt/inner/copy"),
        *(busybox, "cat", "/mnt/inner/copy"),
    )
    assert result.out == "from the host\n", str(result)


def test_a_device_and_a_socket_can_be_bound(nspawn: Program, busybox: Path) -> None:
    result = nspawn("--bind", "/dev/full:/dev/other", busybox, "/bin/sh", "-c", "echo x > /dev/other")
    assert "No space" in result.err, str(result)


def test_the_workdir_is_where_the_command_starts(nspawn: Program, busybox: Path) -> None:
    assert nspawn("--workdir", "/usr/bin", busybox, "pwd").out == "/usr/bin\n"


def test_without_a_workdir_the_command_starts_in_the_container(nspawn: Program, busybox: Path) -> None:
    assert nspawn(busybox, "/bin/pwd").out in ("/\n", "/root\n")


def test_a_workdir_that_is_a_link_stays_in_the_container(
    nspawn: Program, busybox: Path, tmp_path: Path
) -> None:
    (busybox / "way").symlink_to(tmp_path)
    assert nspawn("--workdir", "/way", busybox, "true").status == 1


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups"),
    [
        ("guest", 1000, 1000, {1000, 60}),
        ("nobody", 65534, 65534, {65534}),
        ("1000", 1000, 1000, {1000, 60}),
        ("4321", 4321, 4321, set()),
        ("1000:60", 1000, 60, set()),
        ("4321:1234", 4321, 1234, set()),
        ("guest:games", 1000, 60, set()),
        ("0", 0, 0, {0}),
        ("root", 0, 0, {0}),
    ],
)
def test_the_user_is_the_containers(
    nspawn: Program, busybox: Path, user: str, uid: int, gid: int, groups: set[int]
) -> None:
    with nspawn.box(busybox, "--user", user) as box:
        status = {
            key: value.split()
            for key, _, value in (
                line.partition(":") for line in Path(f"/proc/{box.pid}/status").read_text().splitlines()
            )
        }
    assert {int(word) for word in status["Uid"]} == {uid}
    if user == "4321":
        assert {int(word) for word in status["Gid"]} <= {0, 4321}
    else:
        assert {int(word) for word in status["Gid"]} == {gid}
    found = {int(word) for word in status["Groups"]}
    if groups:
        assert found - {gid} == groups - {gid}
    assert (0 in found) <= (uid == 0)
    if uid:
        for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[kind][0], 16) == 0, kind


def test_a_user_can_use_the_streams_it_was_given(nspawn: Program, busybox: Path) -> None:
    result = nspawn("--user", "guest", busybox, "/bin/sh", "-c", "cat; echo err >&2", stdin=b"in\n")
    assert (result.out, result.err) == ("in\n", "err\n")


def test_a_read_only_root_cannot_be_written_but_tmp_and_run_can(nspawn: Program, busybox: Path) -> None:
    nspawn.ok(busybox, "true")
    before = tree(busybox)
    script = "echo x > /tmp/a && echo x > /run/a && echo ok; echo x > /root/a; rm -f /etc/passwd; mkdir /new"
    result = nspawn("--read-only", busybox, "/bin/sh", "-c", script)
    assert result.out == "ok\n"
    assert result.err.count("Read-only") == 3, str(result)
    assert tree(busybox) == before


def test_the_kernel_says_that_the_root_is_read_only(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox, "--read-only") as box:
        assert "ro" in box.mounts()["/"].options


def test_a_read_only_root_still_takes_binds(nspawn: Program, busybox: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    nspawn.ok("--read-only", "--bind", f"{tmp_path}/shared:/mnt", busybox, "touch", "/mnt/new")
    assert (tmp_path / "shared" / "new").exists()


def test_an_ephemeral_container_leaves_the_rootfs_as_it_was(nspawn: Program, busybox: Path) -> None:
    before = tree(busybox)
    script = "echo x > /root/new && cat /root/new && rm /etc/passwd && mkdir -p /a/b && hostname"
    result = nspawn("--ephemeral", busybox, "/bin/sh", "-c", script)
    assert (result.status, result.out) == (0, "x\nmy-box\n"), str(result)
    assert tree(busybox) == before


def test_two_ephemeral_containers_do_not_see_each_other(nspawn: Program, busybox: Path) -> None:
    with nspawn.box(busybox, "--ephemeral", start="echo one > /mark") as box:
        assert box.sh("cat /mark") == "one"
        assert nspawn("--ephemeral", busybox, "test", "!", "-e", "/mark").status == 0


def test_an_ephemeral_debian_can_be_changed_freely(nspawn: Program, debian_base: Path) -> None:
    before = (debian_base / "etc" / "hostname").exists()
    script = "rm -rf /usr/lib/apt && ! test -e /usr/lib/apt && dpkg -s bash | head -n 1"
    result = nspawn("--ephemeral", debian_base, "/bin/bash", "-c", script)
    assert result.out == "Package: bash\n", str(result)
    assert (debian_base / "usr" / "lib" / "apt").exists()
    assert (debian_base / "etc" / "hostname").exists() == before


def test_ephemeral_and_read_only_and_bind_go_together(nspawn: Program, busybox: Path, shared: Path) -> None:
    before = tree(busybox)
    result = nspawn(
        *("--ephemeral", "--read-only", "--bind", f"{shared}:/new/place"),
        *(busybox, "/bin/sh", "-c", "cat /new/place/file; touch /x"),
    )
    assert result.out == "from the host\n", str(result)
    assert "Read-only" in result.err
    assert tree(busybox) == before
