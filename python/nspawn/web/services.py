"""What the web calls: the use cases, bundled, so that a test can put its own in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nspawn.images.blobs import Pruned
    from nspawn.model.imageref import ImageRef
    from nspawn.model.progress import Asked, Report
    from nspawn.service.containers import CreateRequest, Outcome
    from nspawn.service.jobs import Jobs
    from nspawn.service.transfer import Moved
    from nspawn.web.auth import AccessPort
    from nspawn.web.events import Watch


class Described(Protocol):
    """A value that has a JSON form."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        ...


class FollowPort(AbstractContextManager["Iterator[bytes]"], Protocol):
    """A console: its history and then its output."""

    def stop(self) -> None:
        """End it, from any thread."""
        ...


class ContainersPort(Protocol):
    """The part of `nspawn.service.containers.Containers` that HTTP reaches."""

    def create(self, request: CreateRequest, report: Report, cancelled: Asked) -> Outcome: ...
    def list(self) -> Sequence[Described]: ...
    def get(self, name: str) -> Described: ...
    def start(self, name: str) -> Described: ...
    def stop(self, name: str, seconds: float | None = None) -> Described: ...
    def restart(self, name: str) -> Described: ...
    def kill(self, name: str, signal: str = "SIGKILL") -> Described: ...
    def freeze(self, name: str) -> Described: ...
    def thaw(self, name: str) -> Described: ...
    def clone(self, source: str, name: str, report: Report, cancelled: Asked) -> Moved: ...
    def export(
        self, name: str, file: str | int, report: Report, cancelled: Asked, *, force: bool = False
    ) -> Moved: ...
    def import_(
        self,
        file: str | BinaryIO,
        name: str,
        report: Report,
        cancelled: Asked,
        *,
        size: int | None = None,
        trusted: bool = False,
    ) -> Moved: ...
    def update(self, name: str, changes: Mapping[str, str]) -> Described: ...
    def rename(self, old: str, new: str) -> object: ...
    def remove(self, name: str) -> None: ...
    def log(self, name: str, limit: int) -> bytes: ...
    def follow(self, name: str) -> FollowPort: ...


class GuardPort(Protocol):
    """The crash guard, as `nspawn.service.guard` has it."""

    def status(self) -> Described: ...
    def try_again(self) -> Described: ...
    def never_use(self, feature: str) -> Described: ...
    def allow(self, feature: str) -> Described: ...


class NetworkPort(Protocol):
    """The network, as `nspawn.service.network.Network` has it."""

    def status(self) -> Described: ...
    def explain(self, name: str) -> Described: ...
    def down(self, *, force: bool = False) -> list[str]: ...


class ImagesPort(Protocol):
    """Images, as `nspawn.service.imagestore.Images` has them."""

    def kept(self) -> Sequence[Described]: ...
    def problems(self) -> Sequence[str]: ...
    def get(self, name: str) -> Described: ...
    def resolve(
        self, reference: ImageRef, report: Report, cancelled: Asked, *, arch: str = ""
    ) -> dict[str, Any]: ...
    def remove(self, name: str) -> Pruned: ...
    def prune(self, report: Report, cancelled: Asked, *, everything: bool = False) -> Pruned: ...
    def verify(self, report: Report, cancelled: Asked) -> list[str]: ...
    def search(
        self, text: str, report: Report, cancelled: Asked, *, arch: str = "", cloud: bool = False
    ) -> Described: ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """watch: opens a stream of the spawner's events; session_seconds: how long a login lasts.

    network, images: load what they need at their first call; network_summary: what the stream tells of a
    change of it.
    """

    containers: ContainersPort
    access: AccessPort
    jobs: Jobs
    guard: GuardPort
    images: Callable[[], ImagesPort]
    network: Callable[[], NetworkPort]
    network_summary: Callable[[], Mapping[str, Any]]
    host: Callable[[], Described]
    readings: Callable[[], Described]
    watch: Callable[[], Watch]
    root: str
    session_seconds: int
