"""Formats as other programs write them, and archives that were made to do harm."""

from __future__ import annotations

import io
import lzma
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.errors import Damaged, NspawnError
from nspawn.images import tarball
from nspawn.model.progress import Cancelled, Progress
from tests.support.command import check, run
from tests.support.tars import (
    END,
    SHELL,
    Archive,
    extract,
    filled,
    header,
    pax,
    refused,
    surroundings,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking keeps owners and makes nodes: it needs root"),
]
_CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
_CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; what is beside it stays as it was."""
    path = tmp_path / "inside/rootfs"
    path.mkdir(parents=True)
    (tmp_path / "kept").write_text("kept")
    before = surroundings(tmp_path)
    yield path
    assert surroundings(tmp_path) == before


def tree(place: Path) -> Path:
    """One of everything that a file system can hold."""
    place.mkdir(parents=True)
    deep = place / "d" / ("n" * 120) / ("m" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(os.urandom(70_000))
    (place / "bin").mkdir()
    (place / "bin/sh").write_text("#!")
    (place / "bin/sh").chmod(0o4755)
    (place / "empty").touch()
    (
        place / "new\nline \\ \udcff".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    ).touch()
    (place / "gr\xfc\xdf").write_text("x")
    os.link(place / "bin/sh", place / "bin/again")
    os.symlink("n" * 150, place / "link")
    os.link(place / "link", place / "same-link", follow_symlinks=False)
    for name, kind, device in (("null", stat.S_IFCHR, (1, 3)), ("disk", stat.S_IFBLK, (259, 300))):
        os.mknod(place / name, kind | 0o640, os.makedev(*device))
    os.mkfifo(place / "pipe")
    for name, pieces in (("holes", range(0, 2_000_000, 100_000)), ("end", [0]), ("hole", [])):
        with open(place / name, "wb") as file:
            for at in pieces:
                file.seek(at)
                file.write(os.urandom(5000))
            file.truncate(5_000_000)
    with open(place / "big-hole", "wb") as file:
        file.seek(9 << 30)
        file.write(b"end")
    for name in ("bin/sh", "d", "link"):
        os.chown(place / name, 1234, 54321, follow_symlinks=False)
    (place / "bin/sh").chmod(0o6711)
    (place / "d").chmod(0o3777)
    os.setxattr(place / "gr\xfc\xdf", "security.capability", _CAPABILITY)
    os.setxattr(place / "d", "trusted.x", b"\x00\xff\n=")
    os.setxattr(place / "link", "trusted.y", b"of a link", follow_symlinks=False)
    os.setxattr(place / "disk", "trusted.z", b"of a node")
    for count, (where, folders, files) in enumerate(os.walk(place, topdown=False)):
        for name in (*folders, *files):
            moment = 10**18 + count * 10**9 + 123456789
            os.utime(f"{where}/{name}", ns=(moment, moment), follow_symlinks=False)
    os.utime(place, ns=(10**18, 10**18))
    return place


def described(place: Path, *, nanoseconds: bool) -> list[str]:
    """A tree as find(1) sees it, with attributes and the hash of the contents."""
    moment = "%T@" if nanoseconds else "%Ts"
    words = ["find", ".", "-printf", rf"%P\t%y %m %U:%G %n {moment} %l\0"]
    lines = run(words, directory=place).stdout.split(b"\0")
    seen = [repr(line) for line in lines]
    for where, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = f"{where}/{name}"
            status = os.lstat(path)
            words = [os.path.relpath(path, place)]
            words += [
                f"{key}={os.getxattr(path, key, follow_symlinks=False)!r}"
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            ]
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                words.append(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
            else:
                words.append(str(status.st_size) if not stat.S_ISDIR(status.st_mode) else "")
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 30:
                words.append(f"{zlib.crc32(Path(path).read_bytes())}")
            seen.append(repr(words))
    if shutil.which("getcap"):
        seen += run(["getcap", "-r", "."], directory=place).lines
    return sorted(seen)


@pytest.fixture(scope="module")
def one_of_everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("tree") / "tree")


@pytest.mark.parametrize(
    ("words", "exact"),
    [
        (("--format=posix", "--sparse"), True),
        (("--format=posix", "--sparse", "--sparse-version=0.1"), True),
        (("--format=posix", "--sparse", "--sparse-version=0.0"), True),
        (("--format=gnu", "--sparse"), False),
    ],
)
def test_the_tree_is_the_one_that_tar_unpacks(
    target: Path, tmp_path: Path, one_of_everything: Path, words: tuple[str, ...], exact: bool
) -> None:
    xattrs = ("--xattrs", "--xattrs-include=*") if exact else ()
    packed = tmp_path / "inside/packed.tar"
    check(["tar", "-C", one_of_everything, *xattrs, *words, "-cf", packed, "."])
    theirs = tmp_path / "inside/theirs"
    theirs.mkdir()
    check(["tar", "-C", theirs, "--numeric-owner", *xattrs, "-xpf", packed])
    with open(packed, "rb") as file:
        tarball.extract(file, str(target), lambda _step: None, lambda: False)
    seen = described(target, nanoseconds=exact)
    assert seen == described(theirs, nanoseconds=exact)
    if exact:
        assert seen == described(one_of_everything, nanoseconds=True)
    for name in ("holes", "hole", "big-hole"):
        assert (target / name).stat().st_blocks <= (theirs / name).stat().st_blocks + 8


def test_what_another_program_writes(target: Path, one_of_everything: Path) -> None:
    """The GNU and ustar formats of tarfile."""
    for kind in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        shutil.rmtree(target)
        target.mkdir()
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=kind, errors="surrogateescape") as archive:
            archive.add(one_of_everything / "d" / ("n" * 120), "d/e")
            archive.add(one_of_everything / "bin", "bin")
        extract(data.getvalue(), target)
        for ours, theirs in (("d/e", "d/" + "n" * 120), ("bin", "bin")):
            for path in (one_of_everything / theirs).rglob("*"):
                twin = (target / ours / path.relative_to(one_of_everything / theirs)).lstat()
                assert (twin.st_mode, twin.st_uid, twin.st_size) == (
                    path.lstat().st_mode,
                    path.lstat().st_uid,
                    path.lstat().st_size,
                )


def test_numbers_of_base_256(target: Path) -> None:
    size = (1 << 95 | 3).to_bytes(12, "big")
    early = (-5 & (1 << 96) - 1).to_bytes(12, "big")
    data = header(b"a", size=size, at_136=early, at_108=b"\x80\0\0\0\0\x0f\x42\x40") + filled(b"abc")
    extract(data + SHELL + END, target)
    status = (target / "a").stat()
    assert (status.st_size, status.st_uid, status.st_mtime) == (3, 1_000_000, -5)


def test_global_headers_hold_until_an_own_one(target: Path) -> None:
    data = (
        pax((b"uid", b"7"), (b"comment", b"x"), kind=b"g")
        + SHELL
        + pax((b"uid", b"8"))
        + header(b"a")
        + header(b"b")
    )
    extract(data + END, target)
    assert [(target / name).stat().st_uid for name in ("bin/sh", "a", "b")] == [7, 8, 7]


def test_long_names_of_gnu(target: Path) -> None:
    name, to = b"n" * 200 + b"/" + b"m" * 200, b"t" * 300
    data = (
        header(b"././@LongLink", b"K", len(to) + 1)
        + filled(to + b"\0")
        + header(b"././@LongLink", b"L", len(name) + 1)
        + filled(name + b"\0")
        + header(b"short", b"2", at_157=b"cut")
    )
    extract(data + SHELL + END, target)
    assert os.readlink(target / os.fsdecode(name)) == os.fsdecode(to)


def test_folders_with_an_acl_give_it_to_nothing(target: Path) -> None:
    """A default ACL comes last: what is made in the folder would inherit it."""
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + b"\xff\xff\xff\xff"
        for tag, mode in ((1, 7), (4, 0), (32, 0))
    )
    data = pax((b"SCHILY.xattr.system.posix_acl_default", acl)) + header(b"d", b"5") + header(b"d/f")
    unpacked = extract(data + SHELL + END, target)
    if not unpacked.skipped:
        assert os.getxattr(target / "d", "system.posix_acl_default") == acl
    assert stat.S_IMODE((target / "d/f").stat().st_mode) == 0o755
    assert "system.posix_acl_access" not in os.listxattr(target / "d/f")


def test_a_target_that_passes_on_its_group(target: Path) -> None:
    os.chown(target, 0, 99)
    target.chmod(0o2755)
    extract(Archive().shell().folder("d").add("d/f").data(), target)
    assert [(target / name).stat().st_gid for name in ("bin/sh", "d", "d/f")] == [0, 0, 0]
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o755


def test_what_is_left_out_is_told(target: Path) -> None:
    attributes = tuple((b"SCHILY.xattr.nonsense." + name, b"1") for name in (b"a", b"b"))
    data = (
        SHELL
        + pax(*attributes)
        + header(b"a")
        + header(b"volume", b"V")
        + header(b"more", b"M", 3)
        + filled(b"x")
    )
    unpacked = extract(data + END, target)
    assert unpacked.skipped == 4
    assert unpacked.notes == ("2 extended attributes were left out", "2 entries of other kinds were left out")
    assert sorted(path.name for path in target.iterdir()) == ["a", "bin"]


_SPARSE = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s")


def mapped(text: bytes, size: bytes = b"1000", content: bytes = b"", told: int | None = None) -> bytes:
    """A sparse file of format 1.0 with this map."""
    body = filled(text) + content
    length = len(body) if told is None else told
    return pax(*_SPARSE, (b"GNU.sparse.realsize", size)) + header(b"x", size=length) + filled(body)


@pytest.mark.parametrize(
    "data",
    [
        mapped(b"1\n0\n600\n", content=bytes(500)),
        mapped(b"1\n0\n400\n", content=bytes(500)),
        mapped(b"2\n300\n100\n200\n100\n", content=bytes(200)),
        mapped(b"2\n0\n100\n50\n100\n", content=bytes(200)),
        mapped(b"1\n999\n2\n", content=bytes(2)),
        mapped(b"1\n-5\n2\n", content=bytes(2)),
        mapped(b"1\n0\n"),
        mapped(b"9999999999\n0\n"),
        mapped(b"99999999999999999999999999\n0\n0\n"),
        mapped(b"x\n0\n0\n"),
        mapped(b"0\n", told=1 << 50),
        mapped(b"0\n", size=b"9223372036854775809"),
        mapped(b"0\n", size=b""),
        mapped(b"1\n9223372036854775806\n5\n", size=b"9223372036854775807", content=bytes(5)),
        mapped(b"1\n1\n1\n", told=100),
        pax((b"GNU.sparse.map", b"0,5,3"), (b"GNU.sparse.size", b"9")) + header(size=5) + filled(b"12345"),
        pax((b"GNU.sparse.map", b"0,9"), (b"GNU.sparse.size", b"9")) + header(size=5) + filled(b"12345"),
        pax((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"4")) + header(size=5) + filled(b"12345"),
        pax((b"GNU.sparse.offset", b"7"), (b"GNU.sparse.numbytes", b"5"), (b"GNU.sparse.size", b"9"))
        + header(size=5)
        + filled(b"12345"),
        header(b"s", b"S", 5, at_386=b"%011o\0%011o\0" % (0, 9), at_483=b"%011o\0" % 9) + filled(b"12345"),
        header(b"s", b"S", 5, at_386=b"%011o\0%011o\0" % (0, 5), at_482=b"\1") + filled(b"12345"),
        header(b"s", b"S", 0, at_482=b"\1") + (bytes(504) + b"\1" + bytes(7)) * 3 + bytes(300),
    ],
)
def test_maps_that_lie_are_refused(target: Path, data: bytes) -> None:
    assert refused(data + SHELL + END, target)


def test_a_huge_hole_costs_nothing(target: Path) -> None:
    extract(mapped(b"1\n0\n2\n", size=b"1099511627776", content=b"ab") + SHELL + END, target, 10_000)
    status = (target / "s").stat()
    assert (status.st_size, status.st_blocks <= 16) == (1 << 40, True)


def test_bombs_of_headers_are_refused(target: Path) -> None:
    big = pax((b"comment", b"x" * 1_000_000))
    assert "consists of headers" in refused(big * 20 + SHELL + END, target)
    assert "header of 2000000 bytes" in refused(header(kind=b"L", size=2_000_000) + bytes(2_000_000), target)
    many = pax(*((b"k%d" % number, b"x") for number in range(100)), kind=b"g")
    assert "global records" in refused(many + SHELL + END, target)
    for kind in (b"x", b"g", b"L", b"K"):
        assert refused(header(kind=kind, size=b"-0000000001\0") + SHELL + END, target)


@pytest.mark.parametrize(
    "text",
    [
        b"5 a=b\n",
        b"9 a=b\n",
        b"a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"6 ab=\n"[:5],
        b"99999999999999999999 a=b\n",
        b"6 abc\n",
    ],
)
def test_damaged_records_are_refused(target: Path, text: bytes) -> None:
    assert "damaged" in refused(header(kind=b"x", size=len(text)) + filled(text) + SHELL + END, target)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pax((b"path", b"a\0b")) + header(), "NUL"),
        (pax((b"linkpath", b"a\0b")) + header(kind=b"2"), "NUL"),
        (pax((b"SCHILY.xattr.user.a\0b", b"1")) + header(), "NUL"),
        (pax((b"path", b"../kept")) + header(), "leads out"),
        (
            pax((b"GNU.sparse.name", b"../kept"), *_SPARSE[:2], (b"GNU.sparse.realsize", b"0"))
            + header(size=512)
            + filled(b"0\n"),
            "leads out",
        ),
        (pax((b"path", b"x/" * 3000)) + header(), "too long"),
        (pax((b"path", b"x/" * 300)) + header(), "too deep"),
        (pax((b"size", b"-1")) + header(), "damaged"),
        (pax((b"size", b"9" * 19)) + header(), "damaged"),
        (pax((b"uid", b"4294967295")) + header(), "no such owner"),
        (pax((b"gid", b"99999999999")) + header(), "no such owner"),
        (header(at_108=b"\xff" * 8), "no such owner"),
        (header(size=b"\xff" * 12), "damaged"),
        (header(size=b"\x80" + b"\x7f" * 11), "damaged"),
        (header(size=b"9z9"), "damaged"),
        (header(kind=b"3", at_329=b"7777777\0"), "no such device"),
        (header(kind=b"4", at_337=b"\x80\xff\xff\xff\xff\xff\xff\xff"), "no such device"),
        (header(b"a", b"1", at_157=b"a/b"), "not before it"),
        (header(b"d", b"5") + header(b"e", b"1", at_157=b"d"), "not permitted"),
        (header(b"f") + header(b"f/g"), "Not a directory"),
        (header(b"f") + header(b"f/g/h/i"), "Not a directory"),
        (header(b"d/f") + header(b"d"), "not empty"),
        (header(b"a", size=100), "ends"),
        (pax((b"path", b"x")), "first half"),
    ],
)
def test_bad_entries_are_refused_with_a_reason(target: Path, data: bytes, why: str) -> None:
    text = refused(SHELL + data + (b"" if why == "ends" else END), target)
    assert why in text
    assert "Error" not in text


def test_a_short_path_to_a_very_deep_folder_is_refused(target: Path) -> None:
    archive = Archive().shell()
    step = "/".join("d" * 100)
    archive.folder(step).link("l0", step)
    for number in range(5):
        archive.folder(f"l{number}/{step}").link(f"l{number + 1}", f"l{number}/{step}")
    assert "too deep" in refused(archive.data(), target)
    shutil.rmtree(target)
    target.mkdir()


def test_the_same_name_again_and_again(target: Path) -> None:
    archive = Archive().shell()
    for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE) * 3:
        archive.add("n", kind=kind, linkname="/nowhere")
    archive.add("n", b"last").link("n2", "n", tarfile.LNKTYPE).add("n", b"new")
    extract(archive.data(), target)
    assert ((target / "n").read_bytes(), (target / "n2").read_bytes()) == (b"new", b"last")


def test_what_follows_the_end(target: Path) -> None:
    plain = Archive().shell().data()
    extract(plain + b"garbage" * 1000, target)
    assert "goes on after its end" in refused(plain + bytes(70 << 20), target)


def test_the_disk_is_full(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder])
    try:
        with pytest.raises(Damaged) as caught:
            extract(Archive().shell().add("big", os.urandom(3_000_000)).data(), folder, 1 << 30)
    finally:
        check(["umount", folder])
    assert "No space left" in caught.value.why
    assert "Free some space" in caught.value.hint


@pytest.mark.parametrize(
    "archive",
    [
        b"".join(header(b"d%d" % number, b"5") for number in range(3000)),
        b"".join(header(b"%d/" % number + b"d/" * 40 + b"x") for number in range(100)),
    ],
    ids=["empty folders", "folders that no entry describes"],
)
def test_entries_without_content_leave_some_of_the_disk_free(tmp_path: Path, archive: bytes) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder])
    try:
        extract(SHELL + archive[: 10 * 512] + END, folder, 1 << 30)
        assert "No space left" in refused(SHELL + archive + END, folder, 1 << 30)
        assert len(list(folder.rglob("*"))) < 1500
    finally:
        check(["umount", folder])


class Failing:
    """A source whose last read, or an earlier one, raises; short reads before that."""

    def __init__(self, data: bytes, error: Exception | None) -> None:
        self._data = io.BytesIO(data)
        self._error = error
        self.ended = False

    def read(self, size: int, /) -> bytes:
        data = self._data.read(min(size, 5 if self._data.tell() < 10 else 1000))
        if not data:
            self.ended = True
            if self._error is not None:
                raise self._error
        return data


def unpacking() -> list[int]:
    """Our children that unpack."""
    found = run(["pgrep", "-P", str(os.getpid()), "-f", "entry/unpack.py"])
    return [int(pid) for pid in found.lines]


@pytest.mark.parametrize(
    "error", [Damaged("the hash is wrong"), Cancelled(), NspawnError("the network is gone")]
)
def test_what_the_source_raises_ends_it(target: Path, error: Exception) -> None:
    """Also when the archive itself was complete: only the last read tells that the hash was right."""
    for data in (Archive().shell().data(), lzma.compress(Archive().shell().data())):
        with pytest.raises(type(error)) as caught:
            tarball.extract(Failing(data, error), str(target), lambda _step: None, lambda: False)
        assert caught.value is error
        shutil.rmtree(target / "bin", ignore_errors=True)
    assert not unpacking()


def test_the_source_is_read_to_its_end(target: Path) -> None:
    source = Failing(lzma.compress(Archive().shell().add("x", os.urandom(50_000)).data()), None)
    steps: list[Progress] = []
    tarball.extract(source, str(target), steps.append, lambda: False)
    assert source.ended
    assert len({step.done for step in steps}) > 40


def test_cancelling_while_nothing_moves(target: Path) -> None:
    """The source gives more than the unpacking process can take while it is stopped."""
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            for pid in unpacking():
                os.kill(pid, signal.SIGSTOP)
        return asked > 8

    data = Archive().shell().add("big", os.urandom(8_000_000)).data()
    with pytest.raises(Cancelled):
        tarball.extract(io.BytesIO(data), str(target), lambda _step: None, cancelled)


def test_altered_archives_neither_escape_nor_crash(target: Path, tmp_path: Path) -> None:
    """A few hundred archives with random damage, each in a folder and a process of its own."""
    base = tmp_path / "inside/base.tar"
    archive = Archive().shell().folder("d", pax_headers={"SCHILY.xattr.user.x": "1"}).add("d/f", b"x" * 2000)
    archive.link("out", "../../..").add("out/kept", b"evil").link("l", "d/f", tarfile.LNKTYPE)
    archive.add("n", kind=tarfile.CHRTYPE, devmajor=1, devminor=3).add("n" * 150, b"1").link("d/l", "/d")
    base.write_bytes(
        archive.data()[: -tarfile.RECORDSIZE + 2048] + mapped(b"1\n0\n5\n", content=b"12345") + END
    )
    seed = random.randrange(1 << 30)
    done = subprocess.run(
        [sys.executable, _CHECKOUT / "tests/support/mangle.py", base, target, str(seed), "250"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"seed {seed}"
    good, bad = map(int, done.stdout.split())
    assert good + bad == 250
    assert bad > 40
