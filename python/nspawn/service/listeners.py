"""Forwards of ports that a program of the machine listens on: it gets no more of what comes from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nspawn.model import listening

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from nspawn.model.forwards import Forward
    from nspawn.model.listening import Listener
    from nspawn.model.netplan import Note


def there() -> Mapping[str, Collection[Listener]]:
    """Every socket of the machine that takes connections or datagrams, by protocol."""
    found: dict[str, list[Listener]] = {}
    for proto, paths in listening.FILES.items():
        found[proto] = []
        for path in paths:
            try:
                with open(path, encoding="ascii") as file:
                    found[proto] += listening.listeners(file.read())
            except OSError:
                continue  # a kernel without IPv6
    return found


def warnings(
    forwards: Iterable[tuple[str, Forward]],
    *,
    page: int,
    ours: Collection[str],
    among: Mapping[str, Collection[Listener]] | None = None,
) -> list[Note]:
    """forwards: with whom they lead to; page: the page's port; ours: the gateway's addresses."""
    return listening.warnings(forwards, there() if among is None else among, page=page, ours=ours)
