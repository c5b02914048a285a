"""A disk full at any moment of a download: an error that says so, nothing left, and the next one works."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import imagesite, killing
from tests.support import registry as registries
from tests.support.imagefiles import rootfs_xz
from tests.support.ociimages import RUN_CONFIG, Layout, busybox_layers, entry, tar
from tests.support.program import Program

pytestmark = pytest.mark.root
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
POINTS = 8
ROOMY = "size=1g,nr_inodes=100k"


@contextmanager
def disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ROOMY, "none", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def remount(at: Path, options: str) -> bool:
    """False when more is used already."""
    return (
        subprocess.run(["mount", "-o", f"remount,{options}", "none", at], capture_output=True).returncode == 0
    )


def fill_up(at: Path, chance: random.Random) -> None:
    """Hardly more bytes, or hardly more files, than there are now."""
    bytes_or_files, more = chance.random() < 0.5, chance.randrange(1, 40)
    for _ in range(100):  # what is unpacked meanwhile may be more
        status = os.statvfs(at)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize + more * 4096
        files = status.f_files - status.f_ffree + more
        if remount(at, f"size={used}" if bytes_or_files else f"nr_inodes={files}"):
            return


def names(root: Path) -> list[str]:
    """All files but locks and what is kept of images: lists, and parts of blobs for the next time."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and path.suffix != ".lock" and "images" not in path.parts
    )


def fill_often(way: killing.Relay, room: Path, program: Program, words: Sequence[str], made: Path) -> None:
    """words: of a command that makes the folder `made`."""
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"SEED={seed}")
    chance = random.Random(seed)
    usual = killing.whole_run(program, way, *words)
    files = made / "rootfs" if (made / "rootfs").is_dir() else made
    expected = killing.tree(files)
    subprocess.run(["rm", "-rf", made, program.root / "images"], check=True)
    before = names(room)
    failed = 0
    for _ in range(POINTS):
        point = int(chance.uniform(0, 1) * usual.sent * 0.98)
        way.begin(point, lambda: fill_up(room, chance))
        result = program(*words, timeout=60)
        assert remount(room, ROOMY)
        way.begin()
        if result.status == 0:
            assert killing.tree(files) == expected
        else:
            failed += 1
            assert "space" in result.err.lower(), result.err
            assert "Traceback" not in result.err
            assert not made.exists()
            assert killing.wrong_blobs(program.root) == []
            assert names(room) == before
        subprocess.run(["rm", "-rf", made, program.root / "images"], check=True)
    print(f"{failed} of {POINTS} had no room")
    assert failed
    program.ok(*words)
    assert killing.tree(files) == expected


@pytest.mark.parametrize("kind", ["create", "keep", "getroot"])
def test_a_full_disk_leaves_nothing(kind: str, busybox_base: Path, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as room, imagesite.serve(tmp_path / "site") as site:
        site.add("debian", "trixie", rootfs_xz(busybox_base, extra=1 << 20))
        port = urlsplit(site.address).port
        assert port
        with killing.relay(port) as way:
            program = Program(room / "state", "getroot") if kind == "getroot" else Program(room / "state")
            program.environment["NSPAWN_IMAGE_SERVER"] = f"http://{way.host}"
            words, made = ("debian", "-o", str(room / "out")), room / "out"
            if kind != "getroot":
                keep = ("--keep",) if kind == "keep" else ()
                words = ("create", "web", "--image", "debian", *keep)
                made = program.root / "containers/web/rootfs"
            fill_often(way, room, program, words, made if kind == "getroot" else made.parent)


def test_a_full_disk_leaves_nothing_of_a_registrys_image(tmp_path: Path) -> None:
    noise = random.Random(7)
    layers = busybox_layers(Path("/bin/busybox").read_bytes())
    layers += [tar([entry(f"big{each}", content=noise.randbytes(400_000))]) for each in range(3)]
    with registries.registry(tmp_path / "registry") as found, disk(tmp_path / "disk") as room:
        layout = Layout()
        found.push(layout, layout.image(layers, RUN_CONFIG, arch=ARCH), "team/web", "1.0")
        with killing.relay(found.port) as way:
            program = Program(room / "state")
            words = ("create", "web", "--image", f"{way.host}/team/web:1.0")
            fill_often(way, room, program, words, program.root / "containers/web")
