"""The crash guard as the boot uses it, until container/guard.py is there: it holds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.layout import Layout


class Guard:
    """blocked: whether containers must not be started."""

    blocked = False

    def __init__(self, layout: Layout, environ: Mapping[str, str]) -> None:
        self.layout = layout
        self.environ = environ

    def note(self, step: str, *, container: str = "", feature: str = "") -> None:
        """Durable, before the step."""

    def clear(self) -> None:
        """The step is over."""
