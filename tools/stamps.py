"""What was done for which inputs, so that it is done again only when they change."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from tools import places
from tools.process import say


def digest(*parts: bytes | str | Path) -> str:
    """The sha256 of texts and of files, in order."""
    total = hashlib.sha256()
    for part in parts:
        data = (
            part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        )
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def digest_of(data: bytes) -> str:
    """The plain sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.chmod(mode)
    part.replace(path)


def is_stamped(part: str, value: str) -> bool:
    """Whether a part of setup was last done for these inputs."""
    try:
        return (places.STAMPS / part).read_text() == value
    except OSError:
        return False


def stamp(part: str, value: str) -> None:
    """Note that a part of setup is done."""
    write_whole(places.STAMPS / part, value.encode())


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Setups of one checkout wait for each other."""
    places.CACHE.mkdir(exist_ok=True)
    with (places.CACHE / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup of this checkout is at work: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
