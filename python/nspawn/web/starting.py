"""The start that is asked for together with a new container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nspawn.errors import NspawnError

if TYPE_CHECKING:
    from nspawn.web.services import Services


def start_made(services: Services, name: str) -> tuple[str, ...]:
    """Start a container that was just made; the notes on it.

    That it cannot start is one: it is there, complete, and whoever waits for its password gets it.  A failed
    job would say that there is none.
    """
    try:
        services.containers.start(name)
    except (NspawnError, OSError) as error:
        hint = getattr(error, "hint", "")
        return (f"it was not started: {error}{f' ({hint})' if hint else ''}",)
    return ()
