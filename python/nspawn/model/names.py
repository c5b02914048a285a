"""Names of containers and hosts."""

from __future__ import annotations

from nspawn.errors import UsageError

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_REST = _FIRST | frozenset("_.-")


def is_container_name(name: str) -> bool:
    """Whether it matches ``[a-z0-9][a-z0-9_.-]{0,62}`` (checked by hand: `re` costs more than a start)."""
    return 0 < len(name) <= 63 and name[0] in _FIRST and _REST.issuperset(name)


def parse_container_name(name: str) -> str:
    """The name itself, or UsageError."""
    if not is_container_name(name):
        raise UsageError(
            f"{name[:80]!r} is not a container name",
            hint="Use 1 to 63 of a-z, 0-9, '_', '.', '-', beginning with a letter or digit.",
        )
    return name


def host_name(folder: str) -> str:
    """A host name made from a folder's name: `_` becomes `-`, what else a host name cannot hold goes.

    At most 63 bytes (a DNS label; Linux allows 64).  Empty input, or nothing usable, gives "nspawn".
    """
    kept = "".join(c for c in folder.replace("_", "-") if c.isascii() and (c.isalnum() or c in "-."))
    return kept.strip("-.")[:63].rstrip("-.") or "nspawn"


def parse_host_name(name: str) -> str:
    """A host name as a person gives it, or UsageError."""
    if not name or host_name(name) != name:
        raise UsageError(
            f"{name[:80]!r} is not a host name", hint="Use up to 63 of letters, digits, '-' and '.'."
        )
    return name
