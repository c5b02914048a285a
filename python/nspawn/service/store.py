"""The folders of the containers on disk, and container.toml in each."""

from __future__ import annotations

import fcntl
import os
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn.errors import Conflict, Damaged, NotFound, NspawnError
from nspawn.model import settings
from nspawn.model.names import is_container_name, parse_container_name
from nspawn.service import files
from nspawn.sites import add_site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.layout import Layout

_FILE = "container.toml"
#: The last settings that were good: written after each change, and at each start that read them.
_GOOD = "container.toml.good"
#: Seconds to wait for who else changes a container, and between two looks.
_PATIENCE, _PACE = 15.0, 0.01


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """damaged: why container.toml itself could not be used; usable: whether the settings are real ones.

    written: when the settings were, Unix seconds; 0 when that is not known.
    """

    settings: settings.Settings
    written: float = 0.0
    damaged: NspawnError | None = None
    usable: bool = True


class Store:
    """All containers below one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def prepare(self) -> None:
        """Make the folders of the state, 0700, where they are missing."""
        for path in (self.layout.root, self.layout.containers, self.layout.run):
            try:
                os.makedirs(path, 0o700, exist_ok=True)
            except OSError as error:
                raise files.system_error(f"the folder {path} cannot be made", error) from None

    def names(self) -> list[str]:
        """The names of all containers, sorted; folders still being made or removed are none."""
        try:
            with os.scandir(self.layout.containers) as found:
                return sorted(
                    entry.name
                    for entry in found
                    if is_container_name(entry.name) and entry.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.system_error("the containers cannot be listed", error) from None

    def has(self, name: str) -> bool:
        """Whether the container has a folder."""
        path = self.layout.container(parse_container_name(name))
        return os.path.isdir(path) and not os.path.islink(path)

    @contextmanager
    def open(self, name: str) -> Iterator[int]:
        """A descriptor of the container's folder; NotFound."""
        path = self.layout.container(parse_container_name(name))
        try:
            descriptor = files.open_folder(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(
                f"there is no container {name!r}", hint="`nspawn list` shows those that are there."
            ) from None
        except OSError as error:
            raise files.system_error(f"the container {name!r} cannot be read", error) from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def locked(self, name: str) -> Iterator[int]:
        """`open`, held against every other change of this container, in whatever process.

        Conflict when another holds it for long: a copy or an archive is being made of it.
        """
        with self.open(name) as descriptor:
            _lock(descriptor, name)
            if not self._is_there(name, descriptor):
                raise Conflict(f"the container {name!r} was just renamed or removed")
            yield descriptor

    def _is_there(self, name: str, descriptor: int) -> bool:
        try:
            now = os.stat(self.layout.container(name), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(descriptor))

    def load(self, name: str) -> Loaded:
        """The settings; a damaged file is reported and the last good copy used."""
        with self.open(name) as descriptor:
            return load(descriptor, name)

    def save(self, name: str, value: settings.Settings) -> None:
        """Write the settings and the good copy; on failure the old ones stay."""
        with self.open(name) as descriptor:
            save(descriptor, value)


def _lock(descriptor: int, name: str) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise Conflict(
                    f"{name} is busy",
                    "something that takes long is being done with it: a clone, an export",
                    "Try again when that has ended.",
                ) from None
        time.sleep(_PACE)


def load(at: int, name: str) -> Loaded:
    """The settings in the folder `at`, which belongs to the container of this name."""
    good: bytes | None = None
    try:
        good = files.read(_GOOD, at)
    except (OSError, Damaged):
        pass  # only needed when the file itself is damaged, and then said so
    try:
        written = os.stat(_FILE, dir_fd=at, follow_symlinks=False).st_mtime  # before the look: never too new
        return Loaded(settings=_read(files.read(_FILE, at), good), written=written)
    except settings.NewerVersion as error:
        return Loaded(settings=settings.Settings(), damaged=error, usable=False)
    except FileNotFoundError:
        reason = "it is missing"
    except OSError as error:
        reason = error.strerror or str(error)
    except NspawnError as error:
        reason = error.why if isinstance(error, Damaged) and error.why else str(error)
    what = f"the settings of {name!r} are damaged"
    place = f"{name}/{_FILE}"
    if good is not None:
        try:
            value = _read(good, None)
        except NspawnError:
            pass
        else:
            hint = (
                f"Correct {place}, or set anything with `nspawn set {name}` to write it anew from that copy."
            )
            return Loaded(
                settings=value, damaged=Damaged(what, f"{reason}; the last good copy is used", hint)
            )
    damaged = Damaged(what, f"{reason}, and there is no good copy", f"Correct {place} by hand.")
    return Loaded(settings=settings.Settings(), damaged=damaged, usable=False)


def save(at: int, value: settings.Settings) -> None:
    """Write container.toml and its good copy into the folder `at`."""
    add_site_packages()
    import tomli_w

    data = tomli_w.dumps(settings.to_toml_mapping(value)).encode()
    try:
        files.write(_FILE, data, at)
        files.write(_GOOD, data, at)
    except OSError as error:
        raise files.system_error("the settings were not saved", error) from None


def confirm(at: int) -> None:
    """Keep what container.toml holds now as the good copy: its settings were read and used."""
    data = files.read(_FILE, at)
    try:
        if files.read(_GOOD, at) == data:
            return
    except (FileNotFoundError, Damaged):
        pass
    files.write(_GOOD, data, at)


def _read(data: bytes, good: bytes | None) -> settings.Settings:
    """Damaged with the reason, or what `settings.parse` raises."""
    if not data.strip():
        raise Damaged(_FILE, "it is empty")
    if b"\0" in data:
        # ext4 and f2fs leave blocks of zeros where a file was not yet written when the power went.
        raise Damaged(_FILE, "it holds NUL bytes")
    if good is not None and good.startswith(data) and good.rstrip() != data.rstrip():
        # A cut between two lines still is TOML, with settings silently gone.
        raise Damaged(_FILE, f"it is cut off after {len(data)} of {len(good)} bytes")
    try:
        document = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise Damaged(_FILE, "it is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise Damaged(_FILE, f"it is not TOML: {error}") from None
    if "version" not in document:
        raise Damaged(_FILE, "it has no version")
    return settings.parse(document)
