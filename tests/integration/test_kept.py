"""What is kept of images: beside a create that stores one, and while its registry cannot be reached."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import registry as support
from tests.support.ociimages import RUN_CONFIG, Layout, busybox_layers
from tests.support.processes import wait_until
from tests.support.program import Program

pytestmark = pytest.mark.root

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@pytest.fixture(scope="module")
def layers() -> list[bytes]:
    return busybox_layers(Path("/bin/busybox").read_bytes())


def begin(nspawn: Program, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [nspawn.path, *words],
        env=nspawn.changed(None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_half_stored_is_not_removed(nspawn: Program, layers: list[bytes]) -> None:
    layout = Layout()
    one, two = layout.image(layers[:1], arch=ARCH), layout.image(layers, RUN_CONFIG, arch=ARCH)
    stored, waited_for = (each["digest"] for each in json.loads(layout.blobs[two["digest"]])["layers"][:2])
    may = threading.Event()
    with support.fake() as server:
        registry = support.FakeRegistry(server, layout, {"one": one["digest"], "two": two["digest"]})
        usual = server.answer

        def answer(asked: support.Asked) -> support.Answer:
            if asked.path.endswith(waited_for):
                may.wait(60)
            return usual(asked)

        server.answer = answer
        first = f"{registry.host}/it:one"
        nspawn.ok("create", "one", "--image", first, "--keep")
        # Its layer is the first of the other one too: with this record gone, nothing names it.
        create = begin(nspawn, "create", "two", "--image", f"{registry.host}/it:two", "--keep")
        try:
            assert wait_until(
                lambda: any(asked.path.endswith(waited_for) for asked in server.asked), 20, 0.05
            )
            others = [
                begin(nspawn, "image", *words) for words in (["prune"], ["prune", "--all"], ["rm", first])
            ]
            for other in others:
                out, err = other.communicate(timeout=30)
                assert (other.returncode, out) == (1, ""), err
                assert "an image is being stored" in err
                assert "try again" in err
            assert [each["reference"] for each in kept(nspawn)] == [first]
        finally:
            may.set()
            out, err = create.communicate(timeout=30)
        assert create.returncode == 0, err
    found = {each["reference"]: each for each in kept(nspawn)}
    assert found[f"{registry.host}/it:two"]["missing"] == []
    assert stored in found[f"{registry.host}/it:two"]["digests"]
    nspawn.ok("image", "rm", first)
    nspawn.ok("image", "prune")
    assert [each["missing"] for each in kept(nspawn)] == [[]]


def test_who_is_killed_while_storing_holds_nobody_up(nspawn: Program, layers: list[bytes]) -> None:
    layout = Layout()
    top = layout.image(layers, arch=ARCH)
    waited_for = json.loads(layout.blobs[top["digest"]])["layers"][-1]["digest"]
    may = threading.Event()
    with support.fake() as server:
        registry = support.FakeRegistry(server, layout, {"1": top["digest"]})
        usual = server.answer

        def answer(asked: support.Asked) -> support.Answer:
            if asked.path.endswith(waited_for):
                may.wait(60)
            return usual(asked)

        server.answer = answer
        create = begin(nspawn, "create", "box", "--image", f"{registry.host}/it:1", "--keep")
        try:
            assert wait_until(
                lambda: any(asked.path.endswith(waited_for) for asked in server.asked), 20, 0.05
            )
            create.kill()
            create.communicate(timeout=30)
            assert "removed" in nspawn.ok("image", "prune").out
        finally:
            may.set()
            create.kill()
            create.communicate(timeout=30)
    assert not list((nspawn.root / "images").rglob("[0-9a-f]" * 64))


def kept(nspawn: Program) -> list[dict[str, Any]]:
    found = nspawn.json("image", "list", "--json")
    assert isinstance(found, list)
    return found
