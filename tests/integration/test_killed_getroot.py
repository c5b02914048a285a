"""getroot killed at any moment: the folder is whole or not there, and the next one works."""

from __future__ import annotations

import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import imagesite, killing
from tests.support.imagefiles import rootfs_xz
from tests.support.program import Program

pytestmark = pytest.mark.root
POINTS, WORKERS = 50, 2


def test_a_killed_getroot_is_whole_or_gone(busybox_base: Path, tmp_path: Path) -> None:
    """Every fourth is to replace a folder that is there."""
    data = rootfs_xz(busybox_base, extra=1 << 20)

    def work(number: int) -> tuple[int, int]:
        with imagesite.serve(tmp_path / f"site{number}") as site:
            site.add("debian", "trixie", data)
            port = urlsplit(site.address).port
            assert port
            with killing.relay(port) as way:
                return _kill_often(tmp_path / f"work{number}", way, random.Random(seed + number))

    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"SEED={seed}")
    with ThreadPoolExecutor(WORKERS) as pool:
        counts = list(pool.map(work, range(WORKERS)))
    whole, killed = (sum(each) for each in zip(*counts, strict=True))
    print(f"{killed} killed, {whole} of them with the folder in its place")
    assert killed > POINTS // 2


def _kill_often(work: Path, way: killing.Relay, chance: random.Random) -> tuple[int, int]:
    work.mkdir()
    program = Program(work.with_name(f"{work.name}-state"), "getroot")
    program.environment["NSPAWN_IMAGE_SERVER"] = f"http://{way.host}"
    out, mark = work / "out", ".out.*-*"
    words = ("debian", "-o", out)
    usual = killing.whole_run(program, way, *words)
    usual = killing.whole_run(program, way, *words, "--force")  # the list is known from now on
    expected = killing.tree(out)
    whole = killed = 0
    for number in range(POINTS // WORKERS):
        there = out.exists()
        force = ("--force",) if number % 4 == 3 else ()
        if there and not force:
            shutil.rmtree(out)
            there = False
        in_time = killing.kill_at(program, way, usual, chance, (*words, *force))
        killed += in_time
        if out.exists():
            whole += in_time
            assert killing.tree(out) == expected, number
        elif there:
            assert len(list(work.glob(".out.going-*"))) == 1
        assert killing.released(work, mark)
        if number % 4 == 1:
            program.ok(*words, "--force")
            assert os.listdir(work) == ["out"]
            assert killing.tree(out) == expected
    program.ok(*words, "--force")
    assert os.listdir(work) == ["out"]
    return whole, killed
