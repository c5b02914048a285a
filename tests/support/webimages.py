"""A stand-in for the use cases of images behind the web."""

from __future__ import annotations

import threading
from typing import Any

from nspawn.errors import NotFound, NspawnError, Unreachable
from nspawn.images.blobs import Pruned
from nspawn.model.imageref import ImageRef
from nspawn.model.progress import Asked, Cancelled, Progress, Report


class FakeStored:
    def as_dict(self) -> dict[str, Any]:
        return {"id": "0123456789ab", "reference": "debian:trixie"}


class FakeFound:
    def __init__(self, text: str, arch: str, cloud: bool) -> None:
        self.asked = (text, arch, cloud)

    def as_dict(self) -> dict[str, Any]:
        return {"arch": "amd64", "products": [{"asked": list(self.asked)}], "notes": []}


class FakeImages:
    """One kept image, with the promises of the real ones about errors."""

    def __init__(self) -> None:
        self.there = True
        self.offline = False
        self.late = False
        #: Released with each `resolve`, which waits for `may`.
        self.asking, self.may = threading.Semaphore(0), threading.Event()
        self.may.set()
        self.problem: NspawnError | None = None

    def kept(self) -> list[FakeStored]:
        return [FakeStored()] if self.there else []

    def problems(self) -> list[str]:
        return ["one cannot be read"]

    def get(self, name: str) -> FakeStored:
        if not self.there or name != "0123456789ab":
            raise NotFound(f"there is no stored image {name!r}")
        return FakeStored()

    def resolve(
        self, reference: ImageRef, report: Report, cancelled: Asked, *, arch: str = ""
    ) -> dict[str, Any]:
        report(Progress(phase="asking"))
        self.asking.release()
        assert self.may.wait(60)
        if self.late and cancelled():
            raise Cancelled
        if self.offline:
            raise Unreachable("it cannot be asked", "no route to host")
        return {"reference": str(reference), "arch": arch}

    def remove(self, name: str) -> Pruned:
        if not self.there or name != "0123456789ab":
            raise NotFound(f"there is no stored image {name!r}")
        self.there = False
        return Pruned(count=1, bytes=7, problems=self._problems())

    def prune(self, report: Report, cancelled: Asked, *, everything: bool = False) -> Pruned:
        assert not cancelled()
        report(Progress(phase="removing", done=1, total=1))
        self.there = self.there and not everything
        return Pruned(count=2, bytes=9, problems=self._problems())

    def _problems(self) -> tuple[NspawnError, ...]:
        return () if self.problem is None else (self.problem,)

    def verify(self, report: Report, cancelled: Asked) -> list[str]:
        assert not cancelled()
        report(Progress(phase="verifying", done=1, total=1))
        return ["sha256:" + "0" * 64]

    def search(
        self, text: str, report: Report, cancelled: Asked, *, arch: str = "", cloud: bool = False
    ) -> FakeFound:
        report(Progress(phase="asking the image server"))
        if self.late and cancelled():
            raise Cancelled
        if self.offline:
            raise Unreachable("the image server cannot be asked", "no route to host")
        return FakeFound(text, arch, cloud)
