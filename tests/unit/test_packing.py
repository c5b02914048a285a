"""The archive's parts: blocks of xz, headers of tar, the first member, what settings of others may say."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
from pathlib import Path

import pytest

from nspawn.errors import Damaged
from nspawn.images import archive, head, tarball, tarwriter, xzblocks
from nspawn.model import exported
from nspawn.model.progress import Cancelled, Progress
from nspawn.model.settings import Autostart, Network, Restart, Settings

SIZES = (0, 1, 1000, xzblocks.PIECE - 1, xzblocks.PIECE, xzblocks.PIECE * 2 + 77)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_of_xz_are_one_stream(size: int, tmp_path: Path) -> None:
    data = (os.urandom(1000) * (size // 1000 + 1))[:size]
    words = [sys.executable, "-I", "-S", xzblocks.__file__, "2"]
    packed = subprocess.run(words, input=data, capture_output=True, check=True).stdout
    assert subprocess.run(["xz", "-dc"], input=packed, capture_output=True, check=True).stdout == data
    assert lzma.decompress(packed) == data
    (tmp_path / "x.xz").write_bytes(packed)
    told = subprocess.run(
        ["xz", "--robot", "-lvv", tmp_path / "x.xz"], capture_output=True, check=True
    ).stdout
    blocks = [line.split(b"\t") for line in told.splitlines() if line.startswith(b"block\t")]
    assert len(blocks) == -(-size // xzblocks.PIECE)
    assert all(block[12] == b"cu" for block in blocks)  # both sizes in the header


def test_a_full_disk_ends_the_compressor() -> None:
    words = [sys.executable, "-I", "-S", xzblocks.__file__, "2"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, input=b"x", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"No space left on device\n")


@pytest.mark.parametrize("length", [*range(1, 30), 85, 86, 87, 88, 985, 986, 987, 988, 9980, 9985, 9990])
def test_records_count_themselves(length: int) -> None:
    record = tarwriter._record(b"path", b"x" * length)
    assert int(record.partition(b" ")[0]) == len(record)
    assert record.endswith(b"x\n")


def member(content: bytes = b"text", name: str = exported.MEMBER, more: bytes = b"") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo("more")
        entry.size = len(more)
        tar.addfile(entry, io.BytesIO(more))
    return file.getvalue()


class Dripping:
    """A reader that gives little at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._most))


def zstd(data: bytes) -> bytes:
    if not shutil.which("zstd"):
        pytest.skip("needs the zstd program")
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
@pytest.mark.parametrize("most", [7000, 1 << 20])
def test_the_first_member_and_then_all_of_it(compress: object, most: int) -> None:
    assert callable(compress)
    data = compress(member(more=os.urandom(1_500_000)))
    found, whole = head.first_member(Dripping(data, most), exported.MEMBER)
    assert found == b"text"
    parts = []
    while part := whole.read(65536):
        parts.append(part)
    assert b"".join(parts) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 5000,
        bytes(5000),
        member(name="other"),
        member(b"#" * (3 << 20)),
        member()[:514],
        lzma.compress(member(b"#" * 100_000))[:100],
        b"\xfd7zXZ\0" + bytes(100_000),
        b"\x1f\x8b" + bytes(100_000),
        b"BZh9" + bytes(100_000),
        lzma.compress(bytes(64 << 20)),
    ],
)
def test_archives_that_do_not_begin_so(data: bytes) -> None:
    with pytest.raises(Damaged):
        head.first_member(io.BytesIO(data), exported.MEMBER)


def dumps(document: dict[str, object]) -> str:
    import tomli_w

    return tomli_w.dumps(document)


REACHING = Settings(
    rootfs="/etc",
    binds=("/data:/data", "/:/host"),
    storage="/sdcard",
    wake_lock=True,
    hostname="first",
    env={"A": "b"},
    autostart=Autostart(enabled=True, after=("other",)),
    restart=Restart(policy="always", delay=3.0),
    network=Network(
        mode="nat",
        pin=("vpn",),
        on_down="fallback",
        ports=("80:80/tcp",),
        port_range=("90:95",),
        ip="10.11.0.9",
    ),
)


def test_settings_survive() -> None:
    value = exported.Exported(name="box", settings=REACHING, machine="aarch64", program="nspawn 1")
    text = exported.write(value, dumps)
    assert tomllib.loads(text)["format"] == 1
    assert exported.read(text.encode()) == value


def test_what_an_import_leaves_out() -> None:
    kept, notes = exported.harmless(REACHING)
    assert kept == Settings(
        hostname="first",
        env={"A": "b"},
        restart=Restart(delay=3.0),
        network=Network(mode="nat", pin=("vpn",)),
    )
    told = "\n".join(notes)
    for text in (
        "/data:/data, /:/host",
        "/sdcard",
        "80:80/tcp, 90:95",
        "10.11.0.9",
        "start with",
        "wake_lock",
        "restart.policy always",
        "on_down fallback",
    ):
        assert text in told
    assert "machine's network" not in told
    kept, notes = exported.harmless(Settings())
    assert kept == Settings()
    assert notes == ["its programs are in this machine's network (network.mode host)"]
    assert exported.harmless(Settings(network=Network(mode="none"))) == (
        Settings(network=Network(mode="none")),
        [],
    )


def test_what_a_clone_leaves_to_the_original() -> None:
    kept, notes = exported.twin(REACHING)
    assert (kept.rootfs, kept.hostname, kept.binds) == ("", "", REACHING.binds)
    assert kept.network == Network(mode="nat", pin=("vpn",), on_down="fallback")
    assert kept.restart == REACHING.restart
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "box"', 'name = "../box"'),
        ('name = "box"', 'name = ""'),
        ('name = "box"', "name = 7"),
        ('name = "box"', f'name = "{"a" * 64}"'),
        ("format = 1", "format = 2"),
        ("format = 1", "format = true"),
        ("format = 1", ""),
        ("[settings]", "[settings]\nunknown = 1"),
        ("[settings]\nversion = 1", "[settings]\nversion = 99"),
        ("binds = []", 'binds = ["/a:/../b"]'),
        ("binds = []", 'binds = ["a:/b"]'),
        ('rootfs = ""', 'rootfs = "etc"'),
        ("[settings]", "settings = 1\n[other]"),
    ],
)
def test_settings_of_others_are_checked(old: str, new: str) -> None:
    text = exported.write(exported.Exported(name="box", settings=Settings()), dumps)
    assert old in text
    with pytest.raises(Damaged):
        exported.read(text.replace(old, new, 1).encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="the child makes it its root")
def test_a_copy_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    for index in range(300):
        (tmp_path / "from" / str(index)).write_bytes(bytes(100_000))
    steps: list[Progress] = []
    with pytest.raises(Cancelled):
        archive.copy(str(tmp_path / "from"), str(tmp_path / "to"), steps.append, lambda: bool(steps))
    assert not subprocess.run(["pgrep", "-f", "images/pack"], capture_output=True, check=False).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the child makes it its root")
def test_what_is_packed_can_be_unpacked_however_deep(tmp_path: Path) -> None:
    tree, target = tmp_path / "from", tmp_path / "to"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/sh").write_text("#!")
    (tree / "bin/sh").chmod(0o755)
    target.mkdir()
    deep = tree
    for index in range(256):
        deep /= f"d{index}"
    deep.mkdir(parents=True)
    (deep / "too deep").write_text("")
    with open(tmp_path / "a.tar", "w+b") as file:
        packed = archive.pack(
            str(tree), file.fileno(), ("first", "text"), lambda _step: None, lambda: False, compress="none"
        )
        assert packed.notes == ("1 files were left out: their paths are too long or too deep",)
        file.seek(0)
        tarball.extract(file, str(target), lambda _step: None, lambda: False)
    assert (target / deep.relative_to(tree)).is_dir()
    shutil.rmtree(tmp_path / "from/d0")


@pytest.mark.skipif(os.geteuid() != 0, reason="the child makes it its root")
@pytest.mark.parametrize("compress", ["none", "xz"])
def test_a_slow_reader_is_waited_for(compress: str, tmp_path: Path) -> None:
    """It takes as long as several times the patience, little by little."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from/x").write_bytes(os.urandom(400_000))
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    found: list[bytes] = []

    def read() -> None:
        while data := os.read(out, 4096):
            found.append(data)
            time.sleep(0.025)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        archive.pack(
            str(tmp_path / "from"),
            into,
            ("first", "text"),
            lambda _step: None,
            lambda: False,
            compress=compress,
            patience=0.75,
        )
    finally:
        os.close(into)
        reader.join()
        os.close(out)
    with tarfile.open(fileobj=io.BytesIO(b"".join(found))) as tar:
        file = tar.extractfile("x")
        assert file is not None
        assert file.read() == (tmp_path / "from/x").read_bytes()
