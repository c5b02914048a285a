from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import Unsupported, UsageError
from nspawn.images import tarball, tarheaders
from nspawn.kernel import zstd
from nspawn.model.progress import Cancelled, Progress
from tests.support.tars import Archive, extract, refused, surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking keeps owners and makes nodes: it needs root"),
]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "inside/rootfs"
    path.mkdir(parents=True)
    return path


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[None]:
    """What is beside the target stays as it was."""
    (tmp_path / "kept").write_text("kept")
    before = surroundings(tmp_path)
    yield
    assert surroundings(tmp_path) == before


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression(target: Path, compress: object) -> None:
    assert callable(compress)
    data = compress(Archive().folder("./").shell().add("./etc/x", b"y" * 700_000).data())
    unpacked = extract(data, target)
    assert (unpacked.entries, unpacked.bytes) == (3, 700_002)
    assert (target / "etc/x").read_bytes() == b"y" * 700_000


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs the zstd program")
def test_zstd(target: Path) -> None:
    data = Archive().shell().add("x", os.urandom(500_000)).data()
    packed = subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert extract(packed, target).bytes == 500_002
    shutil.rmtree(target)
    target.mkdir()
    assert refused(packed[:-1000], target)


def test_zstd_without_its_program(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Archive().shell().add("x", os.urandom(500_000)).data()
    packed = subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert extract(packed, target).bytes == 500_002
    shutil.rmtree(target)
    target.mkdir()
    assert refused(packed[:-1000], target)


def test_zstd_without_anything(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(zstd, "find", lambda: "")
    with pytest.raises(Unsupported, match="zstd"):
        extract(b"\x28\xb5\x2f\xfd" + bytes(100), target)


def test_metadata_is_kept(target: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    data = (
        Archive()
        .folder(".", mode=0o711, uid=7)
        .shell()
        .folder("d", mode=0o1777, uid=12, gid=34)
        .add("d/f", b"x", mode=0o4750, uid=1000, gid=2000, mtime=1234567890.5)
        .add(
            "d/cap",
            b"x",
            pax_headers={
                "SCHILY.xattr.security.capability": capability.decode("latin-1"),
                "SCHILY.xattr.user.note": "gr\xfc\xdf",
                "SCHILY.xattr.security.selinux": "u:object_r:x:s0",
            },
        )
        .link("d/s", "../nowhere")
        .link("d/h", "d/f", tarfile.LNKTYPE)
        .add("d/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        .add("d/loop", kind=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o660, gid=6)
        .add("d/pipe", kind=tarfile.FIFOTYPE, mode=0o600)
        .data()
    )
    extract(data, target)
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_uid) == (0o711, 7)
    folder = (target / "d").stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid) == (0o1777, 12, 34)
    assert folder.st_mtime == 1_000_000_000
    file = (target / "d/f").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid, file.st_nlink) == (0o4750, 1000, 2000, 2)
    assert file.st_mtime == 1234567890.5
    assert os.readlink(target / "d/s") == "../nowhere"
    null = (target / "d/null").stat()
    assert stat.S_ISCHR(null.st_mode)
    assert (null.st_rdev, stat.S_IMODE(null.st_mode)) == (os.makedev(1, 3), 0o666)
    assert stat.S_ISBLK((target / "d/loop").stat().st_mode)
    assert stat.S_ISFIFO((target / "d/pipe").stat().st_mode)
    if "security.capability" in os.listxattr(target / "d/cap"):
        assert "user.note" in os.listxattr(target / "d/cap")
        assert os.getxattr(target / "d/cap", "user.note") == "gr\xfc\xdf".encode()
    assert b"u:object_r" not in b"".join(
        os.getxattr(target / "d/cap", x) for x in os.listxattr(target / "d/cap")
    )


def test_what_tar_wrote_is_the_same_tree(target: Path, tmp_path: Path) -> None:
    tree = tmp_path / "inside/tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/sh").write_text("#!")
    (tree / "bin/sh").chmod(0o4711)
    (tree / "bin/long" / ("n" * 200)).mkdir(parents=True)
    (tree / "bin/zeros").write_bytes(bytes(300_000))
    os.truncate(tree / "bin/zeros", 5_000_000)
    os.link(tree / "bin/sh", tree / "bin/other")
    os.setxattr(tree / "bin/sh", "user.x", b"\x00\xff\x80")
    packed = subprocess.run(
        ["tar", "-C", str(tree), "--xattrs", "--format=posix", "-S", "-cf", "-", "."],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    extract(packed, target)
    names = ["bin/sh", "bin/zeros", "bin/other", "bin/long/" + "n" * 200]
    for name in names:
        ours, theirs = (target / name).lstat(), (tree / name).lstat()
        assert (ours.st_mode, ours.st_uid, ours.st_nlink, ours.st_mtime_ns // 1000) == (
            theirs.st_mode,
            theirs.st_uid,
            theirs.st_nlink,
            theirs.st_mtime_ns // 1000,
        )
    assert (target / "bin/zeros").read_bytes() == (tree / "bin/zeros").read_bytes()
    assert os.getxattr(target / "bin/sh", "user.x") == b"\x00\xff\x80"


@pytest.mark.parametrize("name", ["../kept", "../../kept", "a/../../../kept", "/../../kept", "bin/.."])
def test_names_that_lead_out_are_refused(target: Path, name: str) -> None:
    assert "leads out" in refused(Archive().shell().add(name, b"evil").data(), target)


def test_absolute_names_begin_at_the_root(target: Path, tmp_path: Path) -> None:
    extract(Archive().shell().add(f"{tmp_path}/kept", b"evil").add("//etc/y", b"1").data(), target)
    assert (target / "etc/y").read_bytes() == b"1"


def test_links_that_lead_out_end_at_the_root(target: Path, tmp_path: Path) -> None:
    data = (
        Archive()
        .shell()
        .link("out", "../../..")
        .add("out/kept", b"evil")
        .link("abs", str(tmp_path))
        .folder(str(tmp_path)[1:])
        .add("abs/kept", b"evil")
        .link("file", str(tmp_path / "kept"))
        .add("file", b"evil")
        .data()
    )
    extract(data, target)
    assert (target / "kept").read_bytes() == b"evil"
    assert not (target / "file").is_symlink()


def test_hard_links_reach_nothing_outside(target: Path, tmp_path: Path) -> None:
    for to in (str(tmp_path / "kept"), "/etc/passwd"):
        assert "not before it" in refused(Archive().shell().link("l", to, tarfile.LNKTYPE).data(), target)
    assert "leads out" in refused(Archive().shell().link("l", "../../kept", tarfile.LNKTYPE).data(), target)
    data = Archive().shell().link("d", str(tmp_path)).link("l", "d/kept", tarfile.LNKTYPE).data()
    assert "not before it" in refused(data, target)


def test_a_hard_link_to_itself_is_harmless(target: Path) -> None:
    extract(Archive().shell().add("a", b"1").link("a", "a", tarfile.LNKTYPE).data(), target)
    assert (target / "a").read_bytes() == b"1"


def test_a_device_of_an_earlier_entry_is_never_opened(target: Path) -> None:
    """With the numbers of /dev/null: content written to it would be gone; a new file holds it."""
    data = (
        Archive()
        .shell()
        .add("disk", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)
        .add("disk", b"content")
        .add("disk2", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)
        .link("also", "disk2")
        .add("also", b"content")
        .add("pipe", kind=tarfile.FIFOTYPE)
        .add("pipe", b"content")
        .data()
    )
    extract(data, target)
    for name in ("disk", "also", "pipe"):
        assert (target / name).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("kind", "to"),
    [(tarfile.SYMTYPE, "/etc"), (tarfile.REGTYPE, ""), (tarfile.CHRTYPE, ""), (tarfile.LNKTYPE, "x")],
)
def test_a_root_that_is_no_folder_is_refused(target: Path, kind: bytes, to: str) -> None:
    for name in (".", "./", "/"):
        assert "root is not a folder" in refused(Archive().add(name, kind=kind, linkname=to).data(), target)


def test_later_entries_replace_earlier_ones(target: Path) -> None:
    data = (
        Archive()
        .folder("usr")
        .folder("usr/lib")
        .link("lib", "usr/lib")
        .folder("lib")
        .add("lib/x", b"1")
        .add("lib/x", b"22")
        .link("t", "nowhere")
        .folder("t")
        .folder("e")
        .link("e", "usr")
        .shell()
        .data()
    )
    extract(data, target)
    assert (target / "lib").is_symlink()
    assert (target / "usr/lib/x").read_bytes() == b"22"
    assert not (target / "t").is_symlink()
    assert (target / "e").is_symlink()


def test_a_link_in_a_circle_is_an_error(target: Path) -> None:
    assert "a/x" in refused(Archive().link("a", "b").link("b", "a").add("a/x", b"1").data(), target)


def test_limits(target: Path) -> None:
    many = Archive().shell().add("big", bytes(1000)).data()
    assert "more than 500 bytes" in refused(many, target, most_bytes=500)
    assert "too long" in refused(Archive().add("x/" * 2100 + "x", b"").data(), target)
    assert "too long" in refused(Archive().add("n" * 256, b"").data(), target)
    assert "too long" in refused(Archive().link("l", "x" * 5000).data(), target)


def test_a_bomb_is_stopped(target: Path) -> None:
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as packed:
        entry = tarfile.TarInfo("bomb")
        entry.size = 1 << 40
        packed.write(entry.tobuf())
        for _ in range(64):
            packed.write(bytes(1 << 20))
    begin = time.monotonic()
    assert "more than" in refused(bomb.getvalue(), target, most_bytes=1 << 20)
    assert time.monotonic() - begin < 5
    assert not (target / "bomb").exists()


def test_a_header_that_wants_all_memory_is_refused(target: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 40
    assert refused(header.tobuf() + bytes(1 << 20), target)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_cut_is_noticed(target: Path, compress: object) -> None:
    assert callable(compress)
    data = Archive().shell().add("a", os.urandom(3000)).add("b", os.urandom(3000)).data()
    # Without the padding: an archive may end after its first block of zeros.
    data = compress(data[: 512 * (2 + 7 + 7 + 1)])
    extract(data, target)
    for length in range(1, len(data) - 1, 911):
        assert refused(data[:length], target), length


def test_damage_is_noticed(target: Path) -> None:
    data = bytearray(gzip.compress(Archive().shell().add("a", os.urandom(100_000)).data()))
    data[50_000] ^= 1
    assert refused(bytes(data), target)


@pytest.mark.parametrize("data", [b"x" * 100, b"x" * 100_000, b"\0" * 100, b"<html>" * 1000])
def test_what_is_no_archive_is_refused(target: Path, data: bytes) -> None:
    assert refused(data, target)


def test_empty_and_zip_are_named(target: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        extract(b"", target)
    with pytest.raises(UsageError, match="zip"):
        extract(b"PK\3\4" + bytes(100), target)


def test_a_rootfs_must_hold_something_to_run(target: Path) -> None:
    assert "has none of /bin/bash" in refused(Archive().add("bin/sh", b"", mode=0o644).data(), target)
    assert "has none of" in refused(Archive().link("bin/sh", "/nowhere").data(), target)


def test_a_shell_may_be_a_link(target: Path) -> None:
    extract(
        Archive().add("usr/bin/dash", b"#!").link("bin", "usr/bin").link("usr/bin/sh", "/bin/dash").data(),
        target,
    )


def test_cancel_ends_it_at_once(target: Path) -> None:
    data = Archive().shell().add("big", os.urandom(4_000_000)).data()
    steps: list[Progress] = []
    with pytest.raises(Cancelled):
        tarball.extract(io.BytesIO(data), str(target), steps.append, lambda: len(steps) > 3)
    children = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "unpack.py"], stdout=subprocess.PIPE, check=False
    ).stdout
    assert not children


def test_progress_counts_the_bytes_read(target: Path) -> None:
    data = Archive().shell().add("big", os.urandom(1_000_000)).data()
    steps: list[Progress] = []
    tarball.extract(io.BytesIO(data), str(target), steps.append, lambda: False, size=len(data))
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[-1].done, steps[-1].total) == (len(data), len(data))


def test_programs_of_the_archive_are_not_run(target: Path, tmp_path: Path) -> None:
    """A module of the standard library in the archive, where the unpacking process would look for it."""
    archive = Archive().shell()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for folder in (f"usr/lib/{version}", f"usr/local/lib/{version}", "."):
        for module in ("stringprep", "encodings/idna", "traceback", "base64"):
            archive.add(f"{folder}/{module}.py", b"open('/evil', 'w')")
    archive.add("../x", b"")
    assert refused(archive.data(), target)
    assert not (target / "evil").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1795468681.918402123", 1795468681918402123),
        (b"1", 10**9),
        (b"1.5", 1_500_000_000),
        (b"1.1234567899", 1_123_456_789),
        (b"inf", 7),
        (b"nan", 7),
        (b"-5.5", -5_500_000_000),
        (b"1e30", 7),
        (b"9" * 30, 7),
        (b"99999999999", 2**34 * 10**9),
        (b"", 7),
    ],
)
def test_times_are_exact_and_sane(text: bytes, expected: int) -> None:
    assert tarheaders.nanoseconds(text, 7) == expected
