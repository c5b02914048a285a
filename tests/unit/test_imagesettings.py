from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nspawn.model.image import Image, ImageConfig
from nspawn.model.settings import Settings
from nspawn.service import imagesettings

CONFIG = ImageConfig(
    entrypoint=("/entry.sh",),
    command=("serve", "--all"),
    env={"PATH": "/opt/bin:/bin", "MODE": "fast"},
    user="app:app",
    workdir="/srv",
    ports=("80/tcp",),
    stop_signal="SIGQUIT",
    volumes=("/data",),
)


def image(config: ImageConfig | None = None) -> Image:
    return Image(reference="x", title="X", layers=(), config=config)


def program(root: Path, path: str = "sbin/init", mode: int = 0o755) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("#!/bin/sh\n")
    os.chmod(root / path, mode)


def test_an_image_says_what_it_runs(tmp_path: Path) -> None:
    found, notes = imagesettings.combined(Settings(), frozenset(), image(CONFIG), str(tmp_path))
    assert found == Settings(
        command=("/entry.sh", "serve", "--all"),
        env={"PATH": "/opt/bin:/bin", "MODE": "fast"},
        user="app:app",
        workdir="/srv",
        stop_signal="SIGQUIT",
        exposed_ports=("80/tcp",),
        volumes=("/data",),
    )
    assert notes == (
        "it listens at 80/tcp; nothing leads there by itself",
        "it keeps its data in /data",
    )


@pytest.mark.parametrize(
    ("asked", "given", "kept"),
    [
        (Settings(command=("sh",)), {"command"}, {"command": ("sh",)}),
        (Settings(), {"command"}, {"command": ()}),
        (Settings(user="root"), {"user"}, {"user": "root"}),
        (Settings(), {"user", "workdir", "stop_signal"}, {"user": "", "workdir": "", "stop_signal": ""}),
        (Settings(volumes=("/x",)), {"volumes"}, {"volumes": ("/x",), "exposed_ports": ("80/tcp",)}),
        (Settings(), {"exposed_ports"}, {"volumes": ("/data",), "exposed_ports": ()}),
        (Settings(boot=True), {"boot"}, {"boot": True, "command": ()}),
        (Settings(env={"MODE": "slow"}), {"env"}, {"env": {"PATH": "/opt/bin:/bin", "MODE": "slow"}}),
    ],
)
def test_what_the_user_has_set_stays(
    tmp_path: Path, asked: Settings, given: set[str], kept: dict[str, Any]
) -> None:
    found, _notes = imagesettings.combined(asked, frozenset(given), image(CONFIG), str(tmp_path))
    assert {key: getattr(found, key) for key in kept} == kept


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (ImageConfig(user="a:b:c"), "its user cannot be used"),
        (ImageConfig(workdir="relative"), "its workdir cannot be used"),
        (ImageConfig(stop_signal="SIGWHAT"), "its stop_signal cannot be used"),
        (ImageConfig(entrypoint=("",)), "its command cannot be used"),
        (ImageConfig(command=("a\0b",)), "its command cannot be used"),
        (ImageConfig(env={"A-B": "x"}), "its variable 'A-B' cannot be used"),
        (ImageConfig(env={"A": "x\0y"}), "its variable 'A' cannot be used"),
    ],
)
def test_what_is_wrong_in_an_image_is_left_out_and_told(
    tmp_path: Path, config: ImageConfig, told: str
) -> None:
    found, notes = imagesettings.combined(Settings(), frozenset(), image(config), str(tmp_path))
    assert found == Settings()
    assert [note for note in notes if note.startswith(told)]


@pytest.mark.parametrize(
    ("asked", "given", "boots"),
    [
        (Settings(), set(), True),
        (Settings(), {"network.mode"}, True),
        (Settings(), {"boot"}, False),
        (Settings(boot=True), {"boot"}, True),
        (Settings(command=("sh",)), {"command"}, False),
    ],
)
def test_a_distribution_runs_its_init(tmp_path: Path, asked: Settings, given: set[str], boots: bool) -> None:
    program(tmp_path)
    found, notes = imagesettings.combined(asked, frozenset(given), image(), str(tmp_path))
    assert (found.boot, notes) == (boots, ())


def test_without_an_init_it_runs_a_shell(tmp_path: Path) -> None:
    assert imagesettings.combined(Settings(), frozenset(), image(), str(tmp_path)) == (Settings(), ())
    program(tmp_path, mode=0o644)
    assert imagesettings.combined(Settings(), frozenset(), image(), str(tmp_path)) == (Settings(), ())


def test_links_to_an_init_count_as_in_the_container(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    program(outside, "init")
    root = tmp_path / "root"
    (root / "sbin").mkdir(parents=True)
    (root / "sbin/init").symlink_to(outside / "init")
    assert not imagesettings.has_init(str(root))
    (root / "sbin/init").unlink()
    (root / "sbin/init").symlink_to("/lib/systemd/systemd")
    assert not imagesettings.has_init(str(root))
    program(root, "lib/systemd/systemd")
    assert imagesettings.has_init(str(root))
    (root / "sbin").rename(root / "old")
    (root / "sbin").symlink_to("../../../../../old")
    assert imagesettings.has_init(str(root))
