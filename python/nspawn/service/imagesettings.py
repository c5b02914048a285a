"""What an image says about its run, as a container's settings; what the user has set stays."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from nspawn.errors import UsageError
from nspawn.kernel import inroot
from nspawn.model import kinds
from nspawn.model.runspec import INITS
from nspawn.model.settings import KEYS, forwarded

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from nspawn.model.image import Image, ImageConfig
    from nspawn.model.settings import Settings


def combined(
    asked: Settings, given: AbstractSet[str], image: Image, rootfs: str
) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a container of this image, and what a person should know of them.

    given: keys of settings that the user has set, whatever their values.  A distribution that has an init
    runs it, as a machine of its own would; an image of a registry runs its command.
    """
    if image.config is not None:
        return _of_config(asked, given, image.config)
    if asked.boot or given & {"boot", "command"} or not has_init(rootfs):
        return asked, ()
    if not os.path.exists("/proc/self/ns/pid"):
        why = "its init is not run: this kernel has no PID namespaces, so a shell is what it runs"
        return asked, (why,)
    return replace(asked, boot=True), ()


def _of_config(
    asked: Settings, given: AbstractSet[str], config: ImageConfig
) -> tuple[Settings, tuple[str, ...]]:
    wanted: dict[str, object] = {
        "user": config.user,
        "workdir": config.workdir,
        "stop_signal": config.stop_signal,
        "exposed_ports": config.ports,
        "volumes": config.volumes,
    }
    if not asked.boot:
        wanted["command"] = [*config.entrypoint, *config.command]
    found: dict[str, object] = {}
    notes = []
    for key, value in wanted.items():
        if value and key not in given:
            try:
                found[key] = KEYS[key].check(value)
            except (kinds.Expected, UsageError) as error:
                notes.append(f"its {key} cannot be used: {error}")
    env: dict[str, str] = {}
    for name, text in config.env.items():
        try:
            kinds.ENVIRONMENT.check({name: text})
        except (kinds.Expected, UsageError) as error:
            notes.append(f"its variable {ascii(name)[:60]} cannot be used: {error}")
        else:
            env[name] = text
    if config.ports and not forwarded(asked.network):
        notes.append(f"it listens at {', '.join(config.ports)}; nothing leads there by itself")
    if config.volumes:
        notes.append(f"it keeps its data in {', '.join(config.volumes)}")
    settings = replace(asked, env={**env, **asked.env}, **found)  # type: ignore[arg-type]  # checked by key
    return settings, tuple(notes)


def has_init(rootfs: str) -> bool:
    """Whether an init of the root file system could be started; links count as in the container."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return any(_is_program(root, path) for path in INITS)
    finally:
        os.close(root)


def _is_program(root: int, path: str) -> bool:
    try:
        place = inroot.find(root, path)
    except OSError:
        return False
    try:
        status = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    except OSError:
        return False
    finally:
        os.close(place.folder)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
