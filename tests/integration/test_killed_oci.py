"""Creates from a registry killed at any moment: whole or not there; what is kept is right."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import killing
from tests.support import registry as support
from tests.support.ociimages import RUN_CONFIG, Layout, busybox_layers, entry, tar
from tests.support.program import Program
from tests.support.registry import Registry

pytestmark = pytest.mark.root
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
POINTS = 50
#: Of headers and manifests, which are asked for by each.
SLACK = 20_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    noise = random.Random(7)
    layers = busybox_layers(Path("/bin/busybox").read_bytes())
    layers += [tar([entry(f"big{each}", content=noise.randbytes(400_000))]) for each in range(3)]
    with support.registry(tmp_path_factory.mktemp("registry")) as found:
        layout = Layout()
        found.push(layout, layout.image(layers, RUN_CONFIG, arch=ARCH), "team/web", "1.0")
        yield found


def test_a_killed_create_is_whole_or_gone(served: Registry, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"SEED={seed}")

    def work(keep: bool) -> tuple[int, int, int]:
        with killing.relay(served.port) as way:
            program = Program(tmp_path / f"state-{keep}")
            chance = random.Random(seed + keep)
            return _kill_often(program, way, chance, ("--keep",) if keep else ())

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(work, (False, True)))
    whole, killed, resumed = (sum(each) for each in zip(*counts, strict=True))
    print(f"{killed} killed, {whole} of them with a container, {resumed} resumed")
    assert killed > POINTS // 2
    assert resumed


def _kill_often(
    program: Program, way: killing.Relay, chance: random.Random, keep: tuple[str, ...]
) -> tuple[int, int, int]:
    image = f"{way.host}/team/web:1.0"
    containers, images = program.root / "containers", program.root / "images"
    usual = killing.whole_run(program, way, "create", "first", "--image", image, *keep)
    expected = killing.tree(containers / "first/rootfs")
    whole = killed = resumed = 0
    for number in range(POINTS // 2):
        shutil.rmtree(images, ignore_errors=True)
        made = containers / f"c{number}"
        words = ("create", made.name, "--image", image, *keep)
        in_time = killing.kill_at(program, way, usual, chance, words)
        killed += in_time
        assert killing.released(containers, ".creating-*")
        assert killing.wrong_blobs(program.root) == []
        if made.exists():
            whole += in_time
            assert killing.tree(made / "rootfs") == expected
            assert "team/web" in (made / "container.toml").read_text()
            shutil.rmtree(made)
        if keep and number % 2:
            held = sum(path.stat().st_size for path in images.glob("blobs/sha256/*"))
            way.begin()
            program.ok(*words)
            assert way.sent <= usual.sent - held + SLACK, (held, usual)
            resumed += held > SLACK
            assert killing.tree(made / "rootfs") == expected
            shutil.rmtree(made)
            assert not list(images.rglob("*.part"))
            program.ok("image", "verify")
    program.ok("create", "last", "--image", "builtin")
    assert sorted(os.listdir(containers)) == ["first", "last"]
    return whole, killed, resumed
