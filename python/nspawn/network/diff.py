"""From what is there to what shall be: operations."""

from __future__ import annotations

from typing import NamedTuple

from nspawn.model.netplan import Plan, Proxy, Sysctl, WantedAddress, WantedLink, WantedRoute
from nspawn.model.netview import Rule, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Operation(NamedTuple):
    """One step.  verb: "add" and "delete"; "set" of a link (up, and in its bridge or in none) and of a sysctl."""

    verb: str
    what: WantedLink | WantedAddress | WantedRoute | Rule | Sysctl | Proxy

    def describe(self) -> str:
        """A line that a person can paste."""
        raise NotImplementedError


def operations(view: View, plan: Plan) -> list[Operation]:
    """What is missing is added, then what is too much of ours is deleted; [] when all is well."""
    raise NotImplementedError


def teardown(view: View, bridge: str, before: Mapping[str, str]) -> list[Operation]:
    """All of ours goes.  before: sysctls by path, as they were before us."""
    raise NotImplementedError
