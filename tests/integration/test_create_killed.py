"""`create --image` killed at any moment, and on a disk that is full: all of it is there, or nothing."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.imagefiles import rootfs_xz
from tests.support.processes import wait_until
from tests.support.program import Program

POINTS = 50


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def copyfile(self, source: object, outputfile: object) -> None:
        """In pieces, so that there are moments between them."""
        while data := source.read(1 << 17):  # type: ignore[attr-defined]
            try:
                outputfile.write(data)  # type: ignore[attr-defined]
            except OSError:
                return
            time.sleep(0.01)


@pytest.fixture(scope="module")
def image(busybox_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image on a web server of this machine; it takes a quarter of a second to arrive."""
    folder = tmp_path_factory.mktemp("served")
    data = rootfs_xz(busybox_base, extra=2 << 20)
    (folder / "small.tar.xz").write_bytes(data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    digest = hashlib.sha256(data).hexdigest()
    yield f"http://127.0.0.1:{server.server_address[1]}/small.tar.xz#sha256={digest}"
    server.shutdown()
    server.server_close()
    thread.join()


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """All below by their path: mode and size; of folders the size says nothing."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(folder, name))
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            found[os.path.relpath(os.path.join(folder, name), root)] = (status.st_mode, size)
    return found


def test_a_killed_create_is_whole_or_gone(nspawn: Program, image: str) -> None:
    containers = nspawn.root / "containers"
    begun = time.monotonic()
    nspawn.ok("create", "first", "--image", image)
    whole = tree(containers / "first/rootfs")
    seconds = time.monotonic() - begun
    chance = random.Random(20)
    finished = 0
    for number in range(POINTS):
        keep = ["--keep"] if number % 2 else []
        name = f"c{number}"
        child = subprocess.Popen(
            [nspawn.path, "create", name, "--image", image, *keep],
            env=nspawn.changed(None),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.02, seconds * 1.1))
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        made = containers / name
        if made.exists():
            finished += 1
            assert tree(made / "rootfs") == whole, name
            assert (made / "container.toml").read_text().count("small.tar.xz") == 1
    assert finished < POINTS
    nspawn.ok("create", "last", "--image", image, "--keep")

    def swept() -> bool:
        """The processes that unpacked end by themselves; then the next create sweeps up what they left."""
        nspawn("create", "swept", "--image", "builtin")
        return not any(path.name.startswith(".") for path in containers.iterdir())

    assert wait_until(swept, 20, 0.2), list(containers.iterdir())
    assert len(list(containers.iterdir())) == finished + 3
    nspawn.ok("image", "verify")
    kept = [path.name for path in (nspawn.root / "images").rglob("*") if path.is_file()]
    assert not [name for name in kept if name.endswith(".part")]


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_create_says_so_and_leaves_nothing(
    nspawn: Program, image: str, sig: signal.Signals
) -> None:
    child = subprocess.Popen(
        [nspawn.path, "create", "box", "--image", image],
        env=nspawn.changed(None),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    coming = nspawn.root / "containers/.creating-box/rootfs"
    assert wait_until(lambda: coming.is_dir() and any(coming.iterdir()), 10, 0.005)
    child.send_signal(sig)
    _out, err = child.communicate(timeout=10)
    assert (child.returncode, "cancelled" in err) == (130, True), err
    assert os.listdir(nspawn.root / "containers") == []


def test_a_full_disk_leaves_nothing(nspawn: Program, busybox_base: Path, tmp_path: Path) -> None:
    """At several sizes of the disk, from nothing at all to what is kept free."""
    archive = tmp_path / "small.tar"
    archive.write_bytes(rootfs_xz(busybox_base))
    nspawn.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", nspawn.root], check=True)
    try:
        for free in (0, 300_000, 900_000, 66_000_000):
            filler = nspawn.root / "filler"
            disk = os.statvfs(nspawn.root)
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - free or 1)
            result = nspawn("create", "box", "--image", archive)
            assert result.status == 1, (free, str(result))
            assert "ree" in result.err  # Free some space, Free about
            containers = nspawn.root / "containers"
            assert not containers.exists() or os.listdir(containers) == []
            filler.unlink()
        nspawn.ok("create", "box", "--image", archive)
    finally:
        subprocess.run(["umount", nspawn.root], check=True)


def test_what_keeps_blobs_from_being_removed_is_told(nspawn: Program, image: str) -> None:
    nspawn.ok("create", "box", "--image", image, "--keep")
    (nspawn.root / "images/index/odd.json").write_text("{")
    said = nspawn("image", "prune", "--all")
    assert said.status == 1
    assert "the record odd.json cannot be used" in said.err
    (nspawn.root / "images/index/odd.json").unlink()
    nspawn.ok("image", "prune", "--all")
    assert not [path for path in (nspawn.root / "images/blobs").rglob("*") if path.is_file()]
