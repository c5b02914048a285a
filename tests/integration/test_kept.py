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


def hold_up(server: support.Fake, digest: str, may: threading.Event) -> None:
    """Nothing is answered for this blob before it may."""
    usual = server.answer

    def answer(asked: support.Asked) -> support.Answer:
        if asked.path.endswith(digest):
            may.wait(60)
        return usual(asked)

    server.answer = answer


def is_asked(server: support.Fake, digest: str) -> bool:
    """Wait until somebody asks for this blob."""
    return wait_until(lambda: any(asked.path.endswith(digest) for asked in server.asked), 20, 0.05)


def test_what_is_half_stored_is_not_removed(nspawn: Program, layers: list[bytes]) -> None:
    layout = Layout()
    one, two = layout.image(layers[:1], arch=ARCH), layout.image(layers, RUN_CONFIG, arch=ARCH)
    stored, waited_for = (each["digest"] for each in json.loads(layout.blobs[two["digest"]])["layers"][:2])
    may = threading.Event()
    with support.fake() as server:
        registry = support.FakeRegistry(server, layout, {"one": one["digest"], "two": two["digest"]})
        hold_up(server, waited_for, may)
        first = f"{registry.host}/it:one"
        nspawn.ok("create", "one", "--image", first, "--keep")
        # Its layer is the first of the other one too: with this record gone, nothing names it.
        create = begin(nspawn, "create", "two", "--image", f"{registry.host}/it:two", "--keep")
        try:
            assert is_asked(server, waited_for)
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
        hold_up(server, waited_for, may)
        create = begin(nspawn, "create", "box", "--image", f"{registry.host}/it:1", "--keep")
        try:
            assert is_asked(server, waited_for)
            create.kill()
            create.communicate(timeout=30)
            assert "removed" in nspawn.ok("image", "prune").out
        finally:
            may.set()
            create.kill()
            create.communicate(timeout=30)
    assert not list((nspawn.root / "images").rglob("[0-9a-f]" * 64))


def test_a_kept_image_needs_no_registry(nspawn: Program, layers: list[bytes], tmp_path: Path) -> None:
    nspawn.root.mkdir()
    (nspawn.root / "config.toml").write_text("[images]\nretries = 0\n")
    layout = Layout()
    images = [layout.image(layers, RUN_CONFIG, arch=ARCH), layout.image(layers[:1], arch="s390x")]
    with support.registry(tmp_path / "registry") as registry:
        registry.push(layout, layout.index(images), "team/web", "1.0")
        name = f"{registry.host}/team/web"
        nspawn.ok("create", "unkept", "--image", f"{name}:1.0")
        nspawn.ok("create", "first", "--image", f"{name}:1.0", "--keep")
    [found] = kept(nspawn)
    assert (len(found["digests"]), len(found["documents"]), found["missing"]) == (len(layers), 3, [])
    assert found["documents"][0] == found["serial"]
    nspawn.ok("image", "prune")
    nspawn.ok("image", "verify")
    record = nspawn.root / f"images/index/{found['id']}.json"
    record.write_text(record.read_text().replace(str(found["date"]), str(found["date"] - 3 * 86400)))

    second = nspawn.ok("create", "second", "--image", f"{name}:1.0", "--keep")
    assert f"{registry.host} cannot be reached; what was kept 3 days ago is used" in second.err
    assert [each["date"] for each in kept(nspawn)] == [found["date"] - 3 * 86400]
    by_digest = nspawn.ok("create", "third", "--image", f"{name}@{found['serial']}")
    assert "reached" not in by_digest.err
    assert content(nspawn, "first") == content(nspawn, "second") == content(nspawn, "third")
    settings = [nspawn.json("info", box, "--json")["settings"] for box in ("first", "second")]  # type: ignore[index]
    assert settings[0] == settings[1]

    for words in (["--arch", "s390x", "--image", f"{name}:1.0"], ["--image", f"{name}:2.0"]):
        result = nspawn("create", "never", *words)
        assert (result.status, "cannot be reached" in result.err) == (1, True), str(result)
    document = nspawn.root / "images/blobs/sha256" / found["documents"][1][7:]
    document.write_bytes(document.read_bytes().replace(b"sha256", b"sha257"))
    for _ in range(2):
        result = nspawn("create", "never", "--image", f"{name}:1.0")
        assert (result.status, "cannot be reached" in result.err) == (1, True), str(result)
    assert not document.exists()
    assert "parts are gone" in nspawn.ok("image", "list").out


def test_a_registry_that_answers_counts_more_than_what_is_kept(nspawn: Program, layers: list[bytes]) -> None:
    old, new = Layout(), Layout()
    first, second = old.image(layers[:1], arch=ARCH), new.image(layers, RUN_CONFIG, arch=ARCH)
    with support.fake() as server:
        registry = support.FakeRegistry(server, old, {"1": first["digest"]})
        name = f"{registry.host}/it:1"
        nspawn.ok("create", "one", "--image", name, "--keep")
        server.asked.clear()
        nspawn.ok("create", "two", "--image", f"{registry.host}/it@{first['digest']}")
        assert server.asked == []
        again = nspawn.ok("create", "three", "--image", name)
        assert [asked.path for asked in server.asked] == ["/v2/it/manifests/1"]
        assert "kept" not in again.err
        registry.layout, registry.tags = new, {"1": second["digest"]}
        nspawn.ok("create", "four", "--image", name, "--keep")
        assert [each["serial"] for each in kept(nspawn)] == [second["digest"]]
        registry.changed["/v2/it/manifests/1"] = (429, {"Retry-After": "3600"}, b"")
        busy = nspawn.ok("create", "five", "--image", name)
        assert "answers no more" in busy.err
        assert "what was kept a moment ago is used" in busy.err
        registry.changed["/v2/it/manifests/1"] = (404, {}, b"")
        assert nspawn("create", "six", "--image", name).status == 1
    assert content(nspawn, "one") == content(nspawn, "two") == content(nspawn, "three")
    assert content(nspawn, "one") != content(nspawn, "four") == content(nspawn, "five")


def content(nspawn: Program, name: str) -> dict[str, bytes | None]:
    """The files of the container by their path."""
    top = nspawn.root / "containers" / name / "rootfs"
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in top.rglob("*")
        if path.name not in ("hostname", "hosts")
    }


def kept(nspawn: Program) -> list[dict[str, Any]]:
    found = nspawn.json("image", "list", "--json")
    assert isinstance(found, list)
    return found
