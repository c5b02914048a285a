"""What an image says of its data and its ports: folders that are kept, forwards on request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.ociimages import Layout, entry, folder, tar
from tests.support.program import Program

SCRIPT = (
    "/bin/sh -c 'echo mark > /data/mark; echo inner > /data/in/mark; touch /loose; "
    "touch /way/made/mark; echo done; exec sleep 100000'"
)


@pytest.fixture
def image(busybox_base: Path, tmp_path: Path) -> Path:
    program = (busybox_base / "bin/busybox").read_bytes()
    layer = tar([folder("bin"), entry("bin/sh", content=program, mode=0o755), folder("etc")])
    layout = Layout()
    config = {
        "Cmd": ["/bin/sh"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
    }
    layout.add(layout.image([layer], config))
    layout.write(tmp_path / "image")
    return tmp_path / "image"


@pytest.mark.parametrize("option", ["--ephemeral", "--read-only"])
def test_volumes_are_kept_where_the_rest_is_not(daemon: Daemon, tmp_path: Path, option: str) -> None:
    nspawn = daemon.nspawn
    outside = tmp_path / "outside"
    outside.mkdir()
    nspawn.ok("create", "box", "--image", "builtin", option, "--command", SCRIPT)
    nspawn.ok("set", "box", "volumes=/data,/data/in,/esc/made,/way/made,/etc/passwd")
    rootfs = nspawn.root / "containers/box/rootfs"
    (rootfs / "esc").symlink_to(f"../../../../../../../..{outside}")
    (rootfs / "way").symlink_to("/srv")
    started = nspawn.ok("start", "box")
    assert "skipped: the volume /etc/passwd" in started.err
    assert daemon.says("box", "done")
    assert (rootfs / "data/mark").read_text() == "mark\n"
    assert (rootfs / "data/in/mark").read_text() == "inner\n"
    assert not (rootfs / "loose").exists()
    status = os.stat(rootfs / "data")
    assert (status.st_mode & 0o7777, status.st_uid) == (0o755, 0)
    # Links mean what they mean inside.
    assert os.listdir(outside) == []
    assert (rootfs / "srv/made/mark").exists()
    nspawn.ok("restart", "box")
    assert nspawn.ok("exec", "box", "cat", "/data/mark").out == "mark\n"


def test_what_an_image_says_becomes_settings(nspawn: Program, image: Path) -> None:
    told = nspawn.ok("create", "app", "--image", image).err
    assert "listens at 53/udp, 80/tcp" in told or "listens at 80/tcp, 53/udp" in told
    settings = nspawn.json("info", "app", "--json")["settings"]  # type: ignore[index]
    assert (sorted(settings["exposed_ports"]), settings["volumes"]) == (["53/udp", "80/tcp"], ["/data"])
    assert settings["network"]["ports"] == []
    assert "/data" in nspawn.ok("info", "app").out
    nspawn.ok("clone", "app", "twin")
    twin = nspawn.json("info", "twin", "--json")["settings"]  # type: ignore[index]
    assert (twin["exposed_ports"], twin["volumes"]) == (settings["exposed_ports"], ["/data"])


def test_all_ports_are_published_on_request(nspawn: Program, image: Path) -> None:
    refused = nspawn("create", "app", "--image", image, "--net", "host", "--publish-all")
    assert refused.status == 2, str(refused)
    assert "only a network of its own" in refused.err
    nspawn.ok("create", "app", "--image", image, "--publish-all", "-p", "8080:80")
    network = nspawn.json("info", "app", "--json")["settings"]["network"]  # type: ignore[index]
    assert (network["mode"], sorted(network["ports"])) == ("nat", ["53:53/udp", "8080:80/tcp"])
    taken = nspawn("create", "two", "--image", image, "--publish-all")
    assert taken.status == 1, str(taken)
    assert "53/udp" in taken.err
    assert not (nspawn.root / "containers/two").exists()
