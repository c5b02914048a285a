"""Images: from a reference to a complete root file system, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nspawn.layout import Layout
    from nspawn.model.finish import Finished, FinishWish
    from nspawn.model.image import ImageConfig
    from nspawn.model.imageref import ImageRef
    from nspawn.model.progress import Asked, Report


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a root file system was made from.

    reference: as it was resolved; title: for a person; serial: which build.  config: of an OCI image, else
    None.  finished: what was done after the extraction (the password is in it).  digests: of its layers.
    bytes: of the content; skipped: entries and attributes that could not be kept.
    """

    reference: str
    title: str
    serial: str
    config: ImageConfig | None
    finished: Finished | None
    digests: tuple[str, ...]
    bytes: int
    skipped: int


def fill(
    layout: Layout,
    reference: ImageRef,
    target: str,
    wish: FinishWish,
    report: Report,
    cancelled: Asked,
    *,
    keep: bool = False,
    file: BinaryIO | None = None,
    hold: Sequence[int] = (),
) -> Filled:
    """Put the image into the empty folder `target`, which is the caller's to remove after a failure.

    keep: also store what is fetched.  file: an open archive (standard input, an upload), with a `File`
    reference.  hold: descriptors that the unpacking process keeps open.  Resolves, checks the free space,
    fetches and unpacks at once, verifies, finishes (`images.finish`), and notes the image in the index when
    it is kept.  Raises NspawnError's family, Cancelled.
    """
    raise NotImplementedError


class Images:
    """What is stored, and what can be had."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def search(
        self, text: str, report: Report, cancelled: Asked, *, arch: str = "", fresh: bool = False
    ) -> Sequence[Any]:
        """What the image server has for a distribution (all of them: ""), by name and release."""
        raise NotImplementedError
